"""What must have come of records of the raw topic: by the pipeline's own steps, so there is one decoder only."""

from typing import NamedTuple

from faces2.models.batches import Readings
from faces2.models.dead_letter import Record, Rejected
from faces2.models.metadata import Snapshot
from faces2.transforms.decode import decode_groups
from faces2.transforms.enrich import enrich


class Expected(NamedTuple):
    """Readings that must be in the table, records that must be in the dead letters (one decoded in part is in
    both), and messages of other modes."""

    readings: Readings
    rejected: list[Rejected]
    passed_by: dict[str, int]


def expect(records: list[Record], snapshot: Snapshot, check_crc: bool) -> Expected:
    """What the pipeline makes of `records`."""
    groups, refused, passed_by = enrich(records, snapshot, check_crc)
    readings, undecoded = decode_groups(groups)
    return Expected(readings, refused + undecoded, passed_by)
