"""The audit on the real stack: it is silent where all is there, and finds what we take away."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from helpers import RawTopic, Rows, Stack, example, faces2, now, own_topics, raw_record, sensors_of

from faces2.io.kafka import dead_letter_records, producer
from faces2.models.clock import from_micros
from faces2.models.dead_letter import Reason, Rejected, to_dead_letters
from faces2.models.metadata import PinKey, Sensor, Snapshot
from faces2.service.settings import KafkaSettings, load

pytestmark = pytest.mark.stack

FRAMES = 20
MAC = "aabbccddee01"

Audit = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def sensor(snapshot: Snapshot) -> tuple[PinKey, Sensor]:
    """The sensor with the most datapoints."""
    return max(sensors_of(snapshot, MAC), key=lambda item: len(item[1].template.datapoints))


@pytest.fixture
def audit(stack: Stack) -> Audit:
    """Exit status and JSON of `faces2 audit` for places of one partition."""

    def run(places: list[tuple[int, int]], *arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
        partition = places[0][0]
        since, until = f"{partition}:{places[0][1]}", f"{partition}:{places[-1][1] + 1}"
        given = ["--from", since, "--until", until, "--json", *(arguments or ["--wait", "60", "--strict"])]
        done = faces2(stack, "audit", *given, **environment)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


@pytest.fixture
def raw(stack: Stack) -> RawTopic:
    """The topic that the pipeline reads."""
    return RawTopic(load(KafkaSettings), load(KafkaSettings).raw_topic)


def frames(sensor: tuple[PinKey, Sensor], start: int, count: int = FRAMES) -> list[tuple[bytes, bytes]]:
    pin, device = sensor
    return [raw_record(pin, start + index, example(device)[0]) for index in range(count)]


def test_all_is_there(raw: RawTopic, sensor: tuple[PinKey, Sensor], audit: Audit) -> None:
    pin, device = sensor
    start, points = now(), device.template.datapoints
    short = example(device)[0][: 3 * (max(point.offset + point.length for point in points) - 1) - 1]
    fits = sum(3 * (point.offset + point.length) - 1 <= len(short) for point in points)
    strike = raw_record(pin, start, "")[1].replace(b"sensor-mode", b"access-control-mode")
    others = [
        raw_record(pin, start + 100, short),
        raw_record(pin, start + 101, "01 zz"),
        raw_record(pin._replace(position=6), start + 102, "01 03"),
        (pin.mac.encode(), b"{rubbish %d" % start),
        (pin.mac.encode(), None),
        (pin.mac.encode(), strike),
    ]
    status, found = audit(raw.send([*frames(sensor, start), *others]))
    assert status == 0, found
    assert found["frames"] == FRAMES + len(others)
    assert found["readings_found"] == FRAMES * len(points) + fits
    assert found["dead_letters"] == 5
    assert found["passed_by"] == {"access-control-mode": 1}
    assert found["lost"] == found["pending"] == 0


def test_a_deleted_row_and_a_wrong_value_are_found_and_named(
    raw: RawTopic, sensor: tuple[PinKey, Sensor], audit: Audit, rows: Rows, stack: Stack
) -> None:
    _, device = sensor
    start, point = now(), device.template.datapoints[0].datapoint_id
    places = raw.send(frames(sensor, start))
    assert audit(places)[0] == 0
    key = " WHERE timestamp = %s AND device_id = %s AND datapoint_id = %s RETURNING value"
    deleted = rows.query("DELETE FROM decoded_data" + key, from_micros(start + 3), device.device_id, point)
    rows.query("UPDATE decoded_data SET value = 4711" + key, from_micros(start + 5), device.device_id, point)
    status, found = audit(places)
    assert status == 1
    assert (found["readings_missing"], found["readings_different"], found["lost"]) == (1, 1, 2)
    assert found["readings_found"] == FRAMES * len(device.template.datapoints) - 2
    missing, different = found["named"]
    assert (missing["partition"], missing["offset"], missing["mac"]) == (*places[3], MAC)
    assert missing["what"] == f"device {device.device_id}: no row of datapoint {point}"
    assert (different["partition"], different["offset"]) == places[5]
    assert different["what"].endswith(f"is 4711.0, not {deleted[0][0]!r}")
    said = faces2(stack, "audit", "--from", "5m")
    assert said.returncode == 1
    assert f"{places[3][0]}:{places[3][1]} {MAC}" in said.stdout


def test_a_lost_frame_is_found(raw: RawTopic, sensor: tuple[PinKey, Sensor], audit: Audit, rows: Rows) -> None:
    start, device = now(), sensor[1]
    places = raw.send(frames(sensor, start))
    assert audit(places)[0] == 0
    query = "DELETE FROM decoded_data WHERE timestamp = %s AND device_id = %s RETURNING 1"
    gone = rows.query(query, from_micros(start), device.device_id)
    status, found = audit(places)
    assert (status, found["readings_missing"], len(found["named"])) == (1, len(gone), 1)


def test_a_bad_frame_without_its_dead_letter_is_found(
    stack: Stack, sensor: tuple[PinKey, Sensor], audit: Audit
) -> None:
    settings = own_topics(load(KafkaSettings), f"audit-{now()}")
    record = raw_record(sensor[0], now(), "no hex")
    places = RawTopic(load(KafkaSettings), settings["KAFKA_RAW_TOPIC"]).send([record])
    status, found = audit(places, "--strict", **settings)
    assert (status, found["dead_letters_missing"], found["dead_letters"]) == (1, 1, 0)
    assert found["named"][0]["what"] == "not in the dead letters (bad_hex)"
    assert "has committed no offset" in found["notes"][0]
    sender = producer(load(KafkaSettings))
    letters = to_dead_letters([Rejected(record, Reason.BAD_HEX, "")], "Enrich", "raw", from_micros(now()))
    for key, value, headers in dead_letter_records(letters):
        sender.produce(settings["KAFKA_DEAD_LETTER_TOPIC"], value, key, headers=headers)
    assert sender.flush(30) == 0
    status, found = audit(places, "--strict", **settings)
    assert (status, found["dead_letters_missing"], found["dead_letters"]) == (0, 0, 1)


def test_two_values_for_one_key_are_no_error(raw: RawTopic, sensor: tuple[PinKey, Sensor], audit: Audit) -> None:
    pin, device = sensor
    data, start = example(device)[0], now()
    first = device.template.datapoints[0]
    other = data[: 3 * first.offset] + " ".join(["01"] * first.length) + data[3 * (first.offset + first.length) - 1 :]
    assert other != data
    places = raw.send([raw_record(pin, start, data), raw_record(pin, start, other), raw_record(pin, start, data)])
    status, found = audit(places)
    assert (status, found["readings_found"]) == (0, 3 * len(device.template.datapoints))


def test_what_the_pipeline_has_not_read_is_not_missing(
    stack: Stack, sensor: tuple[PinKey, Sensor], audit: Audit
) -> None:
    settings = own_topics(load(KafkaSettings), f"pending-{now()}")
    places = RawTopic(load(KafkaSettings), settings["KAFKA_RAW_TOPIC"]).send(frames(sensor, now()))
    group = f"pending-{now()}"
    consumer = Consumer({"bootstrap.servers": load(KafkaSettings).brokers, "group.id": group})
    consumer.commit(offsets=[TopicPartition(settings["KAFKA_RAW_TOPIC"], *places[0])], asynchronous=False)
    consumer.close()
    settings["KAFKA_GROUP_ID"] = group
    status, found = audit(places, "--wait", "1", **settings)
    assert (status, found["pending"], found["frames"], found["lost"]) == (0, FRAMES, 0, 0)
    assert audit(places, "--strict", **settings)[0] == 1


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        ((), {"KAFKA_BROKERS": "127.0.0.1:1"}, "Kafka: "),
        ((), {"TIMESCALE_PORT": "1"}, "database: connection to server"),
        ((), {"POSTGRES_PORT": "1"}, "database: connection to server"),
        ((), {"KAFKA_RAW_TOPIC": "there-is-none"}, "Kafka: "),
        (("--from", "noon"), {}, "'noon' is not a time"),
    ],
)
def test_what_can_not_be_done_is_a_sentence(
    stack: Stack, arguments: tuple[str, ...], settings: dict[str, str], said: str
) -> None:
    done = faces2(stack, "audit", *arguments, **settings)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("faces2: The audit could not be done: ")
    assert said in line
