"""Rows of a metadata database that is not ours, and what Redis may hold: wrong rows spoil only themselves."""

import copy
import math
from collections import Counter
from datetime import datetime
from decimal import Decimal
from itertools import cycle
from random import Random
from typing import Any

from faces2.io.cache import SNAPSHOT_KEY, SnapshotCache
from faces2.models.clock import format_timestamp
from faces2.models.dead_letter import Record
from faces2.models.metadata import PinKey, Sensor, Snapshot
from faces2.models.metadata_rows import build_snapshot
from faces2.transforms.decode import decode_groups
from faces2.transforms.enrich import enrich
from tests.fuzz import columns, fleet, mutations
from tests.fuzz.engine import Case

ODD = (
    *(None, True, False, "", " ", "1", "Int16", "x" * 300, "\x00", b"\x00", 1.0, 2.5, 1e300, math.inf, math.nan),
    *(0, -1, 2**15, 2**31, 2**63, 10**30, Decimal("2"), Decimal("NaN"), datetime(2026, 1, 1)),  # noqa: DTZ001
    *([], [1], {}, Decimal("1E5000"), Decimal("-0"), 2**63 - 1, -(2**63), 40, 60),
)
"""What a column of another type gives."""
FRAME = bytes(range(32))
TEXT = FRAME.hex()
MICROS = 1_700_000_000_000_000
POINTS = [
    (template.template_id, p.datapoint_id, p.label, p.offset, p.length, p.encoding, p.decimals, p.unit)
    for template in fleet.TEMPLATES
    for p in template.datapoints
]
PINS = [(*pin, sensor.device_id, sensor.name, sensor.template.template_id, 0) for pin, sensor in fleet.SENSORS.items()]
PAST_TEMPLATES = [(template, [point], 40) for template, *point in POINTS]
PAST_PINS = [(*pin[:3], pin[3] + 1, *pin[4:], 60) for pin in PINS]
GOOD = build_snapshot(1, POINTS, PINS, PAST_TEMPLATES, PAST_PINS).to_json()
ARRIVALS = (None, 30, 50, 70)
"""Before, between and after what ended, in microseconds since 1970."""


class Rows:
    """(datapoint rows, pin rows, and both of what was before)."""

    name = "metadata"
    batch = 50

    def cases(self, rng: Random, count: int) -> list[Case]:
        """A few of the rows, of which some hold what does not belong there."""
        return [_rows(rng) for _ in range(count)]

    def check(self, cases: list[Case]) -> Counter[str]:
        """A snapshot comes of it, it goes through Redis unchanged, and frames go through it."""
        return Counter(_used(build_snapshot(7, *rows)) for rows in copy.deepcopy(cases))


class Cached:
    """(what Redis holds as the snapshot, as its version)."""

    name = "redis"
    batch = 50

    def cases(self, rng: Random, count: int) -> list[Case]:
        """The snapshot's JSON, as it is not."""
        return [(_cached(rng), rng.choice((b"7", b"", b"x", b"-1", b"9" * 30, None))) for _ in range(count)]

    def check(self, cases: list[Case]) -> Counter[str]:
        """A snapshot that can be used, or none."""
        return Counter(self._one(*case) for case in cases)

    def _one(self, text: bytes, version: bytes | None) -> str:
        cache = SnapshotCache(_FakeRedis(text, version))  # type: ignore[arg-type]
        assert 0 <= cache.version() == cache.held() < 10**19
        snapshot = cache.snapshot()
        if snapshot is None:
            return "none"
        assert type(snapshot.version) is int
        return _used(snapshot)


class _FakeRedis:
    """Answers with these two."""

    def __init__(self, text: bytes, version: bytes | None) -> None:
        self._text, self._version = text, version

    def pipeline(self, transaction: bool) -> "_FakeRedis":
        return self

    def __enter__(self) -> "_FakeRedis":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, key: str) -> bytes | None:
        return self._text if key == SNAPSHOT_KEY else self._version

    def exists(self, _: str) -> None:
        pass

    def execute(self) -> tuple[bytes | None, int]:
        return self._version, 1


def _rows(rng: Random) -> Case:
    past = rng.sample(PAST_TEMPLATES, 3)  # whose lists are made by our triggers, and hold what the database does
    held = _odd(rng, [(template, until) for template, _, until in past])
    lists = [_odd(rng, points) if rng.random() < 0.9 else None for _, points, _ in past]
    templates = [(template, points, until) for (template, until), points in zip(held, lists, strict=True)]
    return (
        _odd(rng, rng.sample(POINTS, 8)),
        _odd(rng, rng.sample(PINS, 4)),
        templates,
        _odd(rng, rng.sample(PAST_PINS, 12)),
    )


def _odd(rng: Random, rows: list[Any]) -> list[Any]:
    rows = [list(row) for row in rows]
    for _ in range(rng.randrange(4)):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(ODD)
    return [tuple(row) for row in rows]


def _cached(rng: Random) -> bytes:
    if rng.random() < 0.5:
        return mutations.data(rng, GOOD)
    content: dict[str, Any] = mutations.parsed(GOOD)
    for _ in range(rng.randint(1, 2)):
        at: Any = content
        while isinstance(at, (dict, list)) and at and rng.random() < 0.8:
            place = rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
            if isinstance(at[place], (dict, list)) and rng.random() < 0.8:
                at = at[place]
                continue
            at[place] = mutations.value(rng)
            break
    return mutations.dumped(content)


def _used(snapshot: Snapshot) -> str:
    """Sends frames for every pin that the sample has; the rows are the plain codec's, all else is a dead letter."""
    assert Snapshot.from_json(snapshot.to_json()) == snapshot
    sent = list(zip(fleet.SENSORS, cycle(ARRIVALS)))
    records: list[Record] = columns.fresh([(None, _frame_for(*each)) for each in sent])
    enriched = enrich(records, snapshot)
    readings, undecoded = decode_groups(enriched.groups)
    rows, refused = columns.by_record(readings), columns.once(enriched.rejected + undecoded)
    for (pin, at), record in zip(sent, records, strict=True):
        sensor = _sensor(snapshot, pin, at)
        found = rows.get(id(record), [])
        if sensor is None:
            assert not found and id(record) in refused
            continue
        expected, failures = columns.plain_rows(sensor.template, FRAME, MICROS, sensor.device_id)
        assert found == expected
        assert bool(failures or not expected) == (id(record) in refused)
    return "some dead letters" if refused else "rows only"


def _sensor(snapshot: Snapshot, pin: PinKey, at: int | None) -> Sensor | None:
    """What was there then."""
    before = [sensor for until, sensor in snapshot.earlier.get(pin, ()) if at is not None and at < until]
    return before[0] if before else snapshot.sensors.get(pin)


def _frame_for(pin: PinKey, at: int | None) -> bytes:
    return mutations.dumped(
        {
            "timestamp": None if at is None else format_timestamp(at),
            "device_mac": pin.mac,
            "mode": "sensor-mode",
            "connector": f"J{pin.connector}",
            "component": f"sensor-{pin.position}",
            "payload": {"timestamp": "2023-11-14 22:13:20.000000", "data": TEXT},
        }
    )
