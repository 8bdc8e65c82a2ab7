"""Batches decoded by the pipeline's columns, and the same record by record by the plain codec."""

from collections import Counter
from typing import Any

import numpy as np

from faces2.io.copy_binary import to_copy_binary
from faces2.models.batches import Readings
from faces2.models.dead_letter import Record, Rejected
from faces2.models.frame import FrameError, LayoutError, decode
from faces2.models.metadata import Template

Row = tuple[int, int, int, str]
"""Microseconds, device, datapoint, the value's bits (so that -0.0 is not 0.0)."""

# PostgreSQL's manual, COPY: number of fields, then each with its length before it; time since 2000-01-01.
_HEAD = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_FIELDS = ("n", ">i2"), ("l1", ">i4"), ("t", ">i8"), ("l2", ">i4"), ("d", ">i4"), ("l3", ">i4"), ("p", ">i4")
_ROW = np.dtype([*_FIELDS, ("l4", ">i4"), ("v", ">f8")])
_EPOCH_2000 = 946_684_800_000_000


def rows_of(readings: Readings) -> list[Row]:
    """What COPY is given, as rows."""
    text = to_copy_binary(readings)
    assert (text[:19], text[-2:]) == (_HEAD, b"\xff\xff")
    rows = np.frombuffer(text[19:-2], _ROW)
    assert set(zip(*(rows[name].tolist() for name in ("n", "l1", "l2", "l3", "l4")), strict=True)) <= {(4, 8, 4, 4, 8)}
    columns = (rows[name].tolist() for name in ("t", "d", "p", "v"))
    return [(at + _EPOCH_2000, device, point, value.hex()) for at, device, point, value in zip(*columns, strict=True)]


def by_record(readings: Readings) -> dict[int, list[Row]]:
    """The rows of each record, by the record's id()."""
    found: dict[int, list[Row]] = {}
    for source, row in zip(readings.source.tolist(), rows_of(readings), strict=True):
        found.setdefault(id(readings.records[source]), []).append(row)
    return found


def plain_rows(template: Template, frame: bytes, micros: int, device_id: int) -> tuple[list[Row], set[str]]:
    """The rows that the frame must give, and which kinds of failure it has: `short`, `bad`."""
    rows, failures = [], set()
    for point in template.datapoints:
        try:
            rows.append((micros, device_id, point.datapoint_id, decode(frame, point).hex()))
        except LayoutError:
            failures.add("bad")
        except FrameError as error:
            failures.add("bad" if "finite" in str(error) else "short")
    return rows, failures


def once(rejected: list[Rejected]) -> dict[int, Rejected]:
    """What is refused by the record's id(); no record is so twice."""
    found = {id(each.record): each for each in rejected}
    assert len(found) == len(rejected), "a record is refused twice"
    return found


def reasons(rejected: list[Rejected]) -> Counter[str]:
    """How many for each reason."""
    return Counter(each.reason.value for each in rejected)


def fresh(records: list[tuple[Any, Any]]) -> list[Record]:
    """The records, each an object of its own, so that id() tells them apart."""
    return [(key, value) for key, value in records]
