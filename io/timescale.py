"""TimescaleDB: readings into decoded_data, one transaction a batch, idempotent on time, device and datapoint."""

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import psycopg2
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from faces2.io.copy_binary import COLUMNS, to_copy_binary
from faces2.io.sqlstate import Fault, classify
from faces2.models.batches import Readings, join
from faces2.models.clock import Clock, utc_now
from faces2.models.dead_letter import DEAD, Reason, Rejected, to_dead_letters
from faces2.service import metrics
from faces2.service.logs import get_logger
from faces2.service.settings import TimescaleSettings

STEP = "Write"
RETRY_SECONDS = 30

log = get_logger(__name__)


class TemporaryError(Exception):
    """The batch was not written, and can be later."""


class RejectedRow(NamedTuple):
    """A row that the database refuses for good, as an index into its readings."""

    row: int
    detail: str


def connect(settings: TimescaleSettings) -> Connection:
    """A connection to the time-series database."""
    return psycopg2.connect(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        password=settings.password.get_secret_value(),
        dbname=settings.db,
        connect_timeout=5,
        application_name="faces2-writer",
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        options="-c timezone=UTC -c statement_timeout=60s",
    )


class Writer:
    """Writes batches over one connection, opened when first needed and anew after it was lost."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    def write(self, readings: Readings) -> list[RejectedRow]:
        """Writes all rows that the database takes, and returns those that it never will; TemporaryError otherwise."""
        try:
            self._copy(readings)
        except psycopg2.Error as error:
            self._recover()
            fault = classify(error.pgcode)
            if fault is Fault.TEMPORARY:
                raise TemporaryError(str(error).strip()) from error
            if fault is Fault.PERMANENT:
                return self._split(readings, error)
            return self._write_over(readings)
        return []

    def close(self) -> None:
        """Gives the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write_over(self, readings: Readings) -> list[RejectedRow]:
        try:
            self._upsert(readings)
        except psycopg2.Error as error:
            self._recover()
            if classify(error.pgcode) is not Fault.PERMANENT:
                raise TemporaryError(str(error).strip()) from error
            return self._split(readings, error)
        return []

    def _split(self, readings: Readings, error: psycopg2.Error) -> list[RejectedRow]:
        """Halves the batch until only the rows that are refused are left."""
        if len(readings) == 1:
            return [RejectedRow(0, f"{error.pgcode} {str(error).strip()}")]
        middle = len(readings) // 2
        left = self.write(readings.take(slice(0, middle)))
        right = self.write(readings.take(slice(middle, None)))
        return left + [RejectedRow(row + middle, detail) for row, detail in right]

    def _copy(self, readings: Readings) -> None:
        with self._transaction() as cursor:
            cursor.copy_expert(
                f"COPY decoded_data ({COLUMNS}) FROM STDIN (FORMAT BINARY)", BytesIO(to_copy_binary(readings))
            )
        metrics.ROWS.labels(path="copy").inc(len(readings))

    def _upsert(self, readings: Readings) -> None:
        with self._transaction() as cursor:
            cursor.execute(
                "CREATE TEMP TABLE IF NOT EXISTS staging (LIKE decoded_data) ON COMMIT DELETE ROWS;TRUNCATE staging"
            )
            cursor.copy_expert(
                f"COPY staging ({COLUMNS}) FROM STDIN (FORMAT BINARY)", BytesIO(to_copy_binary(readings))
            )
            # Each key once, the last one wins; sorted, so that two workers never wait for each other in a circle.
            cursor.execute(
                f"INSERT INTO decoded_data ({COLUMNS})"  # noqa: S608 - a constant
                " SELECT DISTINCT ON (timestamp, device_id, datapoint_id) timestamp, device_id, datapoint_id, value"
                " FROM staging ORDER BY timestamp, device_id, datapoint_id, ctid DESC"
                " ON CONFLICT (timestamp, device_id, datapoint_id) DO UPDATE SET value = EXCLUDED.value"
                " WHERE decoded_data.value IS DISTINCT FROM EXCLUDED.value"
            )
        metrics.ROWS.labels(path="upsert").inc(len(readings))

    def _transaction(self) -> "_Transaction":
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return _Transaction(self._connection)

    def _recover(self) -> None:
        if self._connection is not None and not self._connection.closed:
            try:
                self._connection.rollback()
            except psycopg2.Error:
                self.close()


class _Transaction:
    """Commits at the end of a `with`; on an error the writer rolls back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Any:
        return self._connection.cursor()

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is None:
            self._connection.commit()


class WriteToTimescale(beam.PTransform):
    """Gives (readings as written, dead letters). Buffers by window; flushes at `batch_rows`, when the window changes
    and at the end of the bundle, so that no row waits across a checkpoint."""

    def __init__(self, settings: TimescaleSettings, batch_rows: int, topic: str, clock: Clock = utc_now) -> None:
        super().__init__()
        if batch_rows < 1:
            raise ValueError(f"batch_rows {batch_rows} is not positive")
        self._fn = _WriteFn(settings, batch_rows, topic, clock)

    def expand(self, readings: PCollection) -> Any:
        out = readings | "Copy" >> beam.ParDo(self._fn).with_outputs(DEAD, main="written")
        return out.written, out[DEAD]


class _WriteFn(beam.DoFn):
    def __init__(self, settings: TimescaleSettings, batch_rows: int, topic: str, clock: Clock) -> None:
        self._settings = settings
        self._batch_rows = batch_rows
        self._topic = topic
        self._clock = clock

    def setup(self) -> None:
        self._writer = Writer(lambda: connect(self._settings))

    def start_bundle(self) -> None:
        self._parts: list[Readings] = []
        self._rows = 0
        self._window: Any = None
        self._element_time: Any = None

    def process(
        self, readings: Readings, window: Any = beam.DoFn.WindowParam, timestamp: Any = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        if self._parts and window != self._window:
            yield from self._windowed(self._flush())
        self._window, self._element_time = window, timestamp
        self._parts.append(readings)
        self._rows += len(readings)
        if self._rows >= self._batch_rows:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[Any]:
        if self._parts:
            yield from self._windowed(self._flush())

    def teardown(self) -> None:
        self._writer.close()

    def _flush(self) -> list[Any]:
        readings = join(self._parts)
        self._parts, self._rows = [], 0
        with metrics.BATCH_SECONDS.labels(step=STEP).time():
            rejected = self._write(readings)
        metrics.BATCH_ROWS.observe(len(readings))
        outputs: list[Any] = []
        if rejected:
            kept = np.ones(len(readings), np.bool_)
            kept[[row for row, _ in rejected]] = False
            refused = [
                Rejected(readings.records[readings.source[row]], Reason.REJECTED_ROW, why) for row, why in rejected
            ]
            outputs.append(TaggedOutput(DEAD, to_dead_letters(refused, STEP, self._topic, self._clock())))
            readings = readings.take(kept)
        metrics.observe_latency(self._clock().timestamp() - readings.micros / 1e6)
        return [readings, *outputs]

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

    def _windowed(self, outputs: list[Any]) -> Iterator[Any]:
        for output in outputs:
            yield _in_window(output, self._element_time, self._window)


def _in_window(output: Any, timestamp: Any, window: Any) -> Any:
    if isinstance(output, TaggedOutput):
        return TaggedOutput(output.tag, _in_window(output.value, timestamp, window))
    return WindowedValue(output, timestamp, (window,))


def _say(error: BaseException | None) -> None:
    metrics.RETRIES.labels(step=STEP).inc()
    log.warning("write failed, will be tried again", error=str(error))
