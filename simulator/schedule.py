"""When each sensor's next frame is due: every interval, or all together at a rate."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from faces2.simulator.controller import Controller
from faces2.simulator.sources import EventSource, SensorSource


@dataclass(frozen=True, slots=True)
class Sender:
    """A sensor on its controller."""

    controller: Controller
    sensor: SensorSource
    events: EventSource

    def send_one(self, now: int) -> None:
        """Offers the sensor's frame at `now` (microseconds since 1970), and now and then an event."""
        self.controller.offer(self.sensor.next(now))
        if event := self.events.maybe(now):
            self.controller.offer(event)


class Schedule(Protocol):
    """Says which sensors are due; `now` is a monotonic time in seconds."""

    def due(self, now: float) -> Iterator[Sender]:
        """The sensors whose turn has come, each as often as it is due."""

    def wait(self, now: float) -> float:
        """Seconds until the next one is due."""


class EveryInterval:
    """Each sensor every `interval` seconds, all of them spread over the interval."""

    def __init__(self, senders: Sequence[Sender], interval: float, start: float) -> None:
        self._senders = senders
        self._interval = interval
        self._due = [(start + interval * i / len(senders), i) for i in range(len(senders))]
        heapq.heapify(self._due)

    def due(self, now: float) -> Iterator[Sender]:
        """A controller that has never been online makes no frames yet; missed rounds are not made up."""
        while self._due and self._due[0][0] <= now:
            at, i = self._due[0]
            heapq.heapreplace(self._due, (at + self._interval * (1 + (now - at) // self._interval), i))
            if self._senders[i].controller.started:
                yield self._senders[i]

    def wait(self, now: float) -> float:
        """Seconds until the next sensor's turn."""
        return max(0.0, self._due[0][0] - now) if self._due else 1.0


class AtRate:
    """All sensors in turn, `rate` frames a second together; slower where the broker takes fewer."""

    STEP = 0.005

    def __init__(self, senders: Sequence[Sender], rate: float, start: float, most: int = 500) -> None:
        self._senders = senders
        self._rate = rate
        self._since = start
        self._made = 0
        self._most = most
        self._position = 0

    def due(self, now: float) -> Iterator[Sender]:
        """Up to `most` at once, so that the network gets its turn; what is more than a second late is not made up."""
        owed = int((now - self._since) * self._rate) - self._made
        if owed > self._rate + self._most:
            self._since, self._made = now, 0
        for _ in range(min(owed, self._most)):
            sender = self._senders[self._position]
            self._position = (self._position + 1) % len(self._senders)
            if sender.controller.started and not sender.controller.backlogged:
                self._made += 1
                yield sender

    def wait(self, now: float) -> float:
        """The step in which frames are made, or until the first is due."""
        next_at = self._since + (self._made + 1) / self._rate
        return max(self.STEP, min(1.0, next_at - now))
