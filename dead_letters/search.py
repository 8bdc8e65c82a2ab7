"""The dead letters that are meant, read from the topic in constant memory."""

from collections.abc import Callable, Iterator

from faces2.dead_letters.filters import Filter
from faces2.dead_letters.letter import Letter, letter_of
from faces2.io.kafka_topic import Held, KafkaAwayError, Topic, offsets_at, read
from faces2.service.settings import KafkaSettings

CLOCK_SECONDS = 60
"""A letter is written after it failed; by so much the clocks of two machines may differ."""


class Search:
    """The letters of the topic as it is now; `total` is how many are looked at."""

    def __init__(self, kafka: KafkaSettings, topic: Topic, wanted: Filter) -> None:
        self._kafka = kafka
        self._topic = topic
        self._wanted = wanted
        self._ranges = topic.held
        if wanted.since:
            starts = offsets_at(kafka, topic, wanted.since.timestamp() - CLOCK_SECONDS)
            self._ranges = {part: Held(starts[part], held.stop) for part, held in topic.held.items()}
        self.total = sum(max(0, held.stop - held.start) for held in self._ranges.values())

    def letters(self, looked: Callable[[int], None]) -> Iterator[list[Letter]]:
        """Lists of letters that match; `looked` is told how many more were looked at."""
        for messages in read(self._kafka, self._topic.name, self._ranges):
            yield [letter for letter in map(letter_of, messages) if self._wanted.matches(letter)]
            looked(len(messages))


def one(kafka: KafkaSettings, topic: Topic, partition: int, offset: int) -> Letter:
    """The letter at a place; KafkaAwayError where there is none."""
    held = topic.held.get(partition)
    if held is None or not held.start <= offset < held.stop:
        filled = [(number, part) for number, part in topic.held.items() if part.start < part.stop]
        places = ", ".join(f"{number}:{part.start} to {number}:{part.stop - 1}" for number, part in filled) or "none"
        raise KafkaAwayError(f"There is no dead letter {partition}:{offset}: {topic.name} holds {places}.")
    found = [m for messages in read(kafka, topic.name, {partition: Held(offset, offset + 1)}) for m in messages]
    return letter_of(found[0])
