"""From an MQTT message to the Kafka record that carries it: a raw message, or a dead letter with its reason."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from faces2.models.dead_letter import DeadLetter, Reason, RejectedError
from faces2.models.messages import raw_message
from faces2.service.settings import KafkaSettings

STEP = "bridge"
CUT_BYTES = 64 * 1024

_MAC = re.compile(r"[^/]*/f2-([0-9a-f]{12})/")


@dataclass(frozen=True, slots=True)
class Record:
    """What is written to Kafka for one MQTT message; `reason` is set on dead letters."""

    topic: str
    key: bytes | None
    value: bytes
    headers: list[tuple[str, str | bytes | None]]
    reason: Reason | None = None


class Publish(NamedTuple):
    """An MQTT message as it came; a topic in bytes is one that is not UTF-8."""

    topic: str | bytes
    payload: bytes
    qos: int = 1
    retain: bool = False


def record_of(publish: Publish, received: datetime, kafka: KafkaSettings) -> Record:
    """The record of one MQTT message; never raises."""
    topic, payload, qos, retain = publish
    try:
        if isinstance(topic, bytes):
            raise RejectedError(Reason.BAD_UTF8, "the topic is not UTF-8")
        message = raw_message(topic, payload, qos, retain, received)
        return Record(kafka.raw_topic, message.device_mac.encode(), message.to_json(), [])
    except RejectedError as error:
        reason, detail = error.reason, str(error)
    except Exception as error:
        # Raising would stop the bridge, and Mosquitto would send it the same message again, for ever.
        reason, detail = Reason.BAD_MESSAGE, f"{type(error).__name__}: {error}"
    text = topic if isinstance(topic, str) else topic.decode("utf-8", "backslashreplace")
    mac = _MAC.match(text)
    key = mac[1].encode() if mac else None
    letter = DeadLetter(payload, key, reason, detail, STEP, text, received.isoformat())
    return Record(kafka.dead_letter_topic, key, payload, [*letter.headers()], reason)


def cut(record: Record, received: datetime, kafka: KafkaSettings) -> Record:
    """The dead letter for a record that Kafka refuses for its size: its first bytes, and how many there were."""
    detail = f"Kafka refuses {len(record.value)} bytes, cut to {CUT_BYTES}"
    letter = DeadLetter(
        record.value[:CUT_BYTES],
        record.key,
        Reason.TOO_LARGE,
        detail,
        STEP,
        _topic_header(record),
        received.isoformat(),
    )
    return Record(kafka.dead_letter_topic, record.key, record.value[:CUT_BYTES], [*letter.headers()], Reason.TOO_LARGE)


def _topic_header(record: Record) -> str:
    topic = dict(record.headers).get("topic", record.topic)
    return topic.decode("utf-8", "replace") if isinstance(topic, bytes) else str(topic)
