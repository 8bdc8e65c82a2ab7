"""Enrich: every way in which a record is no frame of a known sensor has its reason; the rest are grouped frames."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import orjson
import pytest
from apache_beam.pvalue import AsSingleton
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that

from faces2.models.batches import FrameGroup
from faces2.models.clock import parse_timestamp
from faces2.models.dead_letter import DeadLetter, Reason, Record, RejectedError
from faces2.models.frame import Datapoint, modbus_crc
from faces2.models.metadata import PinKey, Sensor, Snapshot, Template
from faces2.service import metrics
from faces2.transforms.enrich import Enrich, enrich
from faces2.transforms.parse import RawFrame, parse_record

MAC = "aabbccddee01"
TIME = "2023-05-25 15:13:10.543400"
DEEP = b"[" * 1000 + b"]" * 1000

AIR = Template(1, (Datapoint(1, "Temperature", 0, 2, "Int16", 2),))
POWER = Template(2, (Datapoint(2, "Power", 0, 4, "UInt32"),))
SNAPSHOT = Snapshot(
    7,
    {
        PinKey(MAC, 1, 1): Sensor(10, "air 1", AIR),
        PinKey(MAC, 1, 2): Sensor(11, "air 2", AIR),
        PinKey(MAC, 4, 6): Sensor(12, "power", POWER),
        PinKey(MAC, 2, 1): Sensor(13, "blank", Template(3, ())),
    },
)


def message(**changes: Any) -> bytes:
    """A record's value; `data` and `timestamp` go into its payload, None takes a field out."""
    payload = {"timestamp": changes.pop("timestamp", TIME), "data": changes.pop("data", "01 02")}
    fields = {"device_mac": MAC, "mode": "sensor-mode", "connector": "J1", "component": "sensor-1", "payload": payload}
    return orjson.dumps({key: value for key, value in (fields | changes).items() if value is not None})


def test_a_frame() -> None:
    expected = RawFrame(MAC, "J1", "sensor-1", parse_timestamp(TIME), b"\1\2")
    assert parse_record(message()) == expected
    assert parse_record(message(data="0102")) == expected


@pytest.mark.parametrize("mode", ["access-control-mode", "alarm-mode"])
@pytest.mark.parametrize("payload", [{"status": True}, {}, [], "text"])
def test_other_modes_are_no_error_whatever_they_hold(mode: str, payload: object) -> None:
    assert parse_record(message(mode=mode, payload=payload)) == mode


@pytest.mark.parametrize(
    ("value", "reason", "says"),
    [
        (None, Reason.BAD_JSON, "must be bytes"),
        (b"", Reason.BAD_JSON, "empty"),
        (b"{", Reason.BAD_JSON, "line 1"),
        (b'"\xff"', Reason.BAD_UTF8, "UTF-8"),
        (b"[]", Reason.BAD_MESSAGE, "no object"),
        (b'"sensor-mode"', Reason.BAD_MESSAGE, "no object"),
        (b"null", Reason.BAD_MESSAGE, "no object"),
        (b"{}", Reason.BAD_MESSAGE, "'mode' is missing"),
        (message(mode="other"), Reason.BAD_MESSAGE, "mode 'other' is unknown"),
        (message(mode=["alarm-mode"]), Reason.BAD_MESSAGE, "mode list is unknown"),
        (message(device_mac=None), Reason.BAD_MESSAGE, "'device_mac' is missing"),
        (message(connector=None), Reason.BAD_MESSAGE, "'connector' is missing"),
        (message(component=None), Reason.BAD_MESSAGE, "'component' is missing"),
        (message(payload=None), Reason.BAD_MESSAGE, "'payload' is missing"),
        (message(payload={"timestamp": TIME}), Reason.BAD_MESSAGE, "'data' is missing"),
        (message(payload={"data": "01"}), Reason.BAD_MESSAGE, "'timestamp' is missing"),
        (message(payload=[1]), Reason.BAD_MESSAGE, "no object"),
        (message(payload="text"), Reason.BAD_MESSAGE, "no object"),
        (message(connector=1), Reason.BAD_MESSAGE, "not all strings"),
        (message(device_mac=["x"]), Reason.BAD_MESSAGE, "not all strings"),
        (message(timestamp=1685027590), Reason.BAD_TIMESTAMP, "is a int"),
        (message(timestamp="now"), Reason.BAD_TIMESTAMP, "'now' is not ISO 8601"),
        (message(timestamp="0001-01-01T00:00:00+14:00"), Reason.BAD_TIMESTAMP, "years 1 to 9999"),
        (message(data=""), Reason.BAD_HEX, "empty"),
        (message(data="01 0"), Reason.BAD_HEX, "pairs of hex digits"),
        (message(data=[1, 2]), Reason.BAD_HEX, "is a list"),
        # Nested so deep that Python could not even print it.
        (message(data="?").replace(b'"?"', DEEP), Reason.BAD_HEX, "is a list"),
        (message(timestamp="?").replace(b'"?"', DEEP), Reason.BAD_TIMESTAMP, "is a list"),
        (message(mode="?").replace(b'"?"', DEEP), Reason.BAD_MESSAGE, "mode list"),
    ],
)
def test_every_refusal_has_its_reason(value: bytes | None, reason: Reason, says: str) -> None:
    with pytest.raises(RejectedError, match=says) as refused:
        parse_record(value)
    assert refused.value.reason is reason
    assert len(str(refused.value)) < 300


def test_the_crc_is_checked_only_where_it_is_asked_for() -> None:
    good = b"\1\2" + modbus_crc(b"\1\2").to_bytes(2, "little")
    bad = message(data="01 02 03 04")
    for check in (False, True):
        assert parse_record(message(data=good.hex()), check)[4] == good  # type: ignore[index]
    assert parse_record(bad)[4] == b"\1\2\3\4"  # type: ignore[index]
    with pytest.raises(RejectedError, match="01020304 are not its CRC") as refused:
        parse_record(bad, check_crc=True)
    assert refused.value.reason is Reason.BAD_CRC


RECORDS: list[Record] = [
    (b"k0", message()),
    (b"k1", message(connector="1", component="sensor-2")),  # as older controllers send it
    (b"k2", message(connector="J4", component="sensor-6", data="00 00 00 05")),
    (b"k3", message(data="01 02 03")),
    (b"k4", message(mode="alarm-mode")),
    (b"k5", message(mode="alarm-mode")),
    (b"k6", message(component="sensor-3")),
    (b"k7", message(device_mac="000000000000")),
    (b"k8", message(connector="J2")),
    (None, b"rubbish"),
]
REFUSED = [
    (b"k6", Reason.UNKNOWN_DEVICE),
    (b"k7", Reason.UNKNOWN_DEVICE),
    (b"k8", Reason.BAD_DATAPOINT),
    (None, Reason.BAD_JSON),
]
GROUPS = [
    (AIR, [b"\1\2", b"\1\2"], [10, 11], [b"k0", b"k1"]),
    (POWER, [b"\0\0\0\5"], [12], [b"k2"]),
    (AIR, [b"\1\2\3"], [10], [b"k3"]),
]


def as_rows(groups: list[FrameGroup]) -> list[Any]:
    return [(each.template, each.frames, each.device_ids, [key for key, _ in each.records]) for each in groups]


def test_frames_are_grouped_by_template_and_length() -> None:
    groups, rejected, passed_by = enrich(RECORDS, SNAPSHOT)
    assert as_rows(groups) == GROUPS
    assert {at for group in groups for at in group.micros} == {parse_timestamp(TIME)}
    assert [(record[0], reason) for record, reason, _ in rejected] == REFUSED
    assert [each.record for each in rejected] == RECORDS[6:]
    assert passed_by == {"alarm-mode": 2}


class Source:
    """A source as a worker has it: opened once, asked for each batch."""

    def __call__(self) -> Callable[[], Snapshot]:
        return lambda: SNAPSHOT


@pytest.mark.parametrize("from_side_input", [False, True])
def test_in_a_pipeline_by_source_and_by_side_input(from_side_input: bool) -> None:
    def groups_hold(elements: list[list[FrameGroup]]) -> None:
        (groups,) = elements
        assert as_rows(groups) == GROUPS

    def letters_hold(elements: list[list[DeadLetter]]) -> None:
        (letters,) = elements
        assert [(letter.key, letter.reason) for letter in letters] == REFUSED
        assert {(letter.step, letter.topic) for letter in letters} == {("Enrich", "raw")}

    before = [count() for count in COUNTS]
    with TestPipeline(runner="FnApiRunner") as pipeline:
        side = AsSingleton(pipeline | "Metadata" >> beam.Create([SNAPSHOT])) if from_side_input else None
        step = Enrich(None if side else Source(), "raw", side, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
        groups, letters = pipeline | beam.Create([RECORDS]) | step
        assert_that(groups, groups_hold, label="groups")
        assert_that(letters, letters_hold, label="letters")
    assert [count() - was for count, was in zip(COUNTS, before, strict=True)] == [4, 2, 2]


COUNTS = (
    metrics.CACHE_HITS._value.get,
    metrics.CACHE_MISSES._value.get,
    metrics.PASSED_BY.labels(mode="alarm-mode")._value.get,
)


def test_exactly_one_way_to_the_metadata() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Enrich(None, "raw")
