"""Whether something grows: a straight line through what was seen after the warm-up, by least squares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.soak.samples import Sample, names

WARM_UP = 1 / 3
"""Of the run; caches fill and heaps take their size meanwhile."""
SCATTERS = 3.0
"""A rise counts when it is more than so many times the scatter around its line."""
MEMORY_PER_HOUR = 30.0
HANDLES_PER_HOUR = 20.0
CHECKPOINT_PER_HOUR = 500.0
LAG_SECONDS = 60.0
"""Of load, that may not have been committed."""
FEWEST = 4
"""Points, or there is no line."""


@dataclass(frozen=True)
class Line:
    """`first` to `last` along the line from `start` to `end` seconds; `scatter` is the standard deviation around it."""

    start: float
    end: float
    first: float
    last: float
    scatter: float

    @property
    def per_hour(self) -> float:
        """The growth."""
        return (self.last - self.first) / (self.end - self.start) * 3600

    def grows(self, limit: float) -> bool:
        """Whether it is beyond the limit and no chance."""
        return self.per_hour > limit and self.last - self.first > SCATTERS * self.scatter


def line(points: Sequence[tuple[float, float]]) -> Line | None:
    """The line through (seconds, value); None where there are too few."""
    if len(points) < FEWEST:
        return None
    seconds, values = np.array(points, float).T
    slope, offset = np.polyfit(seconds - seconds[0], values, 1)
    fitted = offset + slope * (seconds - seconds[0])
    scatter = float(np.std(values - fitted))
    return Line(float(seconds[0]), float(seconds[-1]), float(fitted[0]), float(fitted[-1]), scatter)


def series(samples: Sequence[Sample], name: str, process: str | None = None) -> list[tuple[float, float]]:
    """(seconds, value) of a figure, or of one process's."""
    held = [(s["at"], s.get(name) if process is None else s.get(name, {}).get(process)) for s in samples]
    return [(at, float(value)) for at, value in held if value is not None]


def judge(samples: Sequence[Sample], rate: float) -> dict[str, Any]:
    """By process and figure what was seen after the warm-up; `faults` says in sentences what is beyond its limit."""
    begun = samples[-1]["at"] * WARM_UP
    late = [sample for sample in samples if sample["at"] >= begun]
    faults: list[str] = []

    def grown(what: str, unit: str, limit: float, points: list[tuple[float, float]], judged: bool = True) -> Any:
        found = line(points)
        if found is None:
            return None
        if judged and found.grows(limit):
            faults.append(f"{what} grows by {found.per_hour:,.1f} {unit} an hour; {limit:g} are allowed")
        values = [value for _, value in points]
        return {"per_hour": round(found.per_hour, 2), "median": round(float(np.median(values)), 2), "max": max(values)}

    processes = {}
    for process in names(samples):
        heap = series(late, "heap", process)
        processes[process] = {
            # A JVM takes all of its heap in time: there, what lives after a collection is judged.
            "memory": grown(f"{process}: memory", "MB", MEMORY_PER_HOUR, series(late, "memory", process), not heap),
            "heap": grown(f"{process}: live heap", "MB", MEMORY_PER_HOUR, heap),
            "handles": grown(f"{process}: open handles", "", HANDLES_PER_HOUR, series(late, "handles", process)),
        }
    size = series(late, "checkpoint_kb")
    figures = {
        "lag": grown("lag", "records", rate * LAG_SECONDS, series(late, "lag")),
        "checkpoint_kb": grown("checkpoint size", "kB", CHECKPOINT_PER_HOUR, size),
        **{
            name: grown(name, "", 0, series(late, name), False)
            for name in ("checkpoint_s", "rows_per_s", "messages_per_s", "p50_s", "p99_s")
        },
    }
    faults += [f"{name} was never seen" for name, figure in figures.items() if figure is None]
    if figures["lag"] and figures["lag"]["max"] > rate * LAG_SECONDS:
        faults.append(f"lag {figures['lag']['max']:,.0f} records: more than {LAG_SECONDS:g} s of load")
    return {"warm_up_s": round(begun), "processes": processes, "figures": figures, "faults": faults}
