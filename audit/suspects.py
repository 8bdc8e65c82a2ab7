"""Readings whose row holds another value. Another frame may have sent that value for the same key: when the stretch is
read a second time, those are cleared, and only what nobody sent is wrong."""

import numpy as np
from numpy.typing import NDArray

from faces2.audit.keys import Keys
from faces2.models.batches import Readings

_COLUMNS = np.dtype(
    [
        ("micros", np.int64),
        ("device_id", np.int32),
        ("datapoint_id", np.int32),
        ("stored", np.float64),
        ("partition", np.int32),
        ("offset", np.int64),
    ]
)


class Suspects:
    """Some 40 bytes of memory each."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.void]] = [np.empty(0, _COLUMNS)]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def add(self, readings: Readings, stored: NDArray[np.float64], places: list[tuple[int, int]]) -> None:
        """Readings, what the table holds instead, and partition and offset of the record of each."""
        part = np.empty(len(readings), _COLUMNS)
        part["micros"], part["device_id"], part["datapoint_id"] = (
            readings.micros,
            readings.device_id,
            readings.datapoint_id,
        )
        part["stored"] = stored
        part["partition"], part["offset"] = np.array(places).reshape(-1, 2).T
        self._parts.append(part)

    def clear(self, sent: Readings) -> None:
        """Drops those whose stored value was `sent`."""
        if not len(self):
            return
        (rows,) = self._parts = [np.concatenate(self._parts)]
        keys = Keys(rows["micros"], rows["device_id"], rows["datapoint_id"])
        stored = np.empty(len(keys))
        stored[keys.of] = rows["stored"]
        right = np.zeros(len(keys), np.bool_)
        at = keys.find(sent.micros, sent.device_id, sent.datapoint_id)
        right[at[(at >= 0) & (sent.value == stored[at])]] = True
        self._parts = [rows[~right[keys.of]]]

    def places(self, most: int) -> list[tuple[int, int]]:
        """Partition and offset of the first records."""
        rows = np.concatenate(self._parts)
        return list(dict.fromkeys(zip(rows["partition"].tolist(), rows["offset"].tolist(), strict=True)))[:most]
