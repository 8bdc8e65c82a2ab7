"""Watches the stack during the faults: when it has recovered from each, and that the supervisor gives up on no part."""

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from faces2.io import timescale
from faces2.models.clock import from_micros
from faces2.models.metadata import Snapshot
from faces2.service.settings import TimescaleSettings, load
from faces2.stack.supervisor import Supervisor
from tests.faults.sequence import Step

LOOK_SECONDS = 0.25
STALE_SECONDS = 5.0
"""A sensor whose newest row is older does not flow."""
NEWEST = """
SELECT device_id, max(timestamp) FROM decoded_data
WHERE timestamp > %s AND timestamp < now() + interval '1 s' AND device_id = ANY(%s) GROUP BY device_id
"""


@dataclass(eq=False)
class Injection:
    """One fault as it was injected; times are seconds since 1970."""

    step: Step
    began: float
    ended: float | None = None
    recovered: float | None = None
    flowing: float | None = None
    """Since when rows of all sensors flow."""
    skipped: str | None = None
    """Why it could not be injected."""
    machine: float = field(default_factory=lambda: os.getloadavg()[0])
    """How many processes wanted to run in the minute before: with more than there are cores, all is slower."""

    @property
    def recovery(self) -> float | None:
        """Seconds from its end until every sensor had a row that was sent after it, and from then on new ones."""
        return None if self.recovered is None or self.ended is None else self.recovered - self.ended

    @property
    def over(self) -> bool:
        """Nothing more is to be waited for."""
        return self.skipped is not None or self.recovered is not None


class Watch:
    """A thread that looks at the table and at the supervisor."""

    def __init__(self, supervisor: Supervisor, snapshot: Snapshot, hold: float) -> None:
        """A fault that is alone has been recovered from when rows flow for `hold` seconds: some show their effect late,
        as a JobManager that is gone while its tasks still run."""
        self._supervisor = supervisor
        self._hold = hold
        self._devices = sorted(sensor.device_id for sensor in snapshot.sensors.values())
        self._waiting: list[Injection] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._connection: Any = None
        self._starts: dict[str, set[int]] = {}
        self.given_up: set[str] = set()
        """Parts that were FATAL: the supervisor does not start them any more."""
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def expect(self, injection: Injection) -> None:
        """It is over: from now on its recovery is looked for."""
        with self._lock:
            self._waiting.append(injection)

    def starts(self) -> dict[str, int]:
        """How often each part was started."""
        return {part: len(times) for part, times in sorted(self._starts.items())}

    def close(self) -> None:
        """Looks no more."""
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            for part, state in self._supervisor.states().items():
                if state.pid:
                    self._starts.setdefault(part, set()).add(state.started)
                if state.name == "FATAL":
                    self.given_up.add(part)
            with self._lock:
                waiting = list(self._waiting)
            if waiting:
                try:
                    self._look(waiting)
                except psycopg2.Error:  # the database is away: nothing flows
                    self._note(waiting, 0.0)
                    self._forget()
        self._forget()

    def _look(self, waiting: list[Injection]) -> None:
        if self._connection is None:
            self._connection = timescale.connect(load(TimescaleSettings))
            self._connection.autocommit = True
        since = min(injection.ended or 0 for injection in waiting)
        with self._connection.cursor() as cursor:
            cursor.execute(NEWEST, (from_micros(int(since * 1e6)), self._devices))
            newest = {device: at.timestamp() for device, at in cursor.fetchall()}
        self._note(waiting, min((newest.get(device, 0.0) for device in self._devices), default=0.0))
        with self._lock:
            self._waiting = [injection for injection in self._waiting if not injection.over]

    def _note(self, waiting: list[Injection], oldest: float) -> None:
        """`oldest` is when the newest row was sent of the sensor that is furthest behind."""
        now = time.time()
        for injection in waiting:
            if injection.ended is None:
                continue
            if oldest <= injection.ended or (injection.step.alone and now - oldest > STALE_SECONDS):
                injection.flowing = None
                continue
            injection.flowing = injection.flowing or now
            if not injection.step.alone or now - injection.flowing >= self._hold:
                injection.recovered = injection.flowing

    def _forget(self) -> None:
        if self._connection is not None:
            with suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None
