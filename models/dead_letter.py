"""Dead letters: what could not be used, unchanged, with the reason from one closed list."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

VERSION = "1"

DEAD = "dead"
"""The tagged output on which a step hands over its dead letters."""

Record = tuple[bytes | None, bytes | None]
"""Key and value of a Kafka record, either of which may be missing."""


class Reason(StrEnum):
    """Why something became a dead letter; each has its own count in the metric faces2_dead_letters_total."""

    TOO_LARGE = "too_large"
    BAD_UTF8 = "bad_utf8"
    BAD_JSON = "bad_json"
    BAD_MESSAGE = "bad_message"
    FOREIGN_TOPIC = "foreign_topic"
    BAD_TIMESTAMP = "bad_timestamp"
    BAD_HEX = "bad_hex"
    BAD_CRC = "bad_crc"
    SHORT_FRAME = "short_frame"
    BAD_DATAPOINT = "bad_datapoint"
    UNKNOWN_DEVICE = "unknown_device"
    REJECTED_ROW = "rejected_row"
    INTERNAL_ERROR = "internal_error"


class RejectedError(ValueError):
    """A message is refused for `reason`; the text is the detail."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The original record and why it is here; `failed_at` is ISO 8601."""

    value: bytes | None
    key: bytes | None
    reason: Reason
    detail: str
    step: str
    topic: str
    failed_at: str

    def headers(self) -> list[tuple[str, bytes]]:
        """The Kafka headers that go with the value."""
        texts = {
            "reason": self.reason.value,
            "detail": self.detail,
            "step": self.step,
            "topic": self.topic,
            "failed_at": self.failed_at,
            "version": VERSION,
        }
        return [(name, text.encode("utf-8", "backslashreplace")) for name, text in texts.items()]


class Rejected(NamedTuple):
    """A record that a step could not use, and why."""

    record: Record
    reason: Reason
    detail: str


def to_dead_letters(rejected: Iterable[Rejected], step: str, topic: str, now: datetime) -> list[DeadLetter]:
    """The dead letters of a step for records of `topic`."""
    failed_at = now.isoformat()
    return [DeadLetter(value, key, reason, detail, step, topic, failed_at) for (key, value), reason, detail in rejected]
