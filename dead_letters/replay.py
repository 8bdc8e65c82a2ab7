"""Replay by hand: dead letters go back where they came from, each once.

A letter is passed over when the trace knows it, or knows its bytes: a replayed frame that fails again comes back as a
new letter with the same bytes, and is not sent round for ever. The trace of a letter is written when Kafka has what
was sent; ended in between, the next run sends at most one chunk again, which changes nothing in the table.
"""

import threading
import uuid
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from faces2.dead_letters.hashes import Hashes
from faces2.dead_letters.letter import Letter
from faces2.dead_letters.origin import NoWayBackError, Outgoing, fingerprint, outgoing
from faces2.dead_letters.trace import Trace, letter_entry
from faces2.io.kafka_topic import Sender
from faces2.models.clock import Clock, utc_now
from faces2.service.settings import KafkaSettings

CHUNK = 10_000
TOO_LARGE = "Kafka refuses it for its size"


@dataclass
class Outcome:
    """What a replay did with the letters that were meant; `sent` by topic, `no_way_back` by why."""

    sent: Counter[str] = field(default_factory=Counter)
    replayed_before: int = 0
    came_back: int = 0
    """Letters that no replay was of, but of whose bytes one was."""
    no_way_back: Counter[str] = field(default_factory=Counter)
    first_without: dict[str, str] = field(default_factory=dict)
    """Of each why in `no_way_back`, the first letter."""


class Selection:
    """Decides on each letter, in the order in which they come; `again`: also those that were replayed before."""

    def __init__(self, trace: Trace, kafka: KafkaSettings, topics: Collection[str], again: bool) -> None:
        self.outcome = Outcome()
        self._trace = trace
        self._kafka = kafka
        self._topics = topics
        self._passed_over = Hashes() if again else trace.hashes
        self._again = again

    def __call__(self, letter: Letter) -> Outgoing | None:
        """What is to be sent for the letter, None for nothing; the outcome says why."""
        outcome = self.outcome
        if not self._again and self._trace.replayed_at(letter):
            outcome.replayed_before += 1
            return None
        try:
            record = outgoing(letter, self._kafka, self._topics)
        except NoWayBackError as error:
            outcome.no_way_back[str(error)] += 1
            outcome.first_without.setdefault(str(error), letter.id)
            return None
        known = fingerprint(record.key, record.value)
        if known in self._passed_over:
            outcome.came_back += 1
            return None
        self._passed_over.add(known)
        return record


class Replay:
    """Sends what the selection gives and writes the trace; with `dry_run` neither."""

    def __init__(
        self,
        selection: Selection,
        sender: Sender,
        kafka: KafkaSettings,
        of: str,
        *,
        dry_run: bool,
        now: Clock = utc_now,
    ) -> None:
        self.run_id = uuid.uuid4().hex[:8]
        self._selection = selection
        self._sender = sender
        self._kafka = kafka
        self._of = of
        self._dry_run = dry_run
        self._now = now
        self._chunk: list[tuple[Letter, Outgoing]] = []

    def run(self, batches: Iterable[list[Letter]], stop: threading.Event) -> None:
        """Until there are no more, or `stop`."""
        for letters in batches:
            for letter in letters:
                record = self._selection(letter)
                if record is not None:
                    if not self._dry_run:
                        self._sender.send(*record, letter.id)
                    self._chunk.append((letter, record))
            if len(self._chunk) >= CHUNK:
                self._confirm()
            if stop.is_set():
                break
        self._confirm()

    def _confirm(self) -> None:
        """When Kafka has what was sent, it is counted, and the trace of it is written and confirmed."""
        outcome = self._selection.outcome
        refused: list[str] = self._sender.confirm()
        for place in refused:
            outcome.no_way_back[TOO_LARGE] += 1
            outcome.first_without.setdefault(TOO_LARGE, place)
        now, without = self._now(), set(refused)
        for letter, record in self._chunk:
            if letter.id in without:
                continue
            outcome.sent[record.topic] += 1
            if not self._dry_run:
                entry = letter_entry(letter, record, self._of, self.run_id, now)
                self._sender.send(self._kafka.replay_topic, *entry)
        self._sender.confirm()
        self._chunk = []
