"""What controllers send: domain.md's payload and topics, and the journal's lines for it."""

from pathlib import Path

import orjson

from faces2.models.clock import parse_timestamp
from faces2.models.frame import Datapoint, crc_holds, decode, parse_hex
from faces2.models.metadata import PinKey, Sensor, Snapshot, Template
from faces2.models.topic import parse_topic
from faces2.simulator.journal import open_journal
from faces2.simulator.sources import (
    EventSource,
    SensorSource,
    controller_macs,
    controller_time,
    sensor_sources,
)

MAC = "aabbccddee01"
POINTS = (Datapoint(1, "Temperature", 3, 2, "Int16", 2), Datapoint(2, "Power", 5, 4, "Float32", 0))
SENSOR = Sensor(7, "T", Template(1, POINTS))
NOW = 1_685_027_590_543_400


def test_a_controllers_time_is_as_in_the_documented_sample() -> None:
    assert controller_time(NOW) == "2023-05-25 15:13:10.543400"
    assert controller_time(NOW // 1_000_000 * 1_000_000) == "2023-05-25 15:13:10.000000"


def test_a_frame_holds_what_the_journal_says(tmp_path: Path) -> None:
    source = SensorSource(PinKey(MAC, 2, 3), SENSOR, seed=1)
    message = source.next(NOW)
    payload = orjson.loads(message.payload)
    frame = parse_hex(payload["data"])
    assert message.topic == f"tele/f2-{MAC}/sensor-mode/J2/sensor-3"
    assert payload.keys() == {"timestamp", "data"}
    assert crc_holds(frame)
    journal = open_journal(tmp_path / "new" / "journal")
    journal.add(message)
    journal.flush()
    assert orjson.loads((tmp_path / "new" / "journal").read_bytes()) == {
        "topic": message.topic,
        "timestamp": parse_timestamp(payload["timestamp"]),
        "device_id": 7,
        "values": {str(point.datapoint_id): decode(frame, point) for point in POINTS},
    }


def test_timestamps_of_a_sensor_strictly_increase() -> None:
    source = SensorSource(PinKey(MAC, 1, 1), SENSOR, seed=1)
    stamps = [source.next(now).micros for now in (NOW, NOW, NOW - 5_000_000, NOW + 10)]
    assert stamps == [NOW, NOW + 1, NOW + 2, NOW + 10]


def test_events_are_a_twentieth_and_on_topics_of_ours(tmp_path: Path) -> None:
    source = EventSource(MAC, seed=1)
    events = [event for _ in range(10_000) if (event := source.maybe(NOW))]
    assert 400 < len(events) < 600
    assert {parse_topic(event.topic).mode for event in events} == {"access-control-mode", "alarm-mode"}
    assert {type(orjson.loads(event.payload)["status"]) for event in events} == {bool, str}
    journal = open_journal(tmp_path / "journal")
    journal.add(events[0])
    journal.flush()
    assert (tmp_path / "journal").read_bytes() == b""


def test_sensors_whose_template_makes_no_frame_are_left_out() -> None:
    bad = Template(2, (Datapoint(3, "x", 3, 2, "Float32"),))
    snapshot = Snapshot(
        1,
        {
            PinKey(MAC, 1, 1): SENSOR,
            PinKey(MAC, 1, 2): Sensor(8, "no datapoints", Template(3, ())),
            PinKey(MAC, 1, 3): Sensor(9, "wrong length", bad),
            PinKey("aabbccddee02", 1, 1): SENSOR,
        },
    )
    assert controller_macs(snapshot, 1) == [MAC]
    assert controller_macs(snapshot, 9) == [MAC, "aabbccddee02"]
    assert [len(sources) for sources in sensor_sources(snapshot, [MAC], 1).values()] == [1]
