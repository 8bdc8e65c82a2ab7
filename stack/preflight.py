"""What is checked before anything starts: ports, disk. Each failure names what to change."""

import errno
import re
import shutil
import socket
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from faces2.stack.shell import StackError

GIB = 1 << 30
ROOM_TO_INSTALL = 3 * GIB
ROOM_TO_RUN = 1 * GIB


@dataclass(frozen=True)
class Port:
    """A port that a part listens on, and the setting that moves it."""

    number: int
    setting: str
    host: str = "127.0.0.1"


def check_ports(ports: Iterable[Port]) -> None:
    """StackError if two parts want one port, or another process has it."""
    wanted: dict[int, list[str]] = defaultdict(list)
    ports = list(ports)
    for port in ports:
        wanted[port.number].append(port.setting)
    for number, settings in wanted.items():
        if len(settings) > 1:
            raise StackError(f"{' and '.join(settings)} all want port {number}: give each its own (in .env).")
    for port in ports:
        trouble = why_closed(port)
        if trouble:
            raise StackError(trouble)


def why_closed(port: Port) -> str | None:
    """Why the port can not be opened, and what to do; None if it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.host, port.number))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return f"Port {port.number} can not be opened on {port.host} ({error.strerror}): change {port.setting}."
            holder = holder_of(port.number)
            by = f" by {holder}" if holder else ""
            return f"Port {port.number} is in use{by}: stop that process, or move ours with {port.setting} (in .env)."
    return None


def holder_of(port: int) -> str | None:
    """The process that listens on the port, as `name (pid 1)`; None if it is not ours to see."""
    inodes = {inode for table in ("/proc/net/tcp", "/proc/net/tcp6") for inode in _listening(Path(table), port)}
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            link = str(descriptor.readlink())
        except OSError:
            continue
        found = re.fullmatch(r"socket:\[(\d+)\]", link)
        if found and found[1] in inodes:
            process = descriptor.parents[1]
            return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def _listening(table: Path, port: int) -> Iterable[str]:
    listen = "0A"
    for line in table.read_text().splitlines()[1:] if table.exists() else ():
        fields = line.split()
        if fields[3] == listen and int(fields[1].rpartition(":")[2], 16) == port:
            yield fields[9]


def check_room(folder: Path, needed: int, setting: str) -> None:
    """StackError if the folder's disk has fewer bytes free."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise StackError(
            f"{folder} has {free / GIB:.1f} GiB free and {needed / GIB:.0f} GiB are needed: "
            f"make room, or put it on another disk with {setting}."
        )
