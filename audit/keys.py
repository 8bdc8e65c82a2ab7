"""Keys of readings (time, device, datapoint) as sorted columns, in which many are looked up at once."""

import numpy as np
from numpy.typing import NDArray


class Keys:
    """The distinct keys of some readings; `of` is each reading's key, as an index into them."""

    def __init__(
        self, micros: NDArray[np.int64], device_id: NDArray[np.int32], datapoint_id: NDArray[np.int32]
    ) -> None:
        self._times, time_of = np.unique(micros, return_inverse=True)
        self._ids, id_of = np.unique(_pair(device_id, datapoint_id), return_inverse=True)
        self._keys, self.of = np.unique(time_of * np.int64(len(self._ids)) + id_of, return_inverse=True)

    def __len__(self) -> int:
        return len(self._keys)

    def find(
        self, micros: NDArray[np.int64], device_id: NDArray[np.int32], datapoint_id: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        """For each reading the index of its key, -1 where there is none such."""
        if not len(self):
            return np.full(len(micros), -1, np.int64)
        times, ids = _positions(self._times, micros), _positions(self._ids, _pair(device_id, datapoint_id))
        found = _positions(self._keys, times * np.int64(len(self._ids)) + ids)
        return np.where((times < 0) | (ids < 0), np.int64(-1), found)


def _pair(device_id: NDArray[np.int32], datapoint_id: NDArray[np.int32]) -> NDArray[np.int64]:
    return (device_id.astype(np.int64) << 32) | (datapoint_id.astype(np.int64) & 0xFFFF_FFFF)


def _positions(values: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    at = np.searchsorted(values, wanted).clip(max=len(values) - 1)
    return np.where(values[at] == wanted, at, np.int64(-1))
