"""Batch: the records of a bundle become one element, so that every later step costs per batch and not per record.

Input: records (key, value). Output: lists of records, in the global window, at the time they were gathered.
"""

import gc
import time
from collections.abc import Callable, Iterator

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from faces2.models.dead_letter import Record
from faces2.service import metrics


class Batch(beam.PTransform):
    """Gathers up to `size` records; what a bundle leaves over goes on when it ends."""

    def __init__(self, size: int, source: str, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size {size} is not positive")
        self._gather = _Gather(size, source, clock)

    def expand(self, records: PCollection) -> PCollection:
        batches: PCollection = records | "Gather" >> beam.ParDo(self._gather)
        return batches


class _Gather(beam.DoFn):
    def __init__(self, size: int, source: str, clock: Callable[[], float]) -> None:
        self._size = size
        self._source = source
        self._clock = clock

    def setup(self) -> None:
        spare_the_collector()

    def start_bundle(self) -> None:
        self._records: list[Record] = []

    def process(self, record: Record) -> list[list[Record]] | None:
        self._records.append(record)
        # A plain return, no generator: this runs once a record.
        return [self._take()] if len(self._records) >= self._size else None

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._records:
            yield WindowedValue(self._take(), self._clock(), (GlobalWindow(),))

    def _take(self) -> list[Record]:
        records, self._records = self._records, []
        metrics.MESSAGES_IN.labels(source=self._source).inc(len(records))
        return records


def spare_the_collector() -> None:
    """Python's search for cycles begins at each 700 new objects, and took up to a third of a worker's time. The records
    of a bundle make no cycles: loaded modules are not looked at any more, and new objects more seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
