"""Drives all controllers from one thread: makes the frames that are due, sends, reads acknowledgements."""

import select
import threading
import time
from collections.abc import Callable, Sequence

from faces2.service.logs import get_logger
from faces2.service.metrics import CONNECTED, IN_FLIGHT, QUEUED
from faces2.simulator.controller import Controller
from faces2.simulator.dialer import Dialer
from faces2.simulator.journal import Journal
from faces2.simulator.schedule import Schedule

log = get_logger(__name__)

DRAIN_SECONDS = 30.0
_LONGEST_WAIT = 0.1
_BUSY_WAIT = 0.005


class Fleet:
    """The controllers, what they send and when."""

    def __init__(
        self,
        controllers: Sequence[Controller],
        schedule: Schedule,
        journal: Journal,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._controllers = controllers
        self._schedule = schedule
        self._journal = journal
        self._clock = clock
        self._wall_clock = wall_clock
        self._dialer = Dialer(controllers, clock)
        self._next_second = clock()

    def run(self, stop: threading.Event, duration: float) -> None:
        """Until `stop`, or for `duration` seconds (0: without end); then waits for what is not acknowledged."""
        ends = self._clock() + duration if duration else float("inf")
        try:
            while not stop.is_set() and (now := self._clock()) < ends:
                for sender in self._schedule.due(now):
                    sender.send_one(int(self._wall_clock() * 1e6))
                self._turn(min(self._schedule.wait(now), ends - now))
            self._drain()
        finally:
            self._journal.flush()
            self._dialer.close()

    def check(self) -> str | None:
        """What keeps the simulator from being ready: no controller is connected."""
        return None if any(c.online for c in self._controllers) else "no controller is connected"

    def _turn(self, wait: float) -> None:
        """Sends what can be sent and waits up to `wait` seconds for the broker's answers."""
        connected = self._dialer.tend()
        busy = [controller.send() for controller in connected]
        poll, by_descriptor = select.poll(), {}
        for controller in connected:
            if (socket := controller.socket) is not None:
                poll.register(socket, select.POLLIN)
                by_descriptor[socket.fileno()] = controller
        longest = _BUSY_WAIT if any(busy) else _LONGEST_WAIT
        for descriptor, _ in poll.poll(1000 * max(0.0, min(wait, longest))):
            by_descriptor[descriptor].read()
        if (now := self._clock()) >= self._next_second:
            self._next_second = now + 1
            self._every_second(connected)

    def _every_second(self, connected: Sequence[Controller]) -> None:
        self._journal.flush()
        for controller in connected:
            controller.keep_alive()
        QUEUED.set(sum(controller.queued for controller in self._controllers))
        IN_FLIGHT.set(sum(controller.in_flight for controller in self._controllers))
        CONNECTED.labels("mqtt").set(any(controller.online for controller in self._controllers))

    def _drain(self) -> None:
        """Goes on without new frames until all is acknowledged, for a bounded time."""
        ends = self._clock() + DRAIN_SECONDS
        while any(c.queued or c.in_flight for c in self._controllers) and self._clock() < ends:
            self._turn(_LONGEST_WAIT)
        for controller in self._dialer.tend():
            controller.close()
