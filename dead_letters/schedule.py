"""When a pin's frames are replayed: some seconds after it is known, and ever later if they come back all the same."""

from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass

from faces2.models.metadata import PinKey

SETTLE_SECONDS = 4.0
"""A worker of the pipeline learns of a change within two seconds; its next batch uses it."""
MOST_SECONDS = 600.0


@dataclass(slots=True)
class _Turn:
    at: float
    pause: float


class Schedule:
    """Tells which pins are due. Each replay doubles the pause before the pin's next one; a pin of which nothing came
    back for as long as its pause, or that is not known any more, begins anew."""

    def __init__(self) -> None:
        self._turns: dict[PinKey, _Turn] = {}

    def due(self, waiting: Collection[PinKey], known: Container[PinKey], now: float) -> frozenset[PinKey]:
        """Of the pins that frames wait for, those that are known and whose turn it is."""
        self._turns = {
            pin: turn
            for pin, turn in self._turns.items()
            if (pin in known if pin in waiting else now < turn.at + turn.pause)
        }
        here = [pin for pin in waiting if pin in known]
        for pin in here:
            self._turns.setdefault(pin, _Turn(now + SETTLE_SECONDS, SETTLE_SECONDS))
        return frozenset(pin for pin in here if self._turns[pin].at <= now)

    def replayed(self, pins: Iterable[PinKey], now: float) -> None:
        """The pins had their turn."""
        for pin in pins:
            pause = min(2 * self._turns[pin].pause, MOST_SECONDS)
            self._turns[pin] = _Turn(now + pause, pause)
