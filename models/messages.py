"""The messages between parts: raw-iot-data from the bridge, processed-iot-data from the pipeline."""

from datetime import datetime
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from faces2.models.dead_letter import Reason, RejectedError
from faces2.models.topic import BadTopicError, parse_topic

MAX_PAYLOAD_BYTES = 64 * 1024


class RawMessage(BaseModel):
    """One MQTT message as it stands in raw-iot-data, keyed by its MAC (source: domain.md)."""

    model_config = ConfigDict(frozen=True)

    timestamp: datetime = Field(description="when the bridge received it")
    topic: str
    topic_type: Literal["tele", "stat"]
    device_mac: str = Field(pattern="^[0-9a-f]{12}$")
    mode: Literal["sensor-mode", "access-control-mode", "alarm-mode"]
    connector: str = Field(pattern="^J?[1-4]$")
    component: str
    payload: dict[str, Any] = Field(description="as the controller sent it")
    qos: int = Field(ge=0, le=2)
    retain: bool

    def to_json(self) -> bytes:
        """The record's value."""
        return orjson.dumps(self.model_dump())


def raw_message(topic: str, payload: bytes, qos: int, retain: bool, received: datetime) -> RawMessage:
    """The raw message of an MQTT publish; RejectedError with its reason where it is not one of a controller's."""
    try:
        parts = parse_topic(topic)
    except BadTopicError as error:
        raise RejectedError(Reason.FOREIGN_TOPIC, str(error)) from None
    content = parse_payload(payload)
    return RawMessage.model_validate(
        {
            "timestamp": received,
            "topic": topic,
            "topic_type": parts.topic_type,
            "device_mac": parts.mac,
            "mode": parts.mode,
            "connector": parts.connector,
            "component": parts.component,
            "payload": content,
            "qos": qos,
            "retain": retain,
        }
    )


def parse_payload(payload: bytes) -> dict[str, Any]:
    """The JSON object that a controller sent; RejectedError for too large, not UTF-8, not JSON, not an object."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise RejectedError(Reason.TOO_LARGE, f"{len(payload)} bytes, {MAX_PAYLOAD_BYTES} are allowed")
    content = parse_json(payload)
    if not isinstance(content, dict):
        raise RejectedError(Reason.BAD_MESSAGE, f"the payload is a JSON {type(content).__name__}, not an object")
    return content


def parse_json(text: bytes | None) -> Any:
    """What the JSON says; RejectedError tells text that is not UTF-8 from text that is not JSON."""
    try:
        return orjson.loads(text)  # type: ignore[arg-type]  # None is refused like any other text that is no JSON
    except orjson.JSONDecodeError as error:
        detail = str(error)
    try:
        (text or b"").decode("utf-8")
    except UnicodeDecodeError:
        raise RejectedError(Reason.BAD_UTF8, detail) from None
    raise RejectedError(Reason.BAD_JSON, detail)


def reading_key(device_id: int, datapoint_id: int) -> bytes:
    """The key of a reading in processed-iot-data, by which the topic is compacted."""
    return b"%d:%d" % (device_id, datapoint_id)


class Reading(BaseModel):
    """One value of one datapoint of a sensor device, as it stands in processed-iot-data."""

    model_config = ConfigDict(frozen=True)

    device_id: int
    datapoint_id: int
    value: float
    timestamp: datetime
