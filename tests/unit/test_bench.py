"""The benchmark's pure parts: the messages, the rate of a run, the figures, the publisher's packets, the report."""

import struct
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ceilings, figures, fleet, pipeline, publisher, report
from benchmarks.contender import Progress, Result, result_of, steady
from benchmarks.plain_consumer import EPOCH, Decoder
from faces2.io.copy_binary import to_copy_binary
from faces2.models.frame import Datapoint, build_frame
from faces2.models.metadata import PinKey, Sensor, Snapshot, Template
from faces2.transforms.decode import decode_groups
from faces2.transforms.enrich import enrich

AIR = Template(1, (Datapoint(1, "Temperature", 3, 2, "Int16", 2), Datapoint(2, "CO2", 7, 2, "UInt16")))
WATER = Template(
    3,
    (
        Datapoint(9, "Flow", 3, 4, "Float32"),
        Datapoint(11, "Pressure", 7, 2, "Uint16", 2),
        Datapoint(12, "Water temperature", 9, 1, "Int8"),
    ),
)
SNAPSHOT = Snapshot(
    1,
    {
        PinKey(fleet.MAC.format(1), 1, 1): Sensor(11, "air", AIR),
        PinKey(fleet.MAC.format(2), 2, 3): Sensor(12, "water", WATER),
    },
)
MICROS = 1_700_000_000_000_000


def test_every_frame_gives_the_rows_that_it_says() -> None:
    messages = list(fleet.messages(fleet.sources(SNAPSHOT), 0, 8000, MICROS))
    found = enrich([(message.key, message.value) for message in messages], SNAPSHOT)
    readings, short = decode_groups(found.groups)
    assert len(readings) == sum(message.rows for message in messages)
    assert [item.reason.value for item in found.rejected] == ["bad_hex", "unknown_device", "bad_json"] * 2
    assert [item.reason.value for item in short] == ["short_frame"] * 2
    keys = set(zip(readings.micros.tolist(), readings.device_id.tolist(), readings.datapoint_id.tolist(), strict=True))
    assert len(keys) == len(readings)


def test_a_stretch_of_the_messages_is_the_same_as_in_the_whole() -> None:
    sources = fleet.sources(SNAPSHOT)
    whole = list(fleet.messages(sources, 0, 2000, MICROS))
    assert list(fleet.messages(sources, 500, 2000, MICROS)) == whole[500:]


@pytest.mark.parametrize("template", [AIR, WATER])
@pytest.mark.parametrize("length", [4, 5, 8, 40])
def test_the_plain_consumer_decodes_as_the_pipeline_does(template: Template, length: int) -> None:
    points = template.datapoints
    frame = build_frame(points, {point.datapoint_id: -1.25 if point.encoding == "Float32" else 7 for point in points})
    frame = (frame + bytes(40))[:length]
    at = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    snapshot = Snapshot(1, {PinKey("aabbccddee01", 1, 1): Sensor(5, "sensor", template)})
    value = (
        b'{"mode":"sensor-mode","device_mac":"aabbccddee01","connector":"J1","component":"sensor-1","payload":'
        b'{"timestamp":"%b","data":"%b"}}' % (at.isoformat(" ").encode(), frame.hex().encode())
    )
    readings, _ = decode_groups(enrich([(None, value)], snapshot).groups)
    decoder = Decoder(points)
    values = decoder.values(frame)
    micros = (at.replace(tzinfo=None) - EPOCH).total_seconds() * 1e6
    assert dict(values) == dict(zip(readings.datapoint_id.tolist(), readings.value.tolist(), strict=True))
    assert to_copy_binary(readings)[19:-2] == decoder.copy_rows(round(micros), 5, values)


def test_the_plain_consumer_says_what_it_can_not_read() -> None:
    with pytest.raises(NotImplementedError, match="overlaps"):
        Decoder((Datapoint(1, "a", 3, 4, "Int32"), Datapoint(2, "b", 5, 2, "Int16")))


def test_text_and_binary_hold_the_same_rows() -> None:
    messages = fleet.messages(fleet.sources(SNAPSHOT), 0, 2, MICROS)
    readings, _ = decode_groups(enrich([(None, message.value) for message in messages], SNAPSHOT).groups)
    lines = [line.split("\t") for line in ceilings.to_copy_text(readings).decode().splitlines()]
    assert [int(line[2]) for line in lines] == readings.datapoint_id.tolist()
    assert [float(line[3]) for line in lines] == readings.value.tolist()
    assert round(datetime.fromisoformat(lines[0][0]).timestamp() * 1e6) == readings.micros[0]


def test_neither_the_start_nor_the_time_after_the_end_counts() -> None:
    steps = [(0, 0), (10, 1000), (11, 3000), (12, 4980), (19, 5000), (20, 5000)]
    progress = [Progress(at, done) for at, done in steps]
    assert steady(progress) == (3980, 2)
    assert result_of(progress, frames=2500, rows=5000) == Result(1990, 3980, 2)


@pytest.mark.parametrize("progress", [[Progress(0, 0)], [Progress(0, 0), Progress(1, 500)]])
def test_a_run_of_one_step_has_no_rate(progress: list[Progress]) -> None:
    with pytest.raises(ValueError, match="more frames"):
        steady(progress)


def test_percentiles_and_spreads() -> None:
    assert figures.percentiles([n / 1000 for n in range(1, 101)]) == {"p50_ms": 51, "p95_ms": 96, "p99_ms": 100}
    assert figures.percentiles([0.25]) == {"p50_ms": 250, "p95_ms": 250, "p99_ms": 250}
    assert figures.spread([3, 1, 2]) == {"median": 2, "min": 1, "max": 3}


def test_only_what_was_measured_is_compared() -> None:
    assert figures.ratios({"full": 30, "plain": 20}, {"full": 90}) == {"full/plain": 1.5}


def test_a_counter_is_summed_over_its_series() -> None:
    series = ('a_total{path="copy",b="1"} 3.0', 'a_total{path="upsert",b="1"} 4.0', "a_totals 9.0", "c_total 2.0")
    text = "\n".join(("# TYPE a counter", *series))
    assert pipeline.total(text, "a_total", {}) == 7
    assert pipeline.total(text, "a_total", {"path": "copy"}) == 3
    assert pipeline.total(text, "c_total", {}) == 2
    assert pipeline.total(text, "d_total", {}) == 0


@pytest.mark.parametrize(
    ("size", "encoded"), [(0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (16_384, "808001")]
)
def test_remaining_length(size: int, encoded: str) -> None:
    assert publisher.remaining_length(size).hex() == encoded


def test_publish_packet() -> None:
    packet = publisher.publish_packet(b"a/b", 258, b"{}")
    assert packet == b"\x32\x09" + struct.pack(">H", 3) + b"a/b" + b"\x01\x02" + b"{}"


def _report(**given: Any) -> report.Report:
    spread = {"median": 30_000, "min": 29_000, "max": 31_000}
    contender = {"name": "full", "what": "ours", "ours": True, "frames_per_s": spread, "rows_per_s": spread}
    return {
        "run": {"frames": 1000, "rows": 4000, "rounds": 3},
        "contenders": [contender],
        "ratios": {"full/plain": 1.25},
        "latency": [],
        "mqtt": [{"name": "bridge from a full queue", "messages_per_s": 12_000}],
        "memory": [],
        "failures": {},
    } | given


def test_markdown_has_a_table_for_what_was_measured_and_for_nothing_else() -> None:
    text = report.markdown(_report())
    assert "| full | ours | 30,000 (29,000 to 31,000) | 30,000 (29,000 to 31,000) |" in text
    assert "| full/plain | 1.25 |" in text
    assert "bridge from a full queue |  | 12,000 |" in text
    assert "memory" not in text
    assert "not measured" not in text
    assert "| sink | it broke |" in report.markdown(_report(failures={"sink": "it broke"}))


def test_the_chart_is_drawn(tmp_path: Path) -> None:
    report.write(_report(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"latest.json", "latest.md", "latest.svg"}
    assert "<svg" in (tmp_path / "latest.svg").read_text()


def test_timestamps_of_the_fleet_are_its_step_apart() -> None:
    readings, _ = decode_groups(
        enrich([(None, m.value) for m in fleet.messages(fleet.sources(SNAPSHOT), 0, 20, MICROS)], SNAPSHOT).groups
    )
    times = sorted(set(readings.micros.tolist()))
    assert times[0] == MICROS
    assert all(after - before == fleet.STEP_MICROS for before, after in pairwise(times))
