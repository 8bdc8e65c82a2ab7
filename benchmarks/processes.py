"""Memory of processes, from /proc: resident pages, those that several share split among them (PSS)."""

import re
from collections.abc import Iterable
from pathlib import Path

_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def megabytes(pids: Iterable[int]) -> float:
    """Their memory together; a process that has ended has none."""
    return sum(_kilobytes(pid) for pid in pids) / 1024


def by_program(pid: int) -> dict[str, float]:
    """Megabytes of a tree, by what its processes are: the process itself, its JVMs, its Python workers."""
    return {kind: megabytes(pids) for kind, pids in kinds(pid).items()}


def kinds(pid: int) -> dict[str, list[int]]:
    """The processes of a tree, by what they are."""
    found: dict[str, list[int]] = {}
    for each in tree(pid):
        found.setdefault("main" if each == pid else _name(each), []).append(each)
    return found


def _name(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
    if b"java" in command.split(b"\0")[0]:
        return "JVM"
    return "workers" if b"faces2.runners.workers" in command else "others"


def _kilobytes(pid: int) -> int:
    try:
        found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found[1]) if found else 0
