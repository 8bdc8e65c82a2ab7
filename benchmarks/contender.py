"""What a contender is, and how its rate is taken from its progress."""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from benchmarks.messages import Workload


class Progress(NamedTuple):
    """At a moment (seconds): how many rows, or other records, are done and confirmed."""

    at: float
    done: int


@dataclass(frozen=True, slots=True)
class Result:
    """The steady part of one run. `note` stands beside its figures; `megabytes` are of the moment when it was done."""

    frames: float
    rows: float
    seconds: float
    note: str = ""
    megabytes: dict[str, float] = field(default_factory=dict)

    @property
    def frames_per_s(self) -> float:
        """Frames a second; 0 where the contender has none."""
        return self.frames / self.seconds

    @property
    def rows_per_s(self) -> float:
        """Rows a second; 0 where the contender has none."""
        return self.rows / self.seconds


class Contender(Protocol):
    """One way to do the work, or a part of it."""

    name: str
    what: str
    """One line for the report."""

    def prepare(self, work: Workload) -> None:
        """All that is not measured."""

    def run(self, work: Workload) -> Result:
        """One run over the whole workload; raises where the result is not right."""


class WrongResultError(Exception):
    """A contender did not do its work: its speed means nothing."""


STEADY_UNTIL = 0.99
"""Of all that is to be done: at the end the pipeline waits out its batch time for frames that do not come."""


def steady(progress: list[Progress]) -> tuple[int, float]:
    """What was done, and in which time, from the first confirmed batch until STEADY_UNTIL: neither start nor end
    count. ValueError for a run of a single step: more messages are needed."""
    first = next((step for step in progress if step.done), None)
    last = next((step for step in progress if step.done >= STEADY_UNTIL * progress[-1].done), None)
    if first is None or last is None or last.at <= first.at:
        raise ValueError("the run was over within one sample: give it more frames")
    return last.done - first.done, last.at - first.at


def result_of(progress: list[Progress], frames: int, rows: int, note: str = "") -> Result:
    """The result where `frames` end as `rows`, and progress counts rows."""
    done, seconds = steady(progress)
    return Result(done * frames / rows, done, seconds, note)
