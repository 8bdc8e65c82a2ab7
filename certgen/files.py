"""Files of keys and certificates: written whole or not at all, with their mode from the first byte."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE = 0o600
GROUP_READABLE = 0o640
PUBLIC = 0o644


def make_folder(path: Path, mode: int) -> Path:
    """The folder with exactly `mode`, made where it is missing."""
    path.mkdir(parents=True, exist_ok=True)
    if path.stat().st_mode & 0o7777 != mode:
        path.chmod(mode)
    return path


def create(path: Path, content: bytes, mode: int) -> None:
    """A new file on disk; FileExistsError where there is one."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(content)
        file.flush()
        os.fsync(handle)


def replace(path: Path, content: bytes, mode: int) -> None:
    """Puts `content` in place of what is there in one step; the file belongs to whom its folder belongs."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    create(fresh, content, mode)
    owner = path.parent.stat()
    with suppress(PermissionError):
        os.chown(fresh, owner.st_uid, owner.st_gid)
    fresh.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file `path` alone, among threads and processes of this machine."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
