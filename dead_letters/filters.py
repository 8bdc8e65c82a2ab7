"""Which dead letters are meant: by reason, by device, by the time at which they failed."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from faces2.dead_letters.letter import Letter, content_of, mac_of
from faces2.models.mac import compact_mac
from faces2.models.topic import BadTopicError, parse_topic

_DEVICE = re.compile(r"(?:[^/]+/)?f2-([0-9A-Fa-f]{12})")


@dataclass(frozen=True)
class Device:
    """A controller; with `topic`, only what came on this MQTT topic (its connector written as J1)."""

    mac: str
    topic: str | None = None


@dataclass(frozen=True)
class Filter:
    """All that is set must hold; `since` <= failed_at < `until`."""

    reasons: frozenset[str] = frozenset()
    device: Device | None = None
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, letter: Letter) -> bool:
        """Whether the letter is meant."""
        if self.reasons and letter.reason not in self.reasons:
            return False
        return self._in_time(letter) and (self.device is None or _is_of(letter, self.device))

    def _in_time(self, letter: Letter) -> bool:
        if self.since is None and self.until is None:
            return True
        failed_at = letter.failed_at
        if failed_at is None:
            return False
        return (self.since is None or failed_at >= self.since) and (self.until is None or failed_at < self.until)


def parse_device(text: str) -> Device:
    """A MAC in any spelling, `f2-<mac>`, or a whole MQTT topic; ValueError says what is allowed."""
    try:
        parse_topic(text)
    except BadTopicError:
        found = _DEVICE.fullmatch(text.strip())
        return Device(compact_mac(found[1] if found else text))
    return Device(parse_topic(text).mac, _normal(text))


def parse_time(text: str) -> datetime:
    """ISO 8601, UTC where it names no zone; ValueError says what was given."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not ISO 8601, e.g. 2026-05-25 or 2026-05-25T15:13:10+02:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _is_of(letter: Letter, device: Device) -> bool:
    if mac_of(letter) != device.mac:
        return False
    if device.topic is None:
        return True
    said = content_of(letter).get("topic")
    return device.topic in (_normal(letter.topic), _normal(said if isinstance(said, str) else ""))


def _normal(topic: str) -> str:
    """Older controllers send `1` for `J1`."""
    return re.sub(r"/([1-4])/", r"/J\1/", topic, count=1)
