"""The first reading of the stretch: counts what is as it must be, and keeps what has to be looked at again."""

from collections import Counter

import numpy as np

from faces2.audit.compare import Compared, Fetch, compare
from faces2.audit.expect import Expected, expect
from faces2.audit.suspects import Suspects
from faces2.audit.wanted import Wanted
from faces2.models.batches import Readings
from faces2.models.dead_letter import Record
from faces2.models.metadata import Snapshot

Place = tuple[int, int]
"""Partition and offset of a record."""


class Sweep:
    """Memory grows only with the frames that are not simply in the table: see Wanted and Suspects."""

    def __init__(self, snapshot: Snapshot, check_crc: bool, fetch: Fetch, kept_since: int | None) -> None:
        self.frames = 0
        self.passed_by: Counter[str] = Counter()
        self.found = 0
        self.expired = 0
        self.wanted = Wanted()
        self.suspects = Suspects()
        self._snapshot = snapshot
        self._check_crc = check_crc
        self._fetch = fetch
        self._kept_since = kept_since

    def see(self, records: list[Record], places: list[Place]) -> None:
        """The next records, and where each lies."""
        readings, rejected, passed_by = self.expect(records)
        self.frames += len(records)
        self.passed_by.update(passed_by)
        compared = compare(readings, self._fetch)
        self.found += int(compared.right.sum())
        if not rejected and compared.right.all():
            return
        place_of = {id(record): place for record, place in zip(records, places, strict=True)}
        for record, _, _ in rejected:
            self.wanted.add(record, *place_of[id(record)])
        self._missing(readings, compared, place_of)
        self._different(readings, compared, place_of)

    def see_again(self, records: list[Record]) -> None:
        """Second reading: who sent what the table holds?"""
        self.suspects.clear(self.expect(records).readings)

    def expect(self, records: list[Record]) -> Expected:
        """What the pipeline makes of records."""
        return expect(records, self._snapshot, self._check_crc)

    def _missing(self, readings: Readings, compared: Compared, place_of: dict[int, Place]) -> None:
        missing = ~compared.present
        if self._kept_since is not None:
            expired = missing & (readings.micros < self._kept_since)
            self.expired += int(expired.sum())
            missing &= ~expired
        sources, counts = np.unique(readings.source[missing], return_counts=True)
        for source, count in zip(sources.tolist(), counts.tolist(), strict=True):
            record = readings.records[source]
            self.wanted.add(record, *place_of[id(record)], count)

    def _different(self, readings: Readings, compared: Compared, place_of: dict[int, Place]) -> None:
        rows = compared.present & ~compared.right
        if rows.any():
            different = readings.take(rows)
            places = [place_of[id(readings.records[source])] for source in different.source.tolist()]
            self.suspects.add(different, compared.stored[rows], places)
