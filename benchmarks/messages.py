"""The raw topic of a run: loaded once, and what must come of it."""

from dataclasses import dataclass
from functools import cached_property

from confluent_kafka import Consumer, TopicPartition

from benchmarks import fleet, topics
from benchmarks.fleet import BAD_EVERY, Source
from faces2.io.kafka import producer, reading_records
from faces2.models.batches import Readings
from faces2.models.metadata import Snapshot
from faces2.service.settings import KafkaSettings, PipelineSettings, load
from faces2.transforms.decode import decode_groups
from faces2.transforms.enrich import enrich

RAW = "bench-raw"
PROCESSED = "bench-processed"


@dataclass(frozen=True)
class Expected:
    """What a number of frames must end as: rows, and dead letters (a short frame is one, and gives rows as well)."""

    frames: int
    rows: int
    dead_letters: int

    def __add__(self, other: "Expected") -> "Expected":
        return Expected(self.frames + other.frames, self.rows + other.rows, self.dead_letters + other.dead_letters)


def load_topic(topic: str, sources: list[Source], start: int, stop: int, micros: int) -> Expected:
    """Appends the fleet's messages `start` up to `stop` to the topic."""
    rows = 0
    with Sender(topic) as sender:
        for message in fleet.messages(sources, start, stop, micros):
            sender.send(message.key, message.value)
            rows += message.rows
    return Expected(stop - start, rows, stop // BAD_EVERY - start // BAD_EVERY)


class Sender:
    """Sends records to one topic; leaving the `with` waits until Kafka has them all."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._producer = producer(load(KafkaSettings), self._failed)
        self._error: object = None

    def __enter__(self) -> "Sender":
        return self

    def send(self, key: bytes | None, value: bytes | None) -> None:
        """Queues one record, waiting where there is no room."""
        while True:
            try:
                self._producer.produce(self._topic, value, key)
            except BufferError:
                self._producer.poll(0.05)
            else:
                return

    def __exit__(self, *_: object) -> None:
        left = self._producer.flush(120)
        if self._error or left:
            raise RuntimeError(f"{self._topic}: {self._error or f'{left} records are not confirmed'}")

    def _failed(self, error: object, _: object) -> None:
        self._error = error


class Workload:
    """The messages of a run and all that is made from them, each made when it is first asked for."""

    def __init__(self, snapshot: Snapshot, frames: int) -> None:
        self.snapshot = snapshot
        self.frames = frames

    @cached_property
    def sources(self) -> list[Source]:
        """The fleet's sensors."""
        return fleet.sources(self.snapshot)

    @cached_property
    def raw(self) -> Expected:
        """What must come of RAW, which is loaded now if it was not."""
        topics.fresh(RAW)
        return load_topic(RAW, self.sources, 0, self.frames, fleet.first_micros())

    @cached_property
    def processed(self) -> int:
        """How many records PROCESSED holds, which is loaded now if it was not: what mode `process` gives for RAW."""
        topics.fresh(PROCESSED)
        with Sender(PROCESSED) as sender:
            for batch in self.batches:
                for key, value, _ in reading_records(batch):
                    sender.send(key, value)
        return sum(map(len, self.batches))

    @cached_property
    def batches(self) -> list[Readings]:
        """The rows of RAW, in batches of as many frames as a bundle of the pipeline holds."""
        assert self.raw.frames == self.frames
        consumer = Consumer({"bootstrap.servers": load(KafkaSettings).brokers, "group.id": "bench-batches"})
        consumer.assign([TopicPartition(RAW, partition, 0) for partition in range(topics.PARTITIONS)])
        batches, left = [], self.frames
        size = load(PipelineSettings).bundle_size
        while left:
            found = consumer.consume(min(size, left), 10)
            left -= len(found)
            readings, _ = decode_groups(enrich([(each.key(), each.value()) for each in found], self.snapshot).groups)
            batches.append(_without_records(readings))
        consumer.close()
        return batches


def _without_records(readings: Readings) -> Readings:
    return Readings(readings.micros, readings.device_id, readings.datapoint_id, readings.value, readings.source, [])
