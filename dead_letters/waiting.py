"""Unknown devices wait: their frames go back to the raw topic as soon as the metadata knows them.

One thread follows the dead letters, keeps an index by pin, and asks the metadata once a second. When a pin is known
whose frames wait, it reads the topic once more from the first of them and sends exactly those. After each chunk that
Kafka has confirmed, the pin's progress goes to the trace: a restart loses nothing and sends at most one chunk again.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing

from confluent_kafka import TopicPartition

from faces2.dead_letters.index import Index, Skip, waits_for
from faces2.dead_letters.letter import letter_of
from faces2.dead_letters.schedule import Schedule
from faces2.dead_letters.trace import load_trace, pin_entry
from faces2.io.kafka_topic import (
    ANSWER_SECONDS,
    Held,
    KafkaAwayError,
    Sender,
    asking,
    consumer,
    describe,
    identify,
    is_record,
    read,
)
from faces2.models.clock import Clock, utc_now
from faces2.models.metadata import PinKey, Snapshot
from faces2.service import metrics
from faces2.service.logs import get_logger
from faces2.service.settings import KafkaSettings, WaitingSettings

RUN = "waiting"
LOOK_SECONDS = 1.0
KEEP_SECONDS = 10.0
CHUNK = 20_000
TAIL_BATCH = 5000

Offsets = dict[int, int]

log = get_logger(__name__)


class Waiting:
    """One stretch of the work, from when Kafka is there until it is away (KafkaAwayError) or `stop` is set."""

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: WaitingSettings,
        snapshot: Callable[[], Snapshot],
        *,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
        now: Clock = utc_now,
    ) -> None:
        self._kafka = kafka
        self._snapshot = snapshot
        self._stop = stop
        self._clock = clock
        self._now = now
        self._schedule = Schedule()
        self._topic = describe(kafka, kafka.dead_letter_topic)
        self._index = Index({pin: mark.offsets for pin, mark in load_trace(kafka, self._topic).marks.items()})
        self._sender = Sender(kafka)
        self._tail = consumer(kafka, settings.group_id)
        self._positions = self._begin()
        self._next_look = clock() + LOOK_SECONDS
        self._next_keep = clock() + KEEP_SECONDS

    def run(self) -> None:
        """Until `stop`."""
        with closing(self._tail), asking(self._kafka, self._topic.name):
            while not self._stop.is_set():
                self._turn()

    def _begin(self) -> Offsets:
        """Goes on with the first letter that waited when the place was last kept; without one, at the beginning."""
        parts = [TopicPartition(self._topic.name, number) for number in self._topic.held]
        with asking(self._kafka, self._topic.name):
            kept = {part.partition: part.offset for part in self._tail.committed(parts, timeout=ANSWER_SECONDS)}
        starts = {number: max(kept[number], held.start) for number, held in self._topic.held.items()}
        self._tail.assign([TopicPartition(self._topic.name, number, start) for number, start in starts.items()])
        log.info("following the dead letters", offsets={str(number): start for number, start in starts.items()})
        return starts

    def _turn(self) -> None:
        for message in self._tail.consume(TAIL_BATCH, 0.5):
            if is_record(message):
                letter = letter_of(message)
                self._positions[letter.partition] = letter.offset + 1
                pin = waits_for(letter, self._kafka.raw_topic)
                if isinstance(pin, PinKey):
                    if self._index.add(pin, letter.partition, letter.offset):
                        continue
                    pin = Skip.REPLAYED
                metrics.WAITING_SKIPPED.labels(pin).inc()
        if self._clock() >= self._next_look:
            self._next_look = self._clock() + LOOK_SECONDS
            self._look()
        if self._clock() >= self._next_keep:
            self._next_keep = self._clock() + KEEP_SECONDS
            self._keep()

    def _look(self) -> None:
        """Replays the pins that the metadata knows by now."""
        due = self._schedule.due(self._index.pins, self._snapshot().sensors, self._clock())
        if due:
            began = self._clock()
            frames = self._replay(due)
            self._schedule.replayed(due, self._clock())
            log.info("frames replayed", frames=frames, pins=len(due), seconds=round(self._clock() - began, 1))
        self._show()

    def _show(self) -> None:
        metrics.WAITING_FRAMES.set(self._index.frames)
        metrics.WAITING_PINS.set(len(self._index.pins))

    def _replay(self, pins: frozenset[PinKey]) -> int:
        """Sends all frames of these pins that were taken; how many."""
        ranges = {part: Held(first, self._positions[part]) for part, first in self._index.firsts(pins).items()}
        done: dict[PinKey, Offsets] = {}
        sent = chunk = 0
        for messages in read(self._kafka, self._topic.name, ranges):
            for letter in map(letter_of, messages):
                pin = waits_for(letter, self._kafka.raw_topic)
                if pin in pins and isinstance(pin, PinKey) and self._index.waits(pin, letter.partition, letter.offset):
                    self._sender.send(self._kafka.raw_topic, letter.key, letter.value, pin)
                    done.setdefault(pin, {})[letter.partition] = letter.offset + 1
                    chunk += 1
            if chunk >= CHUNK:
                sent, chunk = sent + self._confirm(chunk, done), 0
                done.clear()
            if self._stop.is_set():
                break
        else:
            self._index.clear(pins)
        return sent + self._confirm(chunk, done)

    def _confirm(self, frames: int, done: Mapping[PinKey, Offsets]) -> int:
        """When Kafka has the frames, their pins' progress goes to the trace; how many it took."""
        refused: list[PinKey] = self._sender.confirm()
        for pin in refused:
            log.error("a frame is too large for the raw topic and stays a dead letter", mac=pin.mac)
            metrics.WAITING_SKIPPED.labels(Skip.TOO_LARGE).inc()
        metrics.REPLAYED.inc(frames - len(refused))
        for pin, offsets in done.items():
            entry = pin_entry(pin, self._index.mark(pin, offsets), self._topic.id, RUN, self._now())
            self._sender.send(self._kafka.replay_topic, *entry)
        self._sender.confirm()
        return frames - len(refused)

    def _keep(self) -> None:
        """Keeps the place for a restart: before it nothing waits. A topic that was made anew is begun anew."""
        name = self._topic.name
        if identify(self._kafka, name) != (self._topic.id, [*self._topic.held]):
            raise KafkaAwayError(f"{name} is another topic now, or has other partitions.")
        places = self._positions | self._index.firsts(self._index.pins)
        parts = [TopicPartition(name, number, offset) for number, offset in places.items()]
        self._tail.commit(offsets=parts, asynchronous=False)
