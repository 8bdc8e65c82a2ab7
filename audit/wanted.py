"""Frames that must be among the dead letters, known by a hash of their bytes: some 30 bytes of memory each."""

from array import array
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from faces2.models.dead_letter import Reason, Record

PARTIAL = frozenset({Reason.SHORT_FRAME.value, Reason.BAD_DATAPOINT.value})
"""Reasons of frames whose other readings were written: such a dead letter does not account for a missing row."""


def digest(record: Record) -> int:
    """64 bits of key and value; a dead letter carries both unchanged."""
    key, value = record
    head = b"-" if key is None else b"%d " % len(key)
    return int.from_bytes(blake2b(head + (key or b"") + (value or b""), digest_size=8).digest(), "little")


class Wanted:
    """Records and the number of their readings that are not in the table; 0: the record itself was refused."""

    def __init__(self) -> None:
        self._digests, self._partitions = array("Q"), array("i")
        self._offsets, self._readings = array("q"), array("i")
        self._found: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self._digests)

    def add(self, record: Record, partition: int, offset: int, readings: int = 0) -> None:
        """One more that is looked for."""
        self._digests.append(digest(record))
        self._partitions.append(partition)
        self._offsets.append(offset)
        self._readings.append(readings)

    def look(self, letters: Iterable[tuple[Record, str]]) -> bool:
        """Looks among these dead letters, record and reason; True when all were found. None is added after that."""
        seen = [(digest(record), reason in PARTIAL) for record, reason in letters]
        every = np.array([number for number, _ in seen], np.uint64)
        whole = np.array([number for number, partial in seen if not partial], np.uint64)
        digests, refused = np.frombuffer(self._digests, np.uint64), np.frombuffer(self._readings, np.int32) == 0
        self._found = self.found | np.where(refused, np.isin(digests, every), np.isin(digests, whole))
        return bool(self._found.all())

    @property
    def found(self) -> NDArray[np.bool_]:
        """Which of them are among the dead letters seen."""
        return np.zeros(len(self), np.bool_) if self._found is None else self._found

    @property
    def readings(self) -> NDArray[np.int32]:
        """How many readings of each are not in the table."""
        return np.array(self._readings, np.int32)

    def places(self, most: int) -> list[tuple[int, int]]:
        """Partition and offset of the first that were not found."""
        lost = np.flatnonzero(~self.found)[:most]
        return [(self._partitions[index], self._offsets[index]) for index in lost]
