"""What the check of a run found, and how it is printed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

NAMED = 10
"""Readings, and controllers, that are named when something is wrong with them."""


@dataclass
class Controller:
    """One controller's counts: frames of the journal, their readings, and those without a row or with another value."""

    mac: str
    frames: int = 0
    expected: int = 0
    missing: int = 0
    different: int = 0


@dataclass
class Verdict:
    """What was found; true when there are rows, none is missing or different, and every controller sent some."""

    controllers: Sequence[Controller]
    named: Sequence[str] = ()
    """The first readings that are missing or different."""
    dead_letters: int | None = None
    """Since the first frame; None if Kafka does not say."""
    total: Controller = field(init=False)

    def __post_init__(self) -> None:
        columns = ("frames", "expected", "missing", "different")
        self.total = Controller("all", *(sum(getattr(c, name) for c in self.controllers) for name in columns))

    @property
    def silent(self) -> Sequence[str]:
        """The controllers that sent nothing."""
        return [controller.mac for controller in self.controllers if not controller.frames]

    @property
    def ok(self) -> bool:
        """Whether the run may count as good."""
        return self.total.expected > 0 and not (self.total.missing or self.total.different or self.silent)

    def __bool__(self) -> bool:
        return self.ok


def show(verdict: Verdict, console: Console) -> None:
    """The counts for each controller, what is missing or different, and the verdict."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("controller", "frames", "readings", "rows", "missing", "different"):
        table.add_column(heading, justify="left" if heading == "controller" else "right")
    for counts in (*verdict.controllers, verdict.total):
        numbers = (counts.frames, counts.expected, counts.expected - counts.missing, counts.missing, counts.different)
        table.add_row(counts.mac, *(f"{number:,}" for number in numbers), style="bold" if counts.mac == "all" else "")
    console.print(table)
    for line in verdict.named:
        console.print(f"  {line}", markup=False, soft_wrap=True)
    left = verdict.total.missing + verdict.total.different - len(verdict.named)
    if left:
        console.print(f"  and {left:,} more")
    if verdict.dead_letters is not None:
        console.print(f"dead letters since the first frame: {verdict.dead_letters:,}")
    console.print(_sentence(verdict))


def _sentence(verdict: Verdict) -> str:
    if verdict.ok:
        return "[green]Every acknowledged reading is in the table.[/]"
    if not verdict.total.expected:
        return "[red]No frame was acknowledged: nothing was checked.[/]"
    if verdict.total.missing or verdict.total.different:
        return "[red]The table is not what the controllers sent.[/]"
    names = ", ".join(verdict.silent[:NAMED])
    left = len(verdict.silent) - NAMED
    more = f" and {left:,} more" if left > 0 else ""
    return f"[red]Controllers that sent nothing: {names}{more}.[/] A run shorter than SIMULATOR_INTERVAL misses some."
