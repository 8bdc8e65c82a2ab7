"""TimescaleDB: readings into decoded_data, one transaction a batch, idempotent on time, device and datapoint."""

from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from faces2.io.copy_binary import COLUMNS, to_copy_binary
from faces2.io.sqlstate import Fault, classify
from faces2.models.batches import Readings
from faces2.service import metrics
from faces2.service.settings import TimescaleSettings


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
