"""A dead letter as it is read back from Kafka."""

import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message

from faces2.io.kafka_topic import place
from faces2.models.metadata import PinKey
from faces2.models.topic import SENSOR_MODE

_MAC = re.compile(r"[0-9a-f]{12}")
_TOPIC_MAC = re.compile(r"[^/]*/f2-([0-9a-f]{12})/")
_CONNECTORS = {name: number for number in range(1, 5) for name in (f"J{number}", str(number))}
_POSITIONS = {f"sensor-{position}": position for position in range(1, 7)}


class Letter(NamedTuple):
    """The original key and value, where the letter lies, and its headers (models.dead_letter.DeadLetter)."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]

    @property
    def id(self) -> str:
        """`PARTITION:OFFSET`."""
        return f"{self.partition}:{self.offset}"

    @property
    def reason(self) -> str:
        """Why it is here; empty where the header is missing, as in whatever else somebody wrote to the topic."""
        return self.headers.get("reason", "")

    @property
    def step(self) -> str:
        """The step that could not use it."""
        return self.headers.get("step", "")

    @property
    def topic(self) -> str:
        """Where it came from: a Kafka topic, or an MQTT topic on letters of the bridge."""
        return self.headers.get("topic", "")

    @property
    def failed_at(self) -> datetime | None:
        """When; None where the header is missing or no time."""
        try:
            moment = datetime.fromisoformat(self.headers.get("failed_at", ""))
        except ValueError:
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def letter_of(message: Message) -> Letter:
    """The letter that a record of the topic is."""
    headers: Any = message.headers() or ()
    return Letter(*place(message), message.key(), message.value(), {name: _text(value) for name, value in headers})


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def content_of(letter: Letter) -> dict[str, Any]:
    """The value's JSON object; empty where it is none."""
    try:
        content = orjson.loads(letter.value or b"")
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def mac_of(letter: Letter) -> str | None:
    """The controller that it is of: by its key, else by its MQTT topic, else by what the message says."""
    key = (letter.key or b"").decode("latin-1")
    if _MAC.fullmatch(key):
        return key
    if found := _TOPIC_MAC.match(letter.topic):
        return found[1]
    mac = content_of(letter).get("device_mac")
    return mac if isinstance(mac, str) and _MAC.fullmatch(mac) else None


def pin_of(content: dict[str, Any]) -> PinKey | None:
    """The pin that a raw message names as the pipeline reads it; None where no metadata could ever know it."""
    mac, connector, component = (content.get(name) for name in ("device_mac", "connector", "component"))
    if content.get("mode") != SENSOR_MODE or not (
        isinstance(mac, str) and isinstance(connector, str) and isinstance(component, str) and _MAC.fullmatch(mac)
    ):
        return None
    number, position = _CONNECTORS.get(connector), _POSITIONS.get(component)
    return PinKey(mac, number, position) if number and position else None
