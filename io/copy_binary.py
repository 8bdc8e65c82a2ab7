"""Readings as the bytes of PostgreSQL's COPY … (FORMAT BINARY), there and back: columns of numpy, no row is touched.

Source: PostgreSQL's manual, COPY, "Binary Format". timestamptz is microseconds since 2000-01-01.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faces2.models.batches import Readings

COLUMNS = "timestamp, device_id, datapoint_id, value"

_POSTGRES_EPOCH = 946_684_800_000_000
_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
HEADER_BYTES = len(_HEADER)
_TRAILER = b"\xff\xff"
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("timestamp_size", ">i4"),
        ("timestamp", ">i8"),
        ("device_size", ">i4"),
        ("device_id", ">i4"),
        ("datapoint_size", ">i4"),
        ("datapoint_id", ">i4"),
        ("value_size", ">i4"),
        ("value", ">f8"),
    ]
)
ROW_BYTES = _ROW.itemsize


class Rows(NamedTuple):
    """Rows of decoded_data as columns; `micros` since 1970."""

    micros: NDArray[np.int64]
    device_id: NDArray[np.int32]
    datapoint_id: NDArray[np.int32]
    value: NDArray[np.float64]


def to_copy_binary(readings: Readings) -> bytes:
    """The rows of `readings` in the order of COLUMNS."""
    rows = np.empty(len(readings), _ROW)
    rows["fields"] = 4
    rows["timestamp_size"] = rows["value_size"] = 8
    rows["device_size"] = rows["datapoint_size"] = 4
    rows["timestamp"] = readings.micros - _POSTGRES_EPOCH
    rows["device_id"] = readings.device_id
    rows["datapoint_id"] = readings.datapoint_id
    rows["value"] = readings.value
    return _HEADER + rows.tobytes() + _TRAILER


def from_copy_binary(block: bytes) -> Rows:
    """The whole rows of `block`: what lies between COPY's header and its trailer, with no NULL in it."""
    rows = np.frombuffer(block, _ROW, len(block) // ROW_BYTES)
    return Rows(
        rows["timestamp"].astype(np.int64) + _POSTGRES_EPOCH,
        rows["device_id"].astype(np.int32),
        rows["datapoint_id"].astype(np.int32),
        rows["value"].astype(np.float64),
    )
