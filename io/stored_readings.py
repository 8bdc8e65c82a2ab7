"""What decoded_data holds, read as columns in blocks of a fixed size: nothing is written, no row is a Python object."""

from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faces2.io.copy_binary import HEADER_BYTES, ROW_BYTES, Rows, from_copy_binary
from faces2.models.clock import EPOCH, from_micros

BLOCK_ROWS = 250_000

# A value that is NULL (nobody of ours writes one) is no number, and so no expected one.
_STORED = (
    "COPY (SELECT timestamp, device_id, datapoint_id, coalesce(value, 'NaN') FROM decoded_data"
    " WHERE timestamp BETWEEN %s AND %s AND device_id = ANY(%s)) TO STDOUT (FORMAT BINARY)"
)


def stored_readings(connection: Any, first: int, last: int, devices: NDArray[np.int32]) -> Iterator[Rows]:
    """The rows of `devices` from `first` up to and with `last`, in microseconds since 1970."""
    with connection.cursor() as cursor, TemporaryFile() as file:
        query = cursor.mogrify(_STORED, (from_micros(first), from_micros(last), devices.tolist()))
        cursor.copy_expert(query, file)
        file.seek(HEADER_BYTES)
        while len(block := file.read(BLOCK_ROWS * ROW_BYTES)) >= ROW_BYTES:
            yield from_copy_binary(block)


def kept_since(connection: Any, retention: str) -> int | None:
    """Rows before this time, in microseconds since 1970, may have been dropped; None where all are kept."""
    if retention.lower() in ("", "off"):
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT now() - %s::interval", (retention,))
        ((moment,),) = cursor.fetchall()
    return int((moment - EPOCH).total_seconds() * 1e6)
