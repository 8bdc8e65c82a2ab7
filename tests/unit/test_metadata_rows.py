"""Rows of a metadata database that is not ours: what fits is used, what does not spoils only itself and is named."""

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from faces2.models.frame import Datapoint, LayoutError, layout_of
from faces2.models.metadata import PinKey, Snapshot, Template
from faces2.models.metadata_fields import FOREVER, Mapping, mapping_of, scalar
from faces2.models.metadata_rows import build_snapshot

MAC = "aabbccddee01"
POINT = (1, 7, "Temperature", 3, 2, "Int16", 2, "°C")
PIN = (MAC, 1, 2, 5, "air", 1, 0)


@pytest.mark.parametrize(
    ("field", "taken"),
    [
        (None, None),
        (5, 5),
        ("Int16", "Int16"),
        (Decimal(5), 5),
        (Decimal("5.00"), 5),
        (5.0, 5),
        (5.5, "5.5"),
        (Decimal("NaN"), "NaN"),
        (Decimal("1E5000"), "1E+5000"),
        (math.inf, "inf"),
        (True, "True"),
        (2**63, str(2**63)),
        (b"\x00", r"b'\x00'"),
        ([1], "[1]"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01 00:00:00+00:00"),
    ],
)
def test_a_field(field: object, taken: object) -> None:
    assert scalar(field) == taken
    assert type(scalar(field)) is type(taken)


@pytest.mark.parametrize(
    "changes",
    [
        *({0: None}, {0: 5}, {1: None}, {1: "1"}, {2: 1.5}, {3: None}, {3: 2**31}, {3: True}, {3: [5]}),
        *({5: math.nan}, {5: "1"}, {5: []}, {6: None}, {6: 2.5}, {6: FOREVER}, {6: 10**30}),
    ],
)
def test_a_pin_that_can_not_be_is_unknown(changes: dict[int, Any]) -> None:
    row = tuple(changes.get(place, field) for place, field in enumerate(PIN))
    assert mapping_of(row) is None
    snapshot = build_snapshot(1, [POINT], [row, (*PIN[:2], 3, *PIN[3:])])
    assert list(snapshot.sensors) == [PinKey(MAC, 1, 3)]


def test_a_pin_of_another_database() -> None:
    row = (MAC, Decimal(1), 2.0, Decimal("5.0"), None, 1, Decimal(0))
    assert mapping_of(row) == (PinKey(MAC, 1, 2), Mapping(5, "", 1, 0, FOREVER))


def test_a_device_without_a_template_has_none() -> None:
    snapshot = build_snapshot(1, [POINT], [(*PIN[:5], None, 0)])
    assert snapshot.sensors[PinKey(MAC, 1, 2)].template == Template(None, ())
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


@pytest.mark.parametrize(
    ("templates", "pins"),
    [
        ([(None, [POINT[1:]], 50)], []),
        ([(1, [POINT[1:]], None)], []),
        ([([], [POINT[1:]], 50)], []),
        ([(1, None, 50)], []),
        ([], [(*PIN, None)]),
        ([], [(*PIN, FOREVER)]),
        ([], [(*PIN[:3], 2**31, *PIN[4:], 100)]),
    ],
)
def test_a_past_that_can_not_be_never_was(templates: list[Any], pins: list[Any]) -> None:
    assert build_snapshot(1, [POINT], [PIN], templates, pins).earlier == {}


def test_a_past_of_another_database() -> None:
    past = [tuple(Decimal(field) if isinstance(field, int) else field for field in (*PIN[:3], 6, *PIN[4:], 100))]
    template = (Decimal(1), [[7.0, *POINT[2:]], [None, *POINT[2:]]], Decimal(50))
    snapshot = build_snapshot(1, [POINT], [PIN], [template], past)
    ((first, then), (second, after)) = snapshot.earlier[PinKey(MAC, 1, 2)]
    assert (first, then.device_id, second, after.device_id) == (50, 6, 100, 6)
    good, bad = then.template.datapoints
    assert (good, good.problem) == (after.template.datapoints[0], "")
    assert bad.problem == "Temperature: datapointid None is no whole number of four bytes"
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({1: None}, "Temperature: datapointid None is no whole number of four bytes"),
        ({1: 2**31}, "2147483648 is no whole number of four bytes"),
        ({3: None}, "Temperature: offset None is no whole number"),
        ({3: 1.5}, "offset '1.5' is no whole number"),
        ({4: None}, "length None is no whole number"),
        ({4: True}, "length 'True' is no whole number"),
        ({5: None}, "encoding None is no text"),
        ({5: 16}, "encoding 16 is no text"),
        ({6: "two"}, "decimals 'two' is no whole number"),
    ],
)
def test_a_datapoint_that_can_not_be_is_named(changes: dict[int, Any], says: str) -> None:
    row = tuple(changes.get(place, field) for place, field in enumerate(POINT))
    snapshot = build_snapshot(1, [row], [PIN])
    (point,) = snapshot.sensors[PinKey(MAC, 1, 2)].template.datapoints
    with pytest.raises(LayoutError, match=says):
        layout_of(point)
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


def test_numbers_of_other_types_are_taken() -> None:
    snapshot = build_snapshot(1, [(1.0, Decimal(7), "Temperature", Decimal(3), 2.0, "Int16", Decimal(2), None)], [PIN])
    assert snapshot.sensors[PinKey(MAC, 1, 2)].template.datapoints == (
        Datapoint(7, "Temperature", 3, 2, "Int16", 2, ""),
    )


STORED = build_snapshot(7, [POINT], [PIN], [(1, [[7, "T", *POINT[3:]]], 50)], [(*PIN, 40)]).to_json()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 10**6,
        STORED[:-1],
        STORED.replace(b'"form":2', b'"form":1'),
        STORED.replace(b'"version":7', b'"version":"7"'),
        STORED.replace(b'"version":7', b'"version":true'),
        STORED.replace(b'"version":7', b'"version":9223372036854775808'),
        STORED.replace(b'"template_id":1', b'"template_id":"1"'),
        STORED.replace(b'"template_id":1', b'"template_id":[]'),
        STORED.replace(b'"datapoint_id":7', b'"datapoint_id":2147483648'),
        STORED.replace(b'"datapoint_id":7', b'"datapoint_id":7.0'),
        STORED.replace(b'"length":2', b'"length":null'),
        STORED.replace(b'"encoding":"Int16"', b'"encoding":{}'),
        STORED.replace(b'"label":"Temperature",', b""),
        STORED.replace(b'"datapoints":[{', b'"datapoints":["Temperature",{'),
        STORED.replace(b'"pins":[[', b'"pins":[["aabbccddee01"],['),
        STORED.replace(b'5,"air",0]]', b'5,"air",-1]]'),
        STORED.replace(b'5,"air",0]]', b'5,"air",2]]'),
        STORED.replace(b'5,"air",0]]', b'"5","air",0]]'),
        STORED.replace(b'5,"air",0]]', b'2147483648,"air",0]]'),
        STORED.replace(b'5,"air",0]]', b"5,null,0]]"),
        STORED.replace(b"1,2,50,", b"1,2,null,"),
    ],
)
def test_what_is_no_snapshot_says_so(text: bytes) -> None:
    assert text != STORED
    assert Snapshot.from_json(STORED).to_json() == STORED
    with pytest.raises((ValueError, KeyError, TypeError)):
        Snapshot.from_json(text)
