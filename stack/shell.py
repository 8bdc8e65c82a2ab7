"""Other people's programs, run to their end: a failure is one sentence that says what to do."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

_at_work: set["subprocess.Popen[str]"] = set()


class StackError(Exception):
    """What went wrong and what to do about it, in one sentence."""


def is_root() -> bool:
    """Whether packages can be installed and users switched."""
    return os.geteuid() == 0


def find(program: str) -> str | None:
    """The program's path; a plain user's PATH lacks the sbin folders."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin")


def die_with_parent(command: Sequence[str], user: str | None = None, death: str = "TERM") -> list[str]:
    """The command under `setpriv`: it gets the signal when its parent dies, and runs as the user where we are root.

    Data may lie below a folder that only root may enter (/root): the one capability that such a user gets is to read
    and to enter folders.
    """
    prefix = ["setpriv", "--pdeathsig", death]
    if user and is_root():
        prefix += [f"--reuid={user}", f"--regid={user}", "--init-groups"]
        prefix += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        prefix += ["--securebits=+no_setuid_fixup"]  # without it access(2) ignores the capability
    return [*prefix, "--", *command]


def run(
    command: Sequence[str],
    what: str,
    *,
    user: str | None = None,
    env: dict[str, str] | None = None,
    given: str = "",
) -> str:
    """What it printed; StackError `<what>: <its last lines>` when it fails. It dies with us."""
    program = command[0]
    if find(program) is None:
        raise StackError(f"{what}: the program {program} is missing.")
    process = subprocess.Popen(
        die_with_parent(command, user),
        env={**os.environ, **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    _at_work.add(process)
    try:
        output, _ = process.communicate(given)
    finally:
        _at_work.discard(process)
    if process.returncode:
        raise StackError(f"{what}: {said(output) or f'exit status {process.returncode}'}")
    return output


def kill_all() -> None:
    """Ends what `run` still runs, with its children: mmdebstrap's go on when it is asked kindly."""
    for process in list(_at_work):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def said(output: str) -> str:
    """The line of an output that tells most: its first error, else its last; a long one without its middle."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(E:|\[?ERROR|psql:.*ERROR|.*FATAL)", line)]
    line = (errors[:1] or lines[-1:] or [""])[0].partition(" -> [Help")[0]
    return line if len(line) <= 300 else f"{line[:100]} ... {line[-200:]}"
