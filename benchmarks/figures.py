"""Medians, spreads and percentiles."""

from collections.abc import Sequence
from statistics import median

Spread = dict[str, float]


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest of the rounds."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def percentiles(ordered: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds, of seconds that are sorted; each the smallest value that is not exceeded by
    so many of a hundred."""
    if not ordered:
        raise ValueError("nothing was measured")
    last = len(ordered) - 1
    return {f"p{of}_ms": round(1000 * ordered[min(last, len(ordered) * of // 100)], 1) for of in (50, 95, 99)}


def ratios(frames: dict[str, float], rows: dict[str, float]) -> dict[str, float]:
    """The comparisons that can be made from medians by contender."""
    wanted = {
        "full/plain": (frames, "full", frames, "plain"),
        "full/plain-overlap": (frames, "full", frames, "plain-overlap"),
        "full+publish/plain+publish": (frames, "full+publish", frames, "plain+publish"),
        "full/full-p1": (frames, "full", frames, "full-p1"),
        "full-low-latency/full": (frames, "full-low-latency", frames, "full"),
        "full rows/COPY ceiling": (rows, "full", rows, "copy-binary"),
        "full rows/upsert ceiling": (rows, "full", rows, "upsert"),
        "sink/flink-sql-sink": (rows, "sink", rows, "flink-sql-sink"),
        "process/process-WriteToKafka": (frames, "process", frames, "process-WriteToKafka"),
        "producer-confluent/producer-kafka-python": (rows, "producer-confluent", rows, "producer-kafka-python"),
        "producer-batch/producer-confluent": (rows, "producer-batch", rows, "producer-confluent"),
        "full/kafka-count": (frames, "full", frames, "kafka-count"),
    }
    return {
        name: round(above[one] / below[other], 3)
        for name, (above, one, below, other) in wanted.items()
        if above.get(one) and below.get(other)
    }
