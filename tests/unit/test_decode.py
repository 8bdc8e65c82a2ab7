"""Decode: the columns give what the plain codec gives, bit for bit, and refuse what it refuses."""

import math
import struct
from datetime import UTC, datetime

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from faces2.models.batches import FrameGroup, Readings
from faces2.models.dead_letter import DeadLetter, Reason, Record, Rejected
from faces2.models.frame import Datapoint, FrameError, decode
from faces2.models.metadata import Template
from faces2.transforms.decode import Decode, decode_group, decode_groups

Row = tuple[int, int, int, str, Record]


def group_of(template: Template, frames: list[bytes], first: int = 0) -> FrameGroup:
    rows = range(first, first + len(frames))
    records: list[Record] = [(b"mac", b"%d" % row) for row in rows]
    return FrameGroup(template, frames, [100 + row for row in rows], [10**15 + row for row in rows], records)


def rows_of(readings: Readings) -> list[Row]:
    """Values as their bits, so that -0.0 is not 0.0."""
    columns = (readings.micros, readings.device_id, readings.datapoint_id, readings.value)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    sources = [readings.records[i] for i in readings.source]
    return [(at, device, point, value.hex(), sources[i]) for i, (at, device, point, value) in enumerate(rows)]


def plain(group: FrameGroup) -> tuple[list[Row], dict[Record, set[str]]]:
    """The rows and, by record, the labels that fail, one datapoint of one frame at a time."""
    rows: list[Row] = []
    failed: dict[Record, set[str]] = {}
    for frame, device, at, record in zip(group.frames, group.device_ids, group.micros, group.records, strict=True):
        for datapoint in group.template.datapoints:
            try:
                rows.append((at, device, datapoint.datapoint_id, decode(frame, datapoint).hex(), record))
            except FrameError:
                failed.setdefault(record, set()).add(datapoint.label)
    return rows, failed


def labels(rejected: list[Rejected], template: Template) -> dict[Record, set[str]]:
    return {
        each.record: {point.label for point in template.datapoints if f"{point.label}:" in each.detail}
        for each in rejected
    }


encodings = st.builds(
    "{}{}".format,
    st.sampled_from(["Int8", "UInt8", "Int16", "Uint16", "UInt24", "Int32", "UInt32", "int48", "Int64", "UInt64"])
    | st.sampled_from(["Float32", "Float64"]),
    st.sampled_from(["", "BE", "LE", " le"]),
)


@st.composite
def templates(draw: st.DrawFn) -> Template:
    points = []
    for number in range(draw(st.integers(1, 6))):
        encoding = draw(encodings)
        length = {"Float32": 4, "Float64": 8}.get(encoding[:7]) or draw(st.integers(1, 8))
        offset, decimals = draw(st.integers(0, 12)), draw(st.integers(-18, 18))
        points.append(Datapoint(number, f"label-{number}", offset, length, encoding, decimals))
    return Template(1, tuple(points))


@settings(max_examples=300)
@given(templates(), st.integers(1, 20), st.data())
def test_columns_equal_the_plain_codec(template: Template, size: int, data: st.DataObject) -> None:
    frames = data.draw(st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=5))
    group = group_of(template, frames)
    readings, rejected = decode_group(group)
    expected, failed = plain(group)
    assert rows_of(readings) == expected
    assert labels(rejected, template) == failed


@given(st.lists(templates(), min_size=1, max_size=4), st.data())
def test_groups_keep_their_order_and_their_records(kinds: list[Template], data: st.DataObject) -> None:
    groups = []
    for number, template in enumerate(kinds):
        size = data.draw(st.integers(1, 20))
        frames = data.draw(st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=3))
        groups.append(group_of(template, frames, 10 * number))
    readings, rejected = decode_groups(groups)
    assert rows_of(readings) == [row for group in groups for row in plain(group)[0]]
    assert [each.record for each in rejected] == [record for group in groups for record in plain(group)[1]]


def point(number: int, offset: int, encoding: str = "UInt16", length: int = 2, decimals: int = 0) -> Datapoint:
    return Datapoint(number, f"label-{number}", offset, length, encoding, decimals)


NAN, INF = struct.pack(">f", math.nan), struct.pack(">f", -math.inf)


@pytest.mark.parametrize(
    ("points", "frame", "values", "reason", "detail"),
    [
        ([point(1, 0), point(2, 2)], b"\0\1\0\2", {1: 1.0, 2: 2.0}, None, ""),
        ([point(1, 0), point(2, 2)], b"\0\1\0", {1: 1.0}, Reason.SHORT_FRAME, "label-2: outside 3 bytes"),
        (
            [point(1, 4), point(2, 2)],
            b"\0",
            {},
            Reason.SHORT_FRAME,
            "label-1: outside 1 bytes; label-2: outside 1 bytes",
        ),
        ([point(1, 0, "Float32", 4), point(2, 0)], NAN, {2: 0x7FC0}, Reason.BAD_DATAPOINT, "label-1: not finite"),
        ([point(1, 0, "Float32", 4), point(2, 2)], INF, {2: 0.0}, Reason.BAD_DATAPOINT, "label-1: not finite"),
        ([point(1, 0, "Text"), point(2, 0)], b"\0\1", {2: 1.0}, Reason.BAD_DATAPOINT, "encoding 'Text' is unknown"),
        ([point(1, 0, "Float32", 2), point(2, 0)], b"\0\1", {2: 1.0}, Reason.BAD_DATAPOINT, "is not 2 bytes long"),
        ([point(1, 0, decimals=999), point(2, 0)], b"\0\1", {2: 1.0}, Reason.BAD_DATAPOINT, "decimals 999"),
        ([point(1, -1), point(2, 0)], b"\0\1", {2: 1.0}, Reason.BAD_DATAPOINT, "negative"),
        ([point(1, 9), point(2, 0, "Text")], b"\0", {}, Reason.SHORT_FRAME, "label-1: outside 1 bytes; encoding"),
    ],
)
def test_a_bad_datapoint_spoils_only_itself(
    points: list[Datapoint], frame: bytes, values: dict[int, float], reason: Reason | None, detail: str
) -> None:
    group = group_of(Template(1, tuple(points)), [frame])
    readings, rejected = decode_group(group)
    assert dict(zip(readings.datapoint_id.tolist(), readings.value.tolist(), strict=True)) == values
    assert [(each.record, each.reason) for each in rejected] == ([(group.records[0], reason)] if reason else [])
    assert all(detail in each.detail for each in rejected)


def test_only_the_frame_with_the_bad_value_is_rejected() -> None:
    group = group_of(Template(1, (point(1, 0, "Float32", 4),)), [struct.pack(">f", 1.5), NAN, struct.pack(">f", 2.5)])
    readings, rejected = decode_group(group)
    assert readings.value.tolist() == [1.5, 2.5]
    assert readings.device_id.tolist() == [100, 102]
    assert [each.record for each in rejected] == [group.records[1]]


def test_in_a_pipeline() -> None:
    template = Template(1, (point(1, 0), point(2, 2)))
    groups = [group_of(template, [b"\0\1\0\2"] * 3), group_of(template, [b"\0\1"], 3)]

    def readings_hold(elements: list[Readings]) -> None:
        (readings,) = elements
        assert readings.value.tolist() == [1, 2] * 3 + [1]
        assert readings.value.dtype == np.float64

    def letters_hold(elements: list[list[DeadLetter]]) -> None:
        ((letter,),) = elements
        assert (letter.key, letter.value, letter.reason) == (b"mac", b"3", Reason.SHORT_FRAME)
        assert (letter.step, letter.topic, letter.failed_at) == ("Decode", "raw", "2026-01-01T00:00:00+00:00")

    with TestPipeline(runner="FnApiRunner") as pipeline:
        readings, letters = (
            pipeline | beam.Create([groups], reshuffle=False) | Decode("raw", lambda: datetime(2026, 1, 1, tzinfo=UTC))
        )
        assert_that(readings, readings_hold, label="readings")
        assert_that(letters, letters_hold, label="letters")
