"""Readings that must be in the table against the rows that are. Pure: the rows come from a function that is given."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faces2.audit.keys import Keys
from faces2.io.copy_binary import Rows
from faces2.models.batches import Readings

MOST_SPANS = 16
LEAST_GAP = 60_000_000

Fetch = Callable[[int, int, NDArray[np.int32]], Iterable[Rows]]
"""The table's rows from a time up to another (microseconds since 1970), of some devices."""


class Compared(NamedTuple):
    """Of each reading: whether its key is in the table, the value there, and whether that is a value it may have."""

    present: NDArray[np.bool_]
    stored: NDArray[np.float64]
    right: NDArray[np.bool_]


def compare(readings: Readings, fetch: Fetch) -> Compared:
    """Where a key was sent more than once, any of the values sent is right."""
    keys = Keys(readings.micros, readings.device_id, readings.datapoint_id)
    present, stored = np.zeros(len(keys), np.bool_), np.full(len(keys), np.nan)
    for first, last in spans(readings.micros):
        inside = (readings.micros >= first) & (readings.micros <= last)
        for rows in fetch(first, last, np.unique(readings.device_id[inside])):
            at = keys.find(rows.micros, rows.device_id, rows.datapoint_id)
            known = at >= 0
            present[at[known]], stored[at[known]] = True, rows.value[known]
    equal = stored[keys.of] == readings.value
    right = np.zeros(len(keys), np.bool_)
    right[keys.of[equal]] = True
    return Compared(present[keys.of], stored[keys.of], right[keys.of])


def spans(micros: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First and last of stretches of time that hold all of `micros`, cut at its widest gaps: a frame whose clock is far
    off does not make us read all that lies between."""
    times = np.unique(micros)
    if not len(times):
        return []
    gaps = np.diff(times)
    widest = np.argsort(gaps)[::-1][: MOST_SPANS - 1]
    cuts = np.sort(widest[gaps[widest] > LEAST_GAP]) + 1
    return [(int(part[0]), int(part[-1])) for part in np.split(times, cuts)]
