"""Whether a job moves: its completed checkpoints grow. They do only when all that it is made of does its work."""

import time
from collections.abc import Callable


class Progress:
    """Patient for `first` seconds until a job's first checkpoint, and for `later` between any two."""

    def __init__(self, first: float, later: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = first
        self._later = later
        self._clock = clock
        self._moved = clock()
        self._completed = 0

    def note(self, completed: int | None) -> None:
        """What the job says now; None when it can not be asked."""
        if completed not in (None, self._completed):
            self._completed, self._patience = completed, self._later
            self.excuse()

    @property
    def late(self) -> bool:
        """Whether it stands still for so long that one may ask why."""
        return self._clock() - self._moved > self._patience / 4

    @property
    def stalled(self) -> bool:
        """Whether it stands still for too long."""
        return self._clock() - self._moved > self._patience

    def excuse(self) -> None:
        """Begins to wait anew."""
        self._moved = self._clock()
