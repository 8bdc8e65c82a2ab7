"""WriteToTimescale: the pipeline's step that puts readings into decoded_data, within the bundle.

Input: Readings, in windows. Output: the readings as written. Dead letters: rows that the database refuses for good.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from faces2.io import timescale
from faces2.io.timescale import RejectedRow, TemporaryError, Writer
from faces2.models.batches import Readings, join
from faces2.models.clock import Clock, utc_now
from faces2.models.dead_letter import DEAD, Reason, Rejected, to_dead_letters
from faces2.service import metrics
from faces2.service.logs import get_logger
from faces2.service.settings import TimescaleSettings

STEP = "Write"
RETRY_SECONDS = 30
MOST_BATCHES = 100
"""How many times `batch_rows` one transaction may have: many rows at once cost the database less a row."""

log = get_logger(__name__)


class WriteToTimescale(beam.PTransform):
    """Gives (readings as written, dead letters). Buffers by window; flushes at `batch_rows` (or later, while the
    batch before is being written), when the window changes and at the end of the bundle, so that no row waits across a
    checkpoint."""

    def __init__(self, settings: TimescaleSettings, batch_rows: int, topic: str, clock: Clock = utc_now) -> None:
        super().__init__()
        if batch_rows < 1:
            raise ValueError(f"batch_rows {batch_rows} is not positive")
        self._fn = _WriteFn(settings, batch_rows, topic, clock)

    def expand(self, readings: PCollection) -> Any:
        out = readings | "Copy" >> beam.ParDo(self._fn).with_outputs(DEAD, main="written")
        return out.written, out[DEAD]


class _WriteFn(beam.DoFn):
    """One batch is on its way to the database while the next is decoded; the bundle ends when all are there."""

    def __init__(self, settings: TimescaleSettings, batch_rows: int, topic: str, clock: Clock) -> None:
        self._settings = settings
        self._batch_rows = batch_rows
        self._most_rows = MOST_BATCHES * batch_rows
        self._topic = topic
        self._clock = clock

    def setup(self) -> None:
        self._writer = Writer(lambda: timescale.connect(self._settings))
        self._thread = ThreadPoolExecutor(1, "write")

    def start_bundle(self) -> None:
        self._parts: list[Readings] = []
        self._rows = 0
        self._window: Any = None
        self._element_time: Any = None
        self._under_way: Future[list[Any]] | None = None

    def process(
        self, readings: Readings, window: Any = beam.DoFn.WindowParam, timestamp: Any = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        if self._parts and window != self._window:
            yield from self._flush()
        self._window, self._element_time = window, timestamp
        self._parts.append(readings)
        self._rows += len(readings)
        if self._rows >= (self._batch_rows if self._idle() else self._most_rows):
            yield from self._flush()

    def finish_bundle(self) -> Iterator[Any]:
        if self._parts:
            yield from self._flush()
        yield from self._written()

    def teardown(self) -> None:
        self._thread.shutdown()
        self._writer.close()

    def _flush(self) -> list[Any]:
        """Sends the buffered rows on their way, and gives what was on its way before."""
        written = self._written()
        readings = join(self._parts)
        self._parts, self._rows = [], 0
        self._under_way = self._thread.submit(self._write_batch, readings, self._element_time, self._window)
        return written

    def _idle(self) -> bool:
        """Whether the database waits for us; while it does not, the next batch grows."""
        return self._under_way is None or self._under_way.done()

    def _written(self) -> list[Any]:
        if self._under_way is None:
            return []
        written, self._under_way = self._under_way.result(), None
        return written

    def _write_batch(self, readings: Readings, timestamp: Any, window: Any) -> list[Any]:
        with metrics.BATCH_SECONDS.labels(step=STEP).time():
            rejected = self._write(readings)
        metrics.BATCH_ROWS.observe(len(readings))
        outputs = []
        if rejected:
            kept = np.ones(len(readings), np.bool_)
            kept[[row for row, _ in rejected]] = False
            refused = [
                Rejected(readings.records[readings.source[row]], Reason.REJECTED_ROW, why) for row, why in rejected
            ]
            letters = to_dead_letters(refused, STEP, self._topic, self._clock())
            outputs.append(TaggedOutput(DEAD, WindowedValue(letters, timestamp, (window,))))
            readings = readings.take(kept)
        metrics.observe_latency(self._clock().timestamp() - readings.micros / 1e6)
        return [WindowedValue(readings, timestamp, (window,)), *outputs]

    def _write(self, readings: Readings) -> list[RejectedRow]:
        """Tries again after temporary failures for a while, then fails the bundle: the runner does it anew."""
        for attempt in Retrying(
            retry=retry_if_exception_type(TemporaryError),
            wait=wait_random_exponential(0.1, max=5),
            stop=stop_after_delay(RETRY_SECONDS),
            before_sleep=lambda state: _say(state.outcome.exception() if state.outcome else None),
            reraise=True,
        ):
            with attempt:
                return self._writer.write(readings)
        raise AssertionError("tenacity returns or raises")


def _say(error: BaseException | None) -> None:
    metrics.RETRIES.labels(step=STEP).inc()
    log.warning("write failed, will be tried again", error=str(error))
