"""What an audit found: the three numbers, what they do not hold, and what is missing by name."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console

NAMED = 20
"""So many frames are named, at most."""


@dataclass(frozen=True)
class Fault:
    """A frame that is not where it must be."""

    partition: int
    offset: int
    arrived: str
    mac: str
    topic: str
    timestamp: str
    what: str

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset} {self.mac} {self.topic} sent {self.timestamp}: {self.what}"


@dataclass(frozen=True)
class Verdict:
    """Readings count one by one; dead letters and frames too. `pending` frames lie before no committed offset."""

    topic: str
    offsets: str
    frames: int
    passed_by: dict[str, int]
    readings_found: int
    dead_letters: int
    readings_missing: int
    readings_different: int
    dead_letters_missing: int
    readings_expired: int
    pending: int
    named: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """What is missing or different, in all."""
        return self.readings_missing + self.readings_different + self.dead_letters_missing

    def status(self, strict: bool) -> int:
        """The exit status: 1 if anything is lost; `strict`: also if anything could not be judged."""
        unsure = self.pending or self.readings_expired
        return 1 if self.lost or (strict and unsure) else 0

    def to_json(self) -> dict[str, Any]:
        """The fields, and the sum."""
        return asdict(self) | {"lost": self.lost}


def show(verdict: Verdict, console: Console) -> None:
    """Prints it for people."""
    if verdict.frames:
        offsets = f"(partition:from-until {verdict.offsets})"
        console.print(f"{verdict.topic}, {verdict.frames:,} frames {offsets}", soft_wrap=True)
    else:
        console.print(f"{verdict.topic}: there is no frame in this stretch, nothing was judged")
    _line(console, verdict.readings_found, "readings are in the table with their value")
    _line(console, verdict.dead_letters, "frames are in the dead letters")
    parts = [
        (verdict.readings_missing, "readings are not in the table"),
        (verdict.readings_different, "have another value there"),
        (verdict.dead_letters_missing, "frames are neither readings nor dead letters"),
    ]
    why = ", ".join(f"{count:,} {what}" for count, what in parts if count)
    _line(console, verdict.lost, "are missing or different" + (f": {why}" if why else ""), bad=verdict.lost > 0)
    for mode, count in sorted(verdict.passed_by.items()):
        _line(console, count, f"{mode} messages carry no reading", dim=True)
    if verdict.pending:
        _line(console, verdict.pending, "frames are not yet read by the pipeline, so not judged", dim=True)
    if verdict.readings_expired:
        _line(console, verdict.readings_expired, "readings are older than the table keeps, so not judged", dim=True)
    for note in verdict.notes:
        console.print(f"  note: {note}", markup=False, soft_wrap=True)
    for fault in verdict.named:
        console.print(f"  {fault}", markup=False, soft_wrap=True)


def _line(console: Console, count: int, what: str, *, bad: bool = False, dim: bool = False) -> None:
    style = "bold red" if bad else "dim" if dim else ""
    console.print(f"{count:>14,} {what}", style=style, markup=False, soft_wrap=True)
