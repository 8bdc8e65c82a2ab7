"""Each frame has the mapping of its arrival: snapshots from rows with a past, at every boundary."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faces2.models.clock import format_timestamp
from faces2.models.dead_letter import Reason
from faces2.models.frame import LayoutError, layout_of
from faces2.models.metadata import FORM, PinKey, Snapshot
from faces2.models.metadata_rows import FOREVER, build_snapshot
from faces2.transforms.decode import decode_groups
from faces2.transforms.enrich import enrich
from faces2.transforms.parse import arrival

MAC = "aabbccddee01"
PIN = PinKey(MAC, 1, 1)
NAMES = (MAC, "J1", "sensor-1")


def point(offset: int = 0, datapoint_id: int = 1) -> list[Any]:
    return [datapoint_id, "T", offset, 2, "Int16", 0, None]


def present(template: int = 1, offset: int = 9) -> list[tuple[Any, ...]]:
    return [(template, *point(offset))]


def on_pin(device: int, template: int = 1, *times: int) -> tuple[Any, ...]:
    return (*PIN, device, f"sensor {device}", template, *times)


def seen(snapshot: Snapshot, micros: int | None) -> tuple[int, int] | None:
    """Device and offset that a frame of that time is decoded with."""
    sensor = snapshot.find_at(*NAMES, micros)
    return sensor and (sensor.device_id, sensor.template.datapoints[0].offset)


def test_a_changed_template() -> None:
    past = [(1, [point(3)], 100), (1, [point(5)], 200)]
    snapshot = build_snapshot(1, present(), [on_pin(7, 1, 0)], past)
    assert [seen(snapshot, at) for at in (-5, 0, 99, 100, 199, 200, None)] == [
        *[(7, 3)] * 3,
        *[(7, 5)] * 2,
        *[(7, 9)] * 2,
    ]
    assert snapshot.unchanged(*NAMES) is None
    assert snapshot.find(*NAMES) == snapshot.sensors[PIN]


def test_a_pin_that_had_another_device_and_none_in_between() -> None:
    snapshot = build_snapshot(1, present(), [on_pin(8, 1, 300)], [], [on_pin(7, 1, 50, 100)])
    assert [seen(snapshot, at) for at in (0, 99, 100, 200, 300)] == [(7, 9)] * 2 + [(8, 9)] * 3


def test_a_removed_pin_is_known_to_what_came_before() -> None:
    snapshot = build_snapshot(1, present(), [], [], [on_pin(7, 1, 0, 100)])
    assert [seen(snapshot, at) for at in (99, 100, None)] == [(7, 9), None, None]
    assert snapshot.sensors == {}
    assert snapshot.find(*NAMES) is None


def test_a_pin_that_is_new_takes_its_template_as_it_was_when_it_was_mapped() -> None:
    past = [(1, [point(3)], 100), (1, [point(5)], 200)]
    assert seen(build_snapshot(1, present(), [on_pin(7, 1, 150)], past), 0) == (7, 5)
    late = build_snapshot(1, present(), [on_pin(7, 1, 200)], past)
    assert seen(late, 0) == (7, 9)
    assert late.earlier == {}, "nothing to look up"


def test_a_template_without_datapoints_meant_nothing() -> None:
    snapshot = build_snapshot(1, present(), [on_pin(7, 1, 0)], [(1, [], 100), (1, [point(5)], 200), (1, [], 300)])
    assert [seen(snapshot, at) for at in (0, 100, 200, 250)] == [(7, 5)] * 2 + [(7, 9)] * 2


def test_a_past_that_reads_the_same_is_none() -> None:
    past = [(1, [point(9)], 100), (1, [point(9)], 200)]
    assert build_snapshot(1, present(), [on_pin(7, 1, 0)], past, [on_pin(7, 1, 0, 150)]).earlier == {}


def test_json_carries_the_past_and_another_form_is_refused() -> None:
    past = [(1, [point(3)], 100), (1, [point(5)], 200)]
    snapshot = build_snapshot(4, present(), [on_pin(8, 1, 150)], past, [on_pin(7, 1, 0, 120)])
    again = Snapshot.from_json(snapshot.to_json())
    assert again == snapshot
    assert [seen(again, at) for at in (0, 110, 130, 250)] == [(7, 3), (7, 5), (8, 5), (8, 9)]
    for other in ({"form": FORM - 1}, {"version": 1, "templates": [], "pins": []}):
        with pytest.raises((ValueError, KeyError)):
            Snapshot.from_json(orjson.dumps(other))


CHANGES = st.lists(st.tuples(st.integers(1, 40), st.sampled_from("pt")), max_size=8, unique_by=lambda change: change[0])


@given(CHANGES, st.integers(-1, 50))
def test_any_history_gives_what_held_then(changes: list[tuple[int, str]], at: int) -> None:
    """Devices and offsets count the changes so far, so a frame's are the numbers of changes before it."""
    changes = sorted(changes)
    templates, pins, since = [], [], 0
    for until, kind in changes:
        if kind == "t":
            templates.append((1, [point(len(templates))], until))
        else:
            pins.append(on_pin(len(pins), 1, since, until))
            since = until
    snapshot = build_snapshot(1, present(1, len(templates)), [on_pin(len(pins), 1, since)], templates, pins)
    before = [kind for until, kind in changes if until <= at]
    assert seen(snapshot, at) == (before.count("p"), before.count("t"))
    assert seen(Snapshot.from_json(snapshot.to_json()), at) == seen(snapshot, at)
    assert all(until < FOREVER for timeline in snapshot.earlier.values() for until, _ in timeline)


def raw(arrived: object, component: str = "sensor-1") -> bytes:
    payload = {"timestamp": "2023-05-25 15:13:10.543400", "data": "00 01 00 02"}
    fields = {"device_mac": MAC, "mode": "sensor-mode", "connector": "J1", "component": component, "payload": payload}
    return orjson.dumps(fields | ({} if arrived is None else {"timestamp": arrived}))


def test_frames_of_one_batch_are_decoded_each_by_its_arrival() -> None:
    snapshot = build_snapshot(1, present(1, 2), [on_pin(8, 1, 100)], [(1, [point(0)], 200)], [on_pin(7, 1, 0, 100)])
    records = [(None, raw(format_timestamp(at))) for at in (50, 150, 250)]
    records += [(None, raw(bad)) for bad in (None, 5, "yesterday")]
    groups, rejected, _ = enrich(records, snapshot)
    readings, failed = decode_groups(groups)
    assert rejected == failed == []
    assert sorted(zip(readings.device_id.tolist(), readings.value.tolist(), strict=True)) == [
        (7, 1.0),
        (8, 1.0),
        *[(8, 2.0)] * 4,  # also what does not say when it arrived
    ]


@pytest.mark.parametrize("arrived", [None, 5, "yesterday", "0001-01-01T00:00:00+14:00"])
def test_an_arrival_that_is_not_told_is_not_known(arrived: object) -> None:
    assert arrival(raw(arrived)) is None


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([None, "T", 0, 2, "Int16", 0, None], "datapointid None"),
        ([2**31, "T", 0, 2, "Int16", 0, None], "datapointid 2147483648"),
        ([1, None, None, 2, "Int16", 0, None], "None: offset None"),
        ([1, "T", "3", 2, "Int16", 0, None], "offset '3'"),
        ([1, "T", 0, None, "Int16", 0, None], "length None"),
        ([1, "T", 0, 2, None, 0, None], "dataencoding None"),
        ([1, "T", 0, 2, "Int16", "two", None], "decimals 'two'"),
        ([1, "T", 0, 2, "", 0, None], "encoding '' is unknown"),
        ([1, "T", -1, 2, "Int16", 0, None], "offset -1 is negative"),
    ],
)
def test_a_datapoint_that_is_not_understood_spoils_only_itself(row: list[Any], says: str) -> None:
    snapshot = build_snapshot(1, [(1, *row), (1, *point(0, 5))], [on_pin(7, 1, 0)])
    sensor = snapshot.find(*NAMES)
    assert sensor is not None
    with pytest.raises(LayoutError, match=says):
        layout_of(sensor.template.datapoints[0])
    readings, failed = decode_groups(enrich([(b"k", raw(None))], snapshot).groups)
    assert readings.datapoint_id.tolist() == [5]
    assert [(each.reason, says in each.detail) for each in failed] == [(Reason.BAD_DATAPOINT, True)]
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


@pytest.mark.parametrize(
    "row",
    [
        (None, 1, 1, 7, "x", 1),
        (MAC, "J1", 1, 7, "x", 1),
        (MAC, 1, None, 7, "x", 1),
        (MAC, 1, 1, 2**31, "x", 1),
        (MAC, 1, 1, 7, "x", "1"),
    ],
)
def test_a_pin_that_is_not_understood_is_an_unknown_device(row: tuple[Any, ...]) -> None:
    snapshot = build_snapshot(1, present(), [(*row, 0)])
    assert [each.reason for each in enrich([(b"k", raw(None))], snapshot).rejected] == [Reason.UNKNOWN_DEVICE]


def test_a_device_without_a_template_is_a_bad_datapoint() -> None:
    snapshot = build_snapshot(1, present(), [(*PIN, 7, None, None, 0)])
    assert [each.reason for each in enrich([(b"k", raw(None))], snapshot).rejected] == [Reason.BAD_DATAPOINT]
