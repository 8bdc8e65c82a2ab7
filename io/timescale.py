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

# TimescaleDB refuses a statement that has to decompress more rows than a limit (100,000 by default): late rows
# that meet compressed chunks would be tried again for ever. Other editions take the setting and have no use for it.
_LATE_ROWS = "-c timescaledb.max_tuples_decompressed_per_dml_transaction=0"


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
        tcp_user_timeout=20_000,
        # The server, too, notices when we are gone: a transaction of ours must not hold its rows against our next one.
        options="-c timezone=UTC -c statement_timeout=60s -c idle_in_transaction_session_timeout=20s"
        " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout=20s "
        + _LATE_ROWS,
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
            if classify(error.pgcode) is Fault.DUPLICATE:
                return self._write_over(readings)
            return self._after(error, readings)
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
            return self._after(error, readings)
        return []

    def _after(self, error: psycopg2.Error, readings: Readings) -> list[RejectedRow]:
        """Halves the batch until only the rows that are refused are left, or the server can hold a part."""
        fault = classify(error.pgcode)
        if fault is Fault.PERMANENT and len(readings) == 1:
            return [RejectedRow(0, f"{error.pgcode} {str(error).strip()}")]
        if fault not in (Fault.PERMANENT, Fault.TOO_MUCH) or len(readings) == 1:
            raise TemporaryError(str(error).strip()) from error
        middle = len(readings) // 2
        left = self.write(readings.take(slice(0, middle)))
        right = self.write(readings.take(slice(middle, None)))
        return left + [RejectedRow(row + middle, detail) for row, detail in right]

    def _copy(self, readings: Readings) -> None:
        with self._transaction() as cursor:
            _copy_in(cursor, "decoded_data", readings)
        metrics.ROWS.labels(path="copy").inc(len(readings))

    def _upsert(self, readings: Readings) -> None:
        with self._transaction() as cursor:
            cursor.execute(
                "CREATE TEMP TABLE IF NOT EXISTS staging (LIKE decoded_data) ON COMMIT DELETE ROWS;TRUNCATE staging"
            )
            _copy_in(cursor, "staging", readings)
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


def _copy_in(cursor: Any, table: str, readings: Readings) -> None:
    data = to_copy_binary(readings)
    # In one piece: for each piece the thread would have to wait for the interpreter, which is decoding the next batch.
    cursor.copy_expert(f"COPY {table} ({COLUMNS}) FROM STDIN (FORMAT BINARY)", BytesIO(data), size=len(data))


class _Transaction:
    """Commits at the end of a `with`; on an error the writer rolls back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Any:
        return self._connection.cursor()

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is None:
            self._connection.commit()
