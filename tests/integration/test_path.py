"""The whole path: what a controller publishes ends as exactly its rows, or as a dead letter with its reason."""

import ssl
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
import requests
from helpers import (
    Controller,
    DeadLetters,
    Rows,
    Stack,
    certificate,
    example,
    now,
    payload,
    sensors_of,
    topic_of,
    wait_for,
)
from paho.mqtt.enums import CallbackAPIVersion

from faces2.models.dead_letter import Reason
from faces2.models.metadata import Snapshot
from faces2.service.settings import KafkaSettings, MqttSettings, PipelineSettings, load

pytestmark = pytest.mark.stack


def test_every_sensor_of_a_controller_ends_as_its_rows(controller: Controller, snapshot: Snapshot, rows: Rows) -> None:
    sensors = sensors_of(snapshot, controller.mac)
    assert len({pin.connector for pin, _ in sensors}) > 1
    at = now()
    for pin, sensor in sensors:
        assert controller.publish(topic_of(pin), payload(at, example(sensor)[0])) == 0
    for _, sensor in sensors:
        wait_for(lambda sensor=sensor: rows.at(sensor.device_id, at) == example(sensor)[1], sensor.name)


def test_the_documented_sample(controller: Controller, snapshot: Snapshot, rows: Rows) -> None:
    pin, sensor = next(
        (pin, sensor)
        for pin, sensor in sensors_of(snapshot, controller.mac)
        if {point.label for point in sensor.template.datapoints} >= {"Temperature", "Humidity", "CO2"}
    )
    sample = "01 03 0C 32 30 32 30 36 32 38 30 31 30 31 5B 18 28 01"
    at = now()
    controller.publish(topic_of(pin), payload(at, sample))
    values = wait_for(lambda: rows.at(sensor.device_id, at), "the sample's rows")
    labels = {point.label: values[point.datapoint_id] for point in sensor.template.datapoints}
    assert (labels["Temperature"], labels["Humidity"], labels["CO2"]) == (128.48, 128.48, 13874)


def test_older_controllers_number_their_connectors(controller: Controller, snapshot: Snapshot, rows: Rows) -> None:
    pin, sensor = sensors_of(snapshot, controller.mac)[0]
    at = now()
    data, values = example(sensor)
    controller.publish(topic_of(pin).replace("/J", "/"), payload(at, data.lower().replace(" ", "")))
    wait_for(lambda: rows.at(sensor.device_id, at) == values, "rows of connector 1")


def test_a_short_frame_spoils_only_what_it_lacks(
    controller: Controller, snapshot: Snapshot, rows: Rows, dead_letters: DeadLetters
) -> None:
    pin, sensor = max(sensors_of(snapshot, controller.mac), key=lambda item: len(item[1].template.datapoints))
    at = now()
    data, values = example(sensor)
    last = max(sensor.template.datapoints, key=lambda point: point.offset + point.length)
    short = data[: 3 * (last.offset + last.length - 1) - 1]
    controller.publish(topic_of(pin), payload(at, short))
    letter = dead_letters.find(Reason.SHORT_FRAME, short.encode())
    assert last.label in letter.headers["detail"]
    expected = {point.datapoint_id: values[point.datapoint_id] for point in sensor.template.datapoints if point != last}
    wait_for(lambda: rows.at(sensor.device_id, at) == expected, "the readings that fit")


@pytest.mark.parametrize(
    ("reason", "content"),
    [
        (Reason.BAD_HEX, payload(1_700_000_000_000_000, "01 03 zz")),
        (Reason.BAD_TIMESTAMP, {"timestamp": "yesterday", "data": "01"}),
        (Reason.BAD_MESSAGE, {"data": "010300"}),
        (Reason.BAD_MESSAGE, b'["no object"]'),
        (Reason.BAD_JSON, b"{rubbish"),
        (Reason.BAD_UTF8, b'{"data": "\xff\xfe"}'),
        (Reason.TOO_LARGE, b'{"data": "' + b"00" * (512 * 1024) + b'"}'),
    ],
)
def test_rubbish_is_a_dead_letter_with_its_reason(
    controller: Controller, snapshot: Snapshot, dead_letters: DeadLetters, reason: Reason, content: bytes
) -> None:
    pin, _ = sensors_of(snapshot, controller.mac)[0]
    controller.publish(topic_of(pin), content)
    part = content[:200] if isinstance(content, bytes) else b'"data"'
    letter = dead_letters.find(reason, part)
    assert letter.key == controller.mac.encode()


def test_a_foreign_topic_is_a_dead_letter(controller: Controller, dead_letters: DeadLetters) -> None:
    controller.publish(f"tele/f2-{controller.mac}/sensor-mode/J9/sensor-1", b'{"foreign": 1}')
    letter = dead_letters.find(Reason.FOREIGN_TOPIC, b'{"foreign": 1}')
    assert letter.headers["step"] == "bridge"


def test_an_unknown_controller_is_a_dead_letter(stack: Stack, tmp_path: Path, dead_letters: DeadLetters) -> None:
    stranger = Controller("0000000000aa", tmp_path)
    stranger.publish("tele/f2-0000000000aa/sensor-mode/J1/sensor-1", payload(now(), "010300"))
    stranger.close()
    letter = dead_letters.find(Reason.UNKNOWN_DEVICE, b"0000000000aa")
    assert "0000000000aa J1 sensor-1" in letter.headers["detail"]


def test_a_controller_can_not_speak_for_another(controller: Controller, snapshot: Snapshot, rows: Rows) -> None:
    pin, sensor = sensors_of(snapshot, "aabbccddee02")[0]
    at = now()
    not_authorized = 135
    assert controller.publish(topic_of(pin), payload(at, example(sensor)[0])) == not_authorized
    own_pin, own = sensors_of(snapshot, controller.mac)[0]
    controller.publish(topic_of(own_pin), payload(at, example(own)[0]))
    wait_for(lambda: rows.at(own.device_id, at), "the controller's own frame")
    assert rows.at(sensor.device_id, at) == {}


def test_without_a_certificate_nobody_connects(stack: Stack, tmp_path: Path) -> None:
    certificate("aabbccddee01", tmp_path)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "nobody", protocol=mqtt.MQTTv5)
    client.tls_set_context(ssl.create_default_context(cafile=str(tmp_path / "aabbccddee01.ca_cert")))
    connected: list[object] = []
    client.on_connect = lambda *_: connected.append(1)
    settings = load(MqttSettings)
    with pytest.raises((ssl.SSLError, OSError)):
        client.connect(settings.host, settings.tls_port)
        for _ in range(100):
            if client.loop(0.1) != mqtt.MQTT_ERR_SUCCESS:
                raise OSError("connection refused")
    assert not connected


def test_access_control_is_counted_and_passed_by(controller: Controller) -> None:
    def passed_by() -> float:
        text = requests.get(f"http://127.0.0.1:{load(PipelineSettings).pipeline_http_port}/metrics", timeout=5).text
        lines = [line for line in text.splitlines() if line.startswith("faces2_passed_by_total{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines if "access-control-mode" in line)

    before = passed_by()
    controller.publish(
        f"stat/f2-{controller.mac}/access-control-mode/J2/strike-1",
        {"timestamp": "2026-01-01 00:00:00", "status": True},
    )
    wait_for(lambda: passed_by() == before + 1, "the count of access-control messages")


def test_readings_are_published(controller: Controller, snapshot: Snapshot) -> None:
    from confluent_kafka import Consumer

    pin, sensor = sensors_of(snapshot, controller.mac)[0]
    settings = load(KafkaSettings)
    at = now()
    data, values = example(sensor)
    controller.publish(topic_of(pin), payload(at, data))
    consumer = Consumer(
        {"bootstrap.servers": settings.brokers, "group.id": f"test-{at}", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([settings.processed_topic])
    stamp = payload(at, "")["timestamp"].replace(" ", "T").encode()
    found: dict[bytes, bytes] = {}

    def look() -> bool:
        for message in consumer.consume(5000, 0.5):
            if stamp in message.value():
                found[message.key()] = message.value()
        return len(found) == len(values)

    wait_for(look, "the readings in processed-iot-data")
    consumer.close()
    assert set(found) == {f"{sensor.device_id}:{point}".encode() for point in values}
