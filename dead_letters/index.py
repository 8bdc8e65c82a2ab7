"""Which frames wait for which pin: a count and first offsets a pin, nothing a frame."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from faces2.dead_letters.letter import Letter, content_of, pin_of
from faces2.models.dead_letter import Reason
from faces2.models.metadata import PinKey


class Skip(StrEnum):
    """Why a dead letter does not wait; each has its own count in the metric faces2_waiting_skipped_total."""

    OTHER_REASON = "other_reason"
    OTHER_TOPIC = "other_topic"
    NO_PIN = "no_pin"
    REPLAYED = "replayed"
    TOO_LARGE = "too_large"


def waits_for(letter: Letter, raw_topic: str) -> PinKey | Skip:
    """The pin that the letter's frame waits for, or why it waits for none."""
    if letter.reason != Reason.UNKNOWN_DEVICE:
        return Skip.OTHER_REASON
    if letter.topic != raw_topic:
        return Skip.OTHER_TOPIC
    return pin_of(content_of(letter)) or Skip.NO_PIN


@dataclass(slots=True)
class _Pin:
    frames: int = 0
    first: dict[int, int] = field(default_factory=dict)
    """By partition, the offset of the first letter that waits."""


class Index:
    """The pins that frames wait for. Letters come in the order of their partition; `marks` are the offsets before which
    a pin's letters were replayed."""

    def __init__(self, marks: Mapping[PinKey, Mapping[int, int]]) -> None:
        self.frames = 0
        self._marks = {pin: dict(offsets) for pin, offsets in marks.items()}
        self._pins: dict[PinKey, _Pin] = {}

    @property
    def pins(self) -> Collection[PinKey]:
        """Those that frames wait for."""
        return self._pins.keys()

    def add(self, pin: PinKey, partition: int, offset: int) -> bool:
        """Takes one more letter; False if it was replayed already."""
        if offset < self._marks.get(pin, {}).get(partition, 0):
            return False
        waiting = self._pins.get(pin)
        if waiting is None:
            waiting = self._pins[pin] = _Pin()
        waiting.frames += 1
        waiting.first.setdefault(partition, offset)
        self.frames += 1
        return True

    def waits(self, pin: PinKey, partition: int, offset: int) -> bool:
        """Whether this letter of the pin was taken and not replayed yet."""
        waiting = self._pins.get(pin)
        return waiting is not None and offset >= waiting.first.get(partition, offset + 1)

    def firsts(self, pins: Iterable[PinKey]) -> dict[int, int]:
        """For each partition in which letters of these pins wait, the offset of the first."""
        found: dict[int, int] = {}
        for pin in pins:
            for partition, offset in self._pins[pin].first.items():
                found[partition] = min(offset, found.get(partition, offset))
        return found

    def mark(self, pin: PinKey, offsets: Mapping[int, int]) -> dict[int, int]:
        """The pin's letters before these offsets were replayed; gives all its marks."""
        marks = self._marks.setdefault(pin, {})
        marks.update(offsets)
        return marks

    def clear(self, pins: Iterable[PinKey]) -> None:
        """All letters of these pins that were taken are replayed."""
        for pin in pins:
            self.frames -= self._pins.pop(pin).frames
