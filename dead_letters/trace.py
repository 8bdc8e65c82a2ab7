"""The trace of replays, which the topic KAFKA_REPLAY_TOPIC keeps: what was put back, when, where to, by which run.

Two kinds of record. Of a letter replayed by hand: key `PARTITION:OFFSET`, value {"at", "run", "of", "topic", "hash"}.
Of a pin whose frames came in by themselves: key `aabbccddee01/1/2`, value {"at", "run", "of", "offsets": {"0": 17}}:
all its letters before these offsets were put back. `of` is the id of the dead letter topic: of one that was deleted
and made anew the offsets mean other letters.
"""

import re
from array import array
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError

from faces2.dead_letters.hashes import Hashes
from faces2.dead_letters.letter import Letter, content_of, pin_of
from faces2.dead_letters.origin import Outgoing, fingerprint
from faces2.io.kafka_topic import Topic, describe, read
from faces2.models.dead_letter import Reason
from faces2.models.metadata import PinKey
from faces2.service.settings import KafkaSettings

OFFSET_BITS = 48

_LETTER_KEY = re.compile(rb"(\d{1,4}):(\d{1,14})")
_PIN_KEY = re.compile(rb"([0-9a-f]{12})/([1-4])/([1-6])")


class Replayed(BaseModel):
    """Of a letter: when it was replayed, by which run, to which topic, and the hash of what was sent."""

    at: AwareDatetime
    run: str
    of: str
    topic: str
    hash: str = Field(pattern="^[0-9a-f]{16}$")


class Progress(BaseModel):
    """Of a pin: its letters of a partition before the offset were put back."""

    at: AwareDatetime
    run: str
    of: str
    offsets: dict[int, Annotated[int, Field(ge=0)]]


_VALUE: TypeAdapter[Replayed | Progress] = TypeAdapter(Replayed | Progress)


class Entry(NamedTuple):
    """A record of the trace."""

    key: bytes
    value: bytes


def letter_entry(letter: Letter, sent: Outgoing, of: str, run: str, now: datetime) -> Entry:
    """The trace of one letter."""
    known_by = f"{fingerprint(sent.key, sent.value):016x}"
    value = Replayed(at=now, run=run, of=of, topic=sent.topic, hash=known_by)
    return Entry(letter.id.encode(), value.model_dump_json().encode())


def pin_entry(pin: PinKey, offsets: Mapping[int, int], of: str, run: str, now: datetime) -> Entry:
    """The trace of a pin's progress."""
    value = Progress(at=now, run=run, of=of, offsets=dict(offsets))
    return Entry(b"%b/%d/%d" % (pin.mac.encode(), pin.connector, pin.position), value.model_dump_json().encode())


class Mark(NamedTuple):
    """A pin's progress, and when it was made."""

    offsets: dict[int, int]
    at: datetime


class Trace:
    """What was replayed of the dead letter topic with the id `of`: 24 bytes a letter, and a mark a pin."""

    def __init__(self, of: str) -> None:
        self.marks: dict[PinKey, Mark] = {}
        self.hashes = Hashes()
        self._of = of
        self._ids, self._seconds = array("Q"), array("d")
        self._sorted: tuple[Any, Any] | None = None

    def add(self, key: bytes | None, value: bytes | None) -> None:
        """Takes a record of the topic; what is no trace, or one of another dead letter topic, says nothing."""
        letter, pin = _LETTER_KEY.fullmatch(key or b""), _PIN_KEY.fullmatch(key or b"")
        try:
            entry = _VALUE.validate_json(value or b"")
        except ValidationError:
            return
        if entry.of != self._of:
            return
        if letter and isinstance(entry, Replayed):
            self._ids.append(_packed(int(letter[1]), int(letter[2])))
            self._seconds.append(entry.at.timestamp())
            self.hashes.add(int(entry.hash, 16))
            self._sorted = None
        elif pin and isinstance(entry, Progress):
            self._mark(PinKey(pin[1].decode(), int(pin[2]), int(pin[3])), entry)

    def _mark(self, pin: PinKey, progress: Progress) -> None:
        held = self.marks[pin].offsets if pin in self.marks else {}
        offsets = held | {part: max(offset, held.get(part, 0)) for part, offset in progress.offsets.items()}
        self.marks[pin] = Mark(offsets, progress.at)

    def replayed_at(self, letter: Letter) -> datetime | None:
        """When the letter was replayed; of one that came in by itself, when its pin last made progress."""
        if self._sorted is None:
            ids, seconds = np.array(self._ids, np.uint64), np.array(self._seconds)
            order = np.argsort(ids, kind="stable")
            self._sorted = ids[order], seconds[order]
        ids, seconds = self._sorted
        number = np.uint64(_packed(letter.partition, letter.offset))
        at = int(np.searchsorted(ids, number, side="right")) - 1  # the last of a letter's replays
        if at >= 0 and ids[at] == number:
            return datetime.fromtimestamp(float(seconds[at]), UTC)
        return self._came_in(letter)

    def _came_in(self, letter: Letter) -> datetime | None:
        if not self.marks or letter.reason != Reason.UNKNOWN_DEVICE:
            return None
        pin = pin_of(content_of(letter))
        mark = self.marks.get(pin) if pin else None
        return mark.at if mark and letter.offset < mark.offsets.get(letter.partition, 0) else None


def load_trace(settings: KafkaSettings, letters: Topic) -> Trace:
    """All that the trace topic says of the dead letter topic as it is now."""
    trace = Trace(letters.id)
    topic = describe(settings, settings.replay_topic)
    for messages in read(settings, topic.name, topic.held):
        for message in messages:
            trace.add(message.key(), message.value())
    return trace


def _packed(partition: int, offset: int) -> int:
    return partition << OFFSET_BITS | offset
