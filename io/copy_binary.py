"""Readings as the bytes of PostgreSQL's COPY … (FORMAT BINARY): the columns are laid out by numpy, no row is touched.

Source: PostgreSQL's manual, COPY, "Binary Format". timestamptz is microseconds since 2000-01-01.
"""

import numpy as np

from faces2.models.batches import Readings

COLUMNS = "timestamp, device_id, datapoint_id, value"

_POSTGRES_EPOCH = 946_684_800_000_000
_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
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
