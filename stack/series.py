"""What a part's /metrics say over time: totals, rates and quantiles that a restart of the part does not disturb."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from prometheus_client.parser import text_string_to_metric_families

Key = tuple[str, frozenset[tuple[str, str]]]
"""A sample's name and labels."""
Samples = Mapping[Key, float]

COUNTING = ("_total", "_bucket", "_count", "_sum")
"""Endings of the names that only grow, until their process starts anew."""


def key(name: str, **labels: str) -> Key:
    """The key of one sample."""
    return name, frozenset(labels.items())


def parse(text: str) -> Samples:
    """The samples of a /metrics page; ValueError if it is none."""
    return {
        key(sample.name, **sample.labels): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def carried(totals: Samples, before: Samples, after: Samples) -> Samples:
    """The totals with the growth from one reading to the next; a count that fell began again at 0."""
    grown = {k: value for k, value in totals.items() if k[0].endswith(COUNTING)}
    for k, value in after.items():
        if k[0].endswith(COUNTING):
            step = value - before.get(k, 0.0)
            grown[k] = grown.get(k, 0.0) + (step if step >= 0 else value)
        else:
            grown[k] = value
    return grown


def quantile(buckets: Iterable[tuple[float, float]], q: float) -> float | None:
    """The q-quantile from (upper bound, cumulative count), between two bounds in proportion; None without counts.

    What lies beyond the last finite bound counts as that bound.
    """
    ordered = sorted(buckets)
    if not ordered or ordered[-1][1] <= 0:
        return None
    rank = q * ordered[-1][1]
    lower = below = 0.0
    for upper, count in ordered:
        if count >= rank and count > below:
            return lower if math.isinf(upper) else lower + (upper - lower) * (rank - below) / (count - below)
        lower, below = (lower if math.isinf(upper) else upper), count
    return lower


@dataclass(frozen=True)
class Window:
    """The last `seconds` of a part's samples; counts go on growing where the part started anew."""

    seconds: float = 5.0
    points: Sequence[tuple[float, Samples]] = ()
    """Time of a monotonic clock, totals; the oldest first."""
    read: Samples = field(default_factory=dict)
    totals: Samples = field(default_factory=dict)

    def add(self, now: float, samples: Samples) -> "Window":
        """With one more reading."""
        totals = carried(self.totals, self.read, samples)
        kept = [point for point in self.points if point[0] >= now - self.seconds] or self.points[-1:]
        return replace(self, points=(*kept, (now, totals)), read=samples, totals=totals)

    def lost(self) -> "Window":
        """After a reading that failed: rates begin anew, totals go on."""
        return replace(self, points=())

    def total(self, name: str, **labels: str) -> float | None:
        """The sum of the samples that have these labels; 0 where none has, None before the first reading."""
        return _total(self.totals, name, labels) if self.points else None

    def by(self, name: str, label: str) -> Mapping[str, float]:
        """The totals for each value of a label."""
        sums: dict[str, float] = {}
        for (sample, labels), value in self.totals.items():
            if sample == name and (held := dict(labels).get(label)) is not None:
                sums[held] = sums.get(held, 0.0) + value
        return sums

    def rate(self, name: str, **labels: str) -> float | None:
        """Growth a second over the window; None before the second reading."""
        if len(self.points) < 2:
            return None
        (first, before), (last, after) = self.points[0], self.points[-1]
        if last <= first:
            return None
        return (_total(after, name, labels) - _total(before, name, labels)) / (last - first)

    def quantile(self, name: str, q: float) -> float | None:
        """The q-quantile of what a histogram took in during the window; None where it took in nothing."""
        if len(self.points) < 2:
            return None
        bucket, (_, before), (_, after) = f"{name}_bucket", self.points[0], self.points[-1]
        counts: dict[float, float] = {}
        for sample, value in after.items():
            if sample[0] == bucket:
                bound = float(dict(sample[1])["le"])
                counts[bound] = counts.get(bound, 0.0) + value - before.get(sample, 0.0)
        return quantile(counts.items(), q)


def _total(samples: Samples, name: str, labels: Mapping[str, str]) -> float:
    wanted = labels.items()
    return sum(value for (sample, held), value in samples.items() if sample == name and wanted <= dict(held).items())
