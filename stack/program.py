"""What the stack knows of a part: its command, what it needs, when it is ready, how it is stopped."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faces2.service.settings import Section, variable
from faces2.stack.preflight import Port
from faces2.stack.shell import is_root

Step = Callable[[], object]


@dataclass(frozen=True)
class Program:
    """One part; `needs` are the parts that must be ready before it starts."""

    name: str
    command: list[str]
    ready: Step
    """Raises while the part does not do its work."""
    endpoint: str
    ports: tuple[Port, ...] = ()
    needs: tuple[str, ...] = ()
    before: Step | None = None
    """Once, before it starts."""
    after: Step | None = None
    """Once, when it is ready and before others may use it."""
    stop_signal: str = "TERM"
    stop_seconds: int = 10
    alive: Step | None = None
    """Returns when the part answers, be it that it has no time; raises at once when it refuses, late when it hangs."""
    may_end: bool = False
    """It is not started anew when it ends well."""


def port(settings: Section, field: str, host: str | None = None) -> Port:
    """The port that a field of the settings holds, and the variable that moves it."""
    address = str(host or getattr(settings, "host", "127.0.0.1"))
    return Port(getattr(settings, field), variable(type(settings), field), address)


def folder_of(user: str, path: Path) -> Path:
    """A data folder that belongs to the user, whom nobody else's files concern."""
    path.mkdir(parents=True, exist_ok=True)
    if is_root():
        shutil.chown(path, user)
        path.chmod(0o700)
    return path
