"""What `faces2 status` shows: each part's state, and what the readings are stored in."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from faces2.service.settings import TimescaleSettings, load
from faces2.stack import postgres
from faces2.stack.environment import Folders
from faces2.stack.program import Program
from faces2.stack.supervisor import RUNNING, State

NOT_KNOWN = State("STOPPED", 0, 0, 0)


@dataclass(frozen=True)
class Line:
    """One part: `trouble` is why it is not ready, None if it is."""

    part: str
    state: State
    trouble: str | None
    endpoint: str

    @property
    def good(self) -> bool:
        """Running and ready."""
        return self.state.name == RUNNING and self.trouble is None


def look(programs: list[Program], states: Mapping[str, State]) -> list[Line]:
    """Asks every part at once whether it is ready."""
    with ThreadPoolExecutor(max_workers=len(programs) or 1) as pool:
        return list(pool.map(lambda program: _line(program, states.get(program.name, NOT_KNOWN)), programs))


def _line(program: Program, state: State) -> Line:
    return Line(program.name, state, _trouble(program) if state.alive else "stopped", program.endpoint)


def _trouble(program: Program) -> str | None:
    try:
        program.ready()
    except Exception as error:  # whatever a client raises, the part is not ready
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return None


def storage(folders: Folders) -> str:
    """Which TimescaleDB keeps the readings, or plain PostgreSQL and why."""
    try:
        edition = postgres.storage(load(TimescaleSettings))
    except Exception as error:
        return f"not to be reached: {str(error).strip().splitlines()[0]}"
    if edition.startswith("plain"):
        why = postgres.timescale_server(folders, folders.data / "timescaledb").plain
        return f"{edition}: {why or 'its extension is not in this database'}"
    return edition


def show(lines: list[Line], stored_in: str, console: Console) -> None:
    """A table on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        for line in lines:
            pid = line.state.pid or "-"
            ready = line.trouble or "ready"
            print(f"{line.part:12} {line.state.name:9} {pid!s:>8} {_age(line.state):>9}  {ready}  {line.endpoint}")
        print(f"storage: {stored_in}")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("part", "state", "pid", "up", "ready, or why not", "endpoint"):
        table.add_column(heading, justify="right" if heading in ("pid", "up") else "left")
    for line in lines:
        style = "green" if line.good else "red"
        cells = [line.part, f"[{style}]{line.state.name.lower()}[/]", str(line.state.pid or ""), _age(line.state)]
        table.add_row(*cells, f"[{style}]{line.trouble or 'yes'}[/]", line.endpoint)
    console.print(table)
    console.print(f"storage: {stored_in}", highlight=False)


def _age(state: State) -> str:
    if state.name != RUNNING:
        return ""
    hours, rest = divmod(int(state.seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"
