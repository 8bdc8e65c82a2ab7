"""What our metrics grew by: each dead letter must be in its counter."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter as Metric


@contextmanager
def grows(metric: Metric, by: dict[tuple[str, ...], int]) -> Iterator[None]:
    """The metric grows, by its labels' values, by what stands in `by` at the end, and by nothing else."""
    before = _values(metric)
    yield
    grown = _values(metric)
    grown.subtract(before)
    assert +grown == Counter(by), f"{metric}: {dict(+grown)} and not {by}"


def _values(metric: Metric) -> Counter[tuple[str, ...]]:
    samples = (sample for family in metric.collect() for sample in family.samples if sample.name.endswith("_total"))
    return Counter({tuple(sample.labels.values()): int(sample.value) for sample in samples})
