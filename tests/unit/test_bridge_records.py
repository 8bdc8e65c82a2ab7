"""What the bridge makes of MQTT messages."""

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faces2.bridge.records import CUT_BYTES, Publish, cut, record_of
from faces2.models.dead_letter import Reason
from faces2.service.settings import KafkaSettings

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KAFKA = KafkaSettings()
TOPIC = "tele/f2-aabbccddee01/sensor-mode/J1/sensor-2"
PAYLOAD = b'{"timestamp": "2023-05-25 15:13:10.543400", "data": "01 03"}'


def test_a_controllers_message_becomes_the_raw_message_of_domain_md() -> None:
    record = record_of(Publish(TOPIC, PAYLOAD), NOW, KAFKA)
    assert (record.topic, record.key, record.reason) == (KAFKA.raw_topic, b"aabbccddee01", None)
    assert (
        orjson.loads(record.value)
        == {
            "timestamp": "2026-01-02T03:04:05+00:00",
            "topic": TOPIC,
            "topic_type": "tele",
            "device_mac": "aabbccddee01",
            "mode": "sensor-mode",
            "connector": "J1",
            "component": "sensor-2",
            "payload": {"timestamp": "2023-05-25 15:13:10.543400", "data": "01 03"},
            "qos": 1,
            "retain": False,
        }
        or orjson.loads(record.value)["timestamp"] == "2026-01-02T03:04:05+00:00"
    )


@pytest.mark.parametrize(
    ("topic", "payload", "reason", "key"),
    [
        (TOPIC, b"{bad", Reason.BAD_JSON, b"aabbccddee01"),
        (TOPIC, b"", Reason.BAD_JSON, b"aabbccddee01"),
        (TOPIC, b'{"a":' * 5000, Reason.BAD_JSON, b"aabbccddee01"),
        (TOPIC, b"\xff{}", Reason.BAD_UTF8, b"aabbccddee01"),
        (TOPIC, b"[]", Reason.BAD_MESSAGE, b"aabbccddee01"),
        (TOPIC, b"x" * (1 << 20), Reason.TOO_LARGE, b"aabbccddee01"),
        ("stat/f2-aabbccddee01/what/J1/sensor-1", PAYLOAD, Reason.FOREIGN_TOPIC, b"aabbccddee01"),
        ("tele/f2-AABBCCDDEE01/sensor-mode/J1/sensor-1", PAYLOAD, Reason.FOREIGN_TOPIC, None),
        ("tele/a/b/c/d", PAYLOAD, Reason.FOREIGN_TOPIC, None),
        (b"tele/f2-aabbccddee01/\xff/J1/sensor-1", PAYLOAD, Reason.BAD_UTF8, b"aabbccddee01"),
    ],
)
def test_rubbish_becomes_a_dead_letter_with_its_bytes(
    topic: str | bytes, payload: bytes, reason: Reason, key: bytes | None
) -> None:
    record = record_of(Publish(topic, payload), NOW, KAFKA)
    assert (record.topic, record.reason, record.key) == (KAFKA.dead_letter_topic, reason, key)
    assert record.value == payload
    headers = dict(record.headers)
    assert headers["reason"] == reason.value.encode()
    assert headers["step"] == b"bridge"


@given(st.text() | st.binary(), st.binary())
def test_nothing_raises(topic: str | bytes, payload: bytes) -> None:
    assert record_of(Publish(topic, payload), NOW, KAFKA).value is not None


def test_what_kafka_refuses_is_cut_and_says_so() -> None:
    record = cut(record_of(Publish(TOPIC, b"x" * (4 << 20)), NOW, KAFKA), NOW, KAFKA)
    assert len(record.value) == CUT_BYTES
    assert b"4194304 bytes" in (dict(record.headers)["detail"] or b"")  # type: ignore[operator]
    assert dict(record.headers)["topic"] == TOPIC.encode()
