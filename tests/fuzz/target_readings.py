"""Records of the processed topic into mode `sink`: the reading that they say, and the same after a round trip."""

import math
from collections import Counter
from random import Random
from typing import Any

from faces2.io.kafka import reading_records
from faces2.models.clock import format_timestamp, parse_timestamp
from faces2.models.dead_letter import Reason
from faces2.transforms.readings import parse_readings
from tests.fuzz import columns, mutations, plain
from tests.fuzz.engine import Case

INT32 = range(-(2**31), 2**31)


class ProcessedRecords:
    """(key, value) of a record."""

    name = "readings"
    batch = 1000

    def cases(self, rng: Random, count: int) -> list[Case]:
        """Good readings among the others."""
        return [(rng.choice((None, b"5:1")), _value(rng)) for _ in range(count)]

    def check(self, cases: list[Case]) -> Counter[str]:
        """Each record against the plain reading; what is published again reads the same."""
        records = columns.fresh(cases)
        readings, refused = parse_readings(records)
        rows, rejected = columns.by_record(readings), columns.once(refused)
        ends = Counter(_compare(record[1], rows, rejected, id(record)) for record in records)
        again, none = parse_readings([(key, value) for key, value, _ in reading_records(readings)])
        assert not none
        assert columns.rows_of(again) == columns.rows_of(readings)
        return ends


def _compare(value: bytes | None, rows: Any, rejected: Any, record: int) -> str:
    found, reason = rows.get(record, []), rejected[record].reason if record in rejected else None
    assert len(found) + (reason is not None) == 1
    try:
        expected = _read(plain.read_json(value))
    except plain.RefusedError as refused:
        assert reason is refused.reason, f"{reason} and not {refused.reason}"
        return str(reason)
    assert found == [expected]
    return "row"


def _read(content: object) -> columns.Row:
    if not isinstance(content, dict) or not {"device_id", "datapoint_id", "value", "timestamp"} <= content.keys():
        raise plain.RefusedError(Reason.BAD_MESSAGE)
    ids = content["device_id"], content["datapoint_id"]
    if any(type(number) is not int or number not in INT32 for number in ids):
        raise plain.RefusedError(Reason.BAD_MESSAGE)
    if type(content["value"]) not in (int, float):
        raise plain.RefusedError(Reason.BAD_MESSAGE)
    try:
        micros = plain.read_timestamp(content["timestamp"])
    except plain.UnsureError:
        try:
            micros = parse_timestamp(content["timestamp"])
        except ValueError:
            raise plain.RefusedError(Reason.BAD_TIMESTAMP) from None
    assert math.isfinite(content["value"])
    return micros, *ids, float(content["value"]).hex()


def _value(rng: Random) -> bytes | None:
    content = {
        "device_id": rng.randrange(2**31),
        "datapoint_id": rng.randrange(100),
        "value": rng.choice(
            (rng.uniform(-1e3, 1e3), rng.choice(mutations.NUMBERS), rng.random() * 10.0 ** rng.randint(-300, 300))
        ),
        "timestamp": format_timestamp(rng.randrange(-(10**16), 10**17)),
    }
    kind = rng.random()
    if kind < 0.3:
        return mutations.dumped(content)
    if kind < 0.65:
        return mutations.dumped(mutations.document(rng, content))
    return mutations.data(rng, mutations.dumped(content)) if kind < 0.995 else None
