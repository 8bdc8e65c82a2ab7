"""The message of an MQTT publish: domain.md's shape, or a refusal with its reason."""

from datetime import UTC, datetime

import orjson
import pytest

from faces2.models.dead_letter import Reason, RejectedError
from faces2.models.messages import MAX_PAYLOAD_BYTES, RawMessage, Reading, raw_message, reading_key

NOW = datetime(2023, 5, 25, 15, 13, 11, tzinfo=UTC)
TOPIC = "tele/f2-aabbccddee01/sensor-mode/J1/sensor-1"
PAYLOAD = {"timestamp": "2023-05-25 15:13:10.543400", "data": "01 03 0C"}


def test_the_record_is_the_one_of_the_existing_system() -> None:
    message = raw_message(TOPIC, orjson.dumps(PAYLOAD), 1, False, NOW)
    assert orjson.loads(message.to_json()) == {
        "timestamp": "2023-05-25T15:13:11+00:00",
        "topic": TOPIC,
        "topic_type": "tele",
        "device_mac": "aabbccddee01",
        "mode": "sensor-mode",
        "connector": "J1",
        "component": "sensor-1",
        "payload": PAYLOAD,
        "qos": 1,
        "retain": False,
    }
    assert RawMessage.model_validate_json(message.to_json()) == message


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("stat/f2-aabbccddee01/alarm-mode/2/siren-1", {"status": True}),
        ("tele/f2-aabbccddee01/access-control-mode/J4/reader-2", {"status": "ü" * 1023}),
        (TOPIC, {}),
        (TOPIC, {"data": "rubbish is the pipeline's to refuse"}),
    ],
)
def test_what_else_is_taken(topic: str, payload: dict[str, object]) -> None:
    assert raw_message(topic, orjson.dumps(payload), 0, True, NOW).payload == payload


@pytest.mark.parametrize(
    ("topic", "payload", "reason", "says"),
    [
        ("tele/f2-aabbccddee01/sensor-mode/J9/sensor-1", b"{}", Reason.FOREIGN_TOPIC, "J9"),
        ("cmnd/f2-aabbccddee01/sensor-mode/J1/sensor-1", b"{}", Reason.FOREIGN_TOPIC, "cmnd"),
        (TOPIC, b" " * (MAX_PAYLOAD_BYTES + 1), Reason.TOO_LARGE, "65537 bytes, 65536 are allowed"),
        (TOPIC, b'{"a": "\xff"}', Reason.BAD_UTF8, "UTF-8"),
        (TOPIC, b"", Reason.BAD_JSON, "empty"),
        (TOPIC, b'{"a": 1', Reason.BAD_JSON, "line 1"),
        (TOPIC, b'{"a": NaN}', Reason.BAD_JSON, "line 1"),
        (TOPIC, b"[1]", Reason.BAD_MESSAGE, "a JSON list, not an object"),
        (TOPIC, b"null", Reason.BAD_MESSAGE, "not an object"),
    ],
)
def test_every_refusal_has_its_reason(topic: str, payload: bytes, reason: Reason, says: str) -> None:
    with pytest.raises(RejectedError, match=says) as refused:
        raw_message(topic, payload, 1, False, NOW)
    assert refused.value.reason is reason


def test_a_payload_of_the_largest_size_is_taken() -> None:
    payload = b'{"status": "%b"}' % (b"x" * (MAX_PAYLOAD_BYTES - 14))
    assert len(payload) == MAX_PAYLOAD_BYTES
    assert raw_message(TOPIC, payload, 1, False, NOW).device_mac == "aabbccddee01"


def test_a_reading_is_the_one_of_the_existing_system() -> None:
    text = b'{"device_id": 5, "datapoint_id": 1, "value": 128.48, "timestamp": "2023-05-25T15:13:10.543400+00:00"}'
    moment = datetime(2023, 5, 25, 15, 13, 10, 543_400, UTC)
    assert Reading.model_validate_json(text) == Reading(device_id=5, datapoint_id=1, value=128.48, timestamp=moment)
    assert reading_key(5, 1) == b"5:1"
