"""A set of 64-bit numbers that takes 8 bytes for each."""

import numpy as np
from numpy.typing import NDArray

FRESH = 65_536
"""So many are kept in a set of Python's before they are put to the others."""


class Hashes:
    """Numbers are added and looked for."""

    def __init__(self) -> None:
        self._sorted: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._fresh: set[int] = set()

    def add(self, number: int) -> None:
        """Takes the number; 0 <= number < 2**64."""
        self._fresh.add(number)
        if len(self._fresh) >= FRESH:
            fresh = np.fromiter(self._fresh, np.uint64, len(self._fresh))
            self._sorted = np.union1d(self._sorted, fresh)
            self._fresh.clear()

    def __contains__(self, number: int) -> bool:
        if number in self._fresh:
            return True
        at = int(np.searchsorted(self._sorted, np.uint64(number)))
        return at < len(self._sorted) and int(self._sorted[at]) == number
