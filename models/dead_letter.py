"""Dead letters: what could not be used, unchanged, with the reason from one closed list."""

from dataclasses import dataclass
from enum import StrEnum

VERSION = "1"


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


class RejectedError(ValueError):
    """A message is refused for `reason`; the text is the detail."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The original record and why it is here; `failed_at` is ISO 8601."""

    value: bytes
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
