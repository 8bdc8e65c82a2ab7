"""The audit's passes: the stretch, the dead letters, the stretch again if values differ, the first faults by name."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from confluent_kafka import Message

from faces2.audit.explain import explain
from faces2.audit.sweep import Place, Sweep
from faces2.audit.verdict import NAMED, Fault, Verdict
from faces2.io.kafka_range import OffsetRange, read_ranges
from faces2.io.kafka_stretch import Stretch, committed, find_stretch
from faces2.io.stored_readings import kept_since, stored_readings
from faces2.models.clock import from_micros
from faces2.models.dead_letter import Record
from faces2.models.metadata import Snapshot
from faces2.models.stretch import Moment
from faces2.service.settings import KafkaSettings

BATCH = 20_000
CLOCKS_MS = 3_600_000
"""A dead letter is looked for from so long before its record on: the clocks of two hosts differ."""
WAIT_PAUSE = 0.5

Told = Callable[[int], None]
"""Told how many records more were read."""


class Audit:
    """Of one stretch of the raw topic; it writes nowhere."""

    def __init__(
        self, kafka: KafkaSettings, connection: Any, snapshot: Snapshot, check_crc: bool, retention: str
    ) -> None:
        self._kafka = kafka
        self._fetch = partial(stored_readings, connection)
        self._sweep = Sweep(snapshot, check_crc, self._fetch, kept_since(connection, retention))
        self._notes: list[str] = []

    def choose(self, stretch: Stretch, wait_seconds: float) -> Stretch:
        """What the pipeline has read of the stretch; it is given so many seconds to read it all."""
        self._notes += stretch.gone
        return Stretch(self._read_by_the_pipeline(stretch.ranges, wait_seconds), [])

    def judge(self, stretch: Stretch, pending: int, told: Told) -> Verdict:
        """The verdict on all of the stretch; beside it, `pending` records were left out."""
        ranges = stretch.ranges
        first_ms = self._first_pass(ranges, told)
        sweep = self._sweep
        if len(sweep.wanted):
            self._look_for_dead_letters(first_ms)
        if len(sweep.suspects):
            self._second_pass(ranges)
        found, readings = sweep.wanted.found, sweep.wanted.readings
        return Verdict(
            topic=self._kafka.raw_topic,
            offsets=str(stretch),
            frames=sweep.frames,
            passed_by=dict(sweep.passed_by),
            readings_found=sweep.found,
            dead_letters=int(found.sum()),
            readings_missing=int(readings[~found].sum()),
            readings_different=len(sweep.suspects),
            dead_letters_missing=int((~found & (readings == 0)).sum()),
            readings_expired=sweep.expired,
            pending=pending,
            named=list(self._faults()),
            notes=self._notes,
        )

    def _read_by_the_pipeline(self, ranges: list[OffsetRange], wait_seconds: float) -> list[OffsetRange]:
        """The ranges up to what the pipeline's group has committed, when that is all or the time is over."""
        deadline = time.monotonic() + wait_seconds
        while True:
            offsets = committed(self._kafka, ranges)
            done = [
                part._replace(stop=min(part.stop, max(part.start, offsets.get(part.partition, 0)))) for part in ranges
            ]
            if done == ranges or time.monotonic() >= deadline:
                break
            time.sleep(WAIT_PAUSE)
        if offsets or done == ranges:
            return done
        group = self._kafka.group_id
        self._notes.append(f"group {group} has committed no offset here: all frames are judged, also those just sent")
        return ranges

    def _first_pass(self, ranges: list[OffsetRange], told: Told) -> int:
        first_ms = int(time.time() * 1000)
        for messages in read_ranges(self._kafka, ranges, BATCH):
            self._sweep.see([_record(message) for message in messages], [_place(message) for message in messages])
            first_ms = min(first_ms, *(_arrived(message) for message in messages))
            told(len(messages))
        return first_ms

    def _second_pass(self, ranges: list[OffsetRange]) -> None:
        for messages in read_ranges(self._kafka, ranges, BATCH):
            self._sweep.see_again([_record(message) for message in messages])
            if not len(self._sweep.suspects):
                return

    def _look_for_dead_letters(self, first_ms: int) -> None:
        since = Moment(from_micros(max(first_ms - CLOCKS_MS, 0) * 1000))
        letters = find_stretch(self._kafka, self._kafka.dead_letter_topic, since, None)
        self._notes += [f"{self._kafka.dead_letter_topic}, {gone}" for gone in letters.gone]
        for messages in read_ranges(self._kafka, letters.ranges, BATCH):
            if self._sweep.wanted.look((_record(message), _reason(message)) for message in messages):
                return

    def _faults(self) -> Iterator[Fault]:
        places = dict.fromkeys([*self._sweep.wanted.places(NAMED), *self._sweep.suspects.places(NAMED)])
        for place in islice(places, NAMED):
            part = OffsetRange(self._kafka.raw_topic, place[0], place[1], place[1] + 1)
            for message in (message for messages in read_ranges(self._kafka, [part]) for message in messages):
                record = _record(message)
                yield explain(record, place, _arrived(message), self._sweep.expect([record]), self._fetch)


def _record(message: Message) -> Record:
    return message.key(), message.value()


def _place(message: Message) -> Place:
    partition, offset = message.partition(), message.offset()
    assert partition is not None and offset is not None, "a record that was read has its place"
    return partition, offset


def _arrived(message: Message) -> int:
    return int(message.timestamp()[1])


def _reason(message: Message) -> str:
    headers = dict(message.headers() or [])
    reason = headers.get("reason") or b""
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
