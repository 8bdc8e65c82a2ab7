"""Killed parts come back by themselves, and nothing that was acknowledged is lost."""

import time
from pathlib import Path

import orjson
import pytest
from helpers import Rows, Stack, example, now, payload, topic_of, wait_for

from faces2.io.kafka import producer
from faces2.models.clock import from_micros
from faces2.models.metadata import Snapshot
from faces2.service.settings import KafkaSettings, load

pytestmark = pytest.mark.stack

FRAMES = 100_000


def test_pipeline_killed_in_the_middle_of_100_000_frames(stack: Stack, snapshot: Snapshot, rows: Rows) -> None:
    start = now() - 3600 * 1_000_000
    expected = produce(snapshot, start)
    stop = start + FRAMES
    wait_for(lambda: rows.count(start, stop) > expected // 10, "the first rows", 120)
    stack.kill("pipeline")
    assert rows.count(start, stop) < expected, "killed too late to show anything"
    wait_for(lambda: rows.count(start, stop) == expected, f"all {expected} rows", 180)
    distinct = rows.query(
        "SELECT DISTINCT device_id, datapoint_id, value FROM decoded_data WHERE timestamp >= %s AND timestamp < %s",
        from_micros(start),
        from_micros(stop),
    )
    sensors = list(snapshot.sensors.values())
    assert set(distinct) == {(s.device_id, point, value) for s in sensors for point, value in example(s)[1].items()}


def produce(snapshot: Snapshot, start: int) -> int:
    """FRAMES frames straight into Kafka, one a microsecond; how many rows they must give."""
    settings = load(KafkaSettings)
    client = producer(settings)
    pins = [(pin, sensor, example(sensor)[0]) for pin, sensor in snapshot.sensors.items()]
    expected = 0
    for number in range(FRAMES):
        pin, sensor, data = pins[number % len(pins)]
        expected += len(sensor.template.datapoints)
        message = {
            "timestamp": "2026-01-01T00:00:00+00:00",
            "topic": topic_of(pin),
            "topic_type": "tele",
            "device_mac": pin.mac,
            "mode": "sensor-mode",
            "connector": f"J{pin.connector}",
            "component": f"sensor-{pin.position}",
            "payload": payload(start + number, data),
            "qos": 1,
            "retain": False,
        }
        client.produce(settings.raw_topic, orjson.dumps(message), pin.mac)
    assert client.flush(60) == 0
    return expected


@pytest.mark.parametrize("part", ["bridge", "kafka", "mosquitto"])
def test_what_controllers_had_acknowledged_survives_the_kill_of(
    part: str, stack: Stack, rows: Rows, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.jsonl"
    simulator = stack.start("simulate", "--rate", "300", "--duration", "15", "--journal", str(journal))
    time.sleep(6)
    stack.kill(part)
    output, _ = simulator.communicate(timeout=120)
    assert simulator.returncode == 0, output
    frames = [orjson.loads(line) for line in journal.read_bytes().splitlines()]
    assert len(frames) > 2000
    wait_for(stack.ready, "all parts ready again", 90)
    rows.wait_for_all(frames)
