"""Which controllers of the metadata have sent nothing for long: counted for the metrics, named in the log.

The bridge sees all messages. Each costs it an entry in a set, which a thread of its own empties now and then: what is
kept of a controller is 17 bytes in arrays, so that fleets of millions can be watched.
"""

import time
from collections.abc import Callable
from contextlib import closing

import numpy as np
import psycopg2
from numpy.typing import NDArray

from faces2.io.metadata import MetadataDatabase
from faces2.io.outage import Outage
from faces2.service.background import Background
from faces2.service.logs import get_logger
from faces2.service.metrics import CONTROLLERS, SILENT_CONTROLLERS

LOOK_SECONDS = 10.0
PAUSE_SECONDS = 5.0
NAMED = 20
"""Controllers that one look names in the log."""

log = get_logger(__name__)


class Silence:
    """When each controller was heard last. `heard` is for the thread that carries messages, the rest for another."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._looked = clock()
        self._fresh: set[bytes] = set()
        self._macs: NDArray[np.int64] = np.empty(0, np.int64)  # sorted
        self._last: NDArray[np.float64] = np.empty(0, np.float64)
        self._named: NDArray[np.bool_] = np.empty(0, np.bool_)

    def heard(self, mac: bytes) -> None:
        """A message came; `mac` is twelve hex digits."""
        self._fresh.add(mac)

    def expect(self, macs: NDArray[np.int64]) -> None:
        """These, sorted, are the controllers there are; new ones count as heard now."""
        places, known = self._find(macs)
        last, named = np.full(len(macs), self._clock()), np.zeros(len(macs), np.bool_)
        last[known], named[known] = self._last[places], self._named[places]
        self._macs, self._last, self._named = macs, last, named

    def look(self, listening: bool) -> tuple[int, list[str]]:
        """How many are silent, and which of them were not at the look before. Time in which nobody could hear them, as
        `listening` says, does not count."""
        now = self._clock()
        if not listening:
            self._last += now - self._looked
        self._looked = now
        # A set may grow while it is emptied one by one, not while it is walked through.
        fresh = np.array([int(self._fresh.pop(), 16) for _ in range(len(self._fresh))], np.int64)
        places, _ = self._find(fresh)
        self._last[places] = now
        silent = now - self._last > self._seconds
        new = self._macs[silent & ~self._named]
        self._named = silent
        return int(silent.sum()), [f"{mac:012x}" for mac in new.tolist()]

    def _find(self, macs: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The places of those of `macs` that are expected, and which of `macs` they are."""
        places = np.searchsorted(self._macs, macs)
        known = np.zeros(len(macs), np.bool_)
        inside = places < len(self._macs)
        known[inside] = self._macs[places[inside]] == macs[inside]
        return places[known], known


class SilenceWatch(Background):
    """The thread that looks; it goes on with the controllers it knows while PostgreSQL is away."""

    def __init__(self, silence: Silence, database: MetadataDatabase, listening: Callable[[], bool]) -> None:
        super().__init__("silence")
        self._silence = silence
        self._database = database
        self._listening = listening
        self._version: int | None = None

    def look(self) -> None:
        """Counts, and names those that fell silent."""
        silent, new = self._silence.look(self._listening())
        SILENT_CONTROLLERS.set(silent)
        for mac in new[:NAMED]:
            log.warning("a controller is silent", mac=mac)
        if len(new) > NAMED:
            log.warning("more controllers are silent", controllers=len(new) - NAMED)

    def _run(self) -> None:
        postgres = Outage("postgres", psycopg2.Error, PAUSE_SECONDS)
        with closing(self._database):
            while not self._stop.wait(LOOK_SECONDS):
                postgres.attempt(self._load)
                self.look()

    def _load(self) -> None:
        """The controllers, where the metadata has changed."""
        version = self._database.version()
        if version != self._version:
            macs = self._database.controllers()
            self._silence.expect(macs)
            CONTROLLERS.set(len(macs))
            self._version = version
