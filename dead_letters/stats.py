"""How many dead letters there are of each kind."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from faces2.dead_letters.letter import Letter, mac_of


class By(StrEnum):
    """What letters are counted by."""

    REASON = "reason"
    STEP = "step"
    TOPIC = "topic"
    DEVICE = "device"
    DAY = "day"


KEYS: dict[By, Callable[[Letter], str]] = {
    By.REASON: lambda letter: letter.reason,
    By.STEP: lambda letter: letter.step,
    By.TOPIC: lambda letter: letter.topic,
    By.DEVICE: lambda letter: mac_of(letter) or "",
    By.DAY: lambda letter: letter.headers.get("failed_at", "")[:10],
}


@dataclass
class Count:
    """Letters of a kind, how many of them were replayed, and when the first and the last failed."""

    letters: int = 0
    replayed: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def add(self, failed_at: datetime | None, replayed: bool) -> None:
        """One more letter."""
        self.letters += 1
        self.replayed += replayed
        if failed_at is not None:
            self.first = min(failed_at, self.first or failed_at)
            self.last = max(failed_at, self.last or failed_at)
