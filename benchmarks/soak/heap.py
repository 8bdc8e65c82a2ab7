"""What lives in a JVM's heap: asking makes it collect its garbage first, some 0.1 s long."""

import re
import subprocess
from pathlib import Path

TIMEOUT_SECONDS = 20

_TOTAL = re.compile(r"^Total\s+\d+\s+(\d+)", re.MULTILINE)


def live_megabytes(pid: int) -> float | None:
    """Megabytes of objects that are still used; None where the JVM does not say."""
    command = ["jcmd", str(pid), "GC.class_histogram"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return None
    found = _TOTAL.search(done.stdout)
    return int(found[1]) / 2**20 if found else None


def is_jvm(pid: int) -> bool:
    """Whether the process is one."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"java")
    except (FileNotFoundError, ProcessLookupError):
        return False
