"""A stretch of a topic, as a user names its ends: by time, by how long ago, or by offsets. Pure.

`2026-05-25T15:00`, `2026-05-25 15:00+02:00` (UTC where no zone is given), `2h`, `2 hours ago`, `0:1500`, `0:15,1:17`.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

FORMS = "a time (ISO 8601, UTC), how long ago (90s, 30m, 2h, 7d) or offsets (partition:offset,…)"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w|sec|min|second|minute|hour|day|week)(?:s)?(?:\s+ago)?", re.IGNORECASE)
_OFFSET = re.compile(r"(\d+):(\d+)")


class StretchError(ValueError):
    """An end of a stretch can not be read; the text says what was given and what is allowed."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The records that Kafka has from this time on."""

    at: datetime

    @property
    def millis(self) -> int:
        """Milliseconds since 1970, as Kafka has them."""
        return int(self.at.timestamp() * 1000)

    def __str__(self) -> str:
        return self.at.isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class Offsets:
    """An offset for each partition that is meant; the others are left out of the stretch."""

    by_partition: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        return ",".join(f"{partition}:{offset}" for partition, offset in self.by_partition)


End = Moment | Offsets


def parse_end(text: str | None, now: datetime) -> End | None:
    """One end of a stretch, None where none is given; StretchError says what is allowed."""
    if text is None:
        return None
    text = text.strip()
    if ago := _AGO.fullmatch(text):
        seconds = float(ago[1]) * _SECONDS[ago[2][0].lower()]
        try:
            return Moment(now - timedelta(seconds=seconds))
        except OverflowError:
            raise StretchError(f"{text[:64]!r} is before the calendar begins") from None
    if all(_OFFSET.fullmatch(part.strip()) for part in text.split(",")):
        return _offsets(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise StretchError(f"{text[:64]!r} is not {FORMS}") from None
    return Moment(at if at.tzinfo else at.replace(tzinfo=UTC))


def _offsets(text: str) -> Offsets:
    pairs = [(int(partition), int(offset)) for partition, offset in _OFFSET.findall(text)]
    found = dict(pairs)
    if len(found) < len(pairs):
        raise StretchError(f"{text[:64]!r} names a partition twice")
    return Offsets(tuple(sorted(found.items())))
