"""Bounded stretches of a topic, read in Python with no JVM: for runs that end (tests, back-fill, replay, audit).

Beam's ReadFromKafka can end only after a number of records or a time, not at an offset of each partition.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from faces2.models.dead_letter import Record
from faces2.service.settings import KafkaSettings

ANSWER_SECONDS = 10
POLL_SECONDS = 1.0
POLL_RECORDS = 1000
STALL_SECONDS = 60
"""A topic that gives nothing for so long, before the range's end, is away."""


class OffsetRange(NamedTuple):
    """Records of one partition: `start` <= offset < `stop`."""

    topic: str
    partition: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many offsets it holds."""
        return max(self.stop - self.start, 0)


def whole_topic(settings: KafkaSettings, topic: str) -> list[OffsetRange]:
    """What the topic holds now, one range a partition; KafkaException where there is no such topic."""
    with closing(range_consumer(settings)) as consumer:
        found = consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
        if found.error:
            raise KafkaException(found.error)
        ranges = []
        for partition in sorted(found.partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_SECONDS)
            ranges.append(OffsetRange(topic, partition, low, high))
        return ranges


def read_ranges(
    settings: KafkaSettings, ranges: list[OffsetRange], most: int = POLL_RECORDS
) -> Iterator[list[Message]]:
    """The records of all ranges (of one topic), up to `most` at once; each partition in its order. KafkaException when
    Kafka gives nothing for a while."""
    stop = {part.partition: part.stop for part in ranges if part.size}
    with closing(range_consumer(settings)) as consumer:
        consumer.assign([TopicPartition(part.topic, part.partition, part.start) for part in ranges if part.size])
        heard = time.monotonic()
        while stop:
            messages, before = consumer.consume(most, POLL_SECONDS), set(stop)
            if found := _within(messages, stop):
                yield found
            if done := before - stop.keys():
                consumer.incremental_unassign([TopicPartition(ranges[0].topic, partition) for partition in done])
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > STALL_SECONDS:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no record for {STALL_SECONDS} s"))


def _within(messages: list[Message], stop: dict[int, int]) -> list[Message]:
    """The messages that lie within; a partition that is at its stop, or at its end (compaction and transactions leave
    holes there), leaves `stop`."""
    found = []
    for message in messages:
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error and error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        if partition not in stop:
            continue
        assert offset is not None, "what was read has an offset"
        if not error and offset < stop[partition]:
            found.append(message)
        if error or offset + 1 >= stop[partition]:
            del stop[partition]
    return found


class ReadRanges(beam.PTransform):
    """The records (key, value) of `ranges`; a partition is read by one worker, in its order."""

    def __init__(self, settings: KafkaSettings, ranges: list[OffsetRange]) -> None:
        super().__init__()
        self._settings = settings
        self._ranges = ranges

    def expand(self, begin: PBegin) -> PCollection:
        records: PCollection = (
            begin | "Ranges" >> beam.Create(self._ranges) | "Read" >> beam.ParDo(_ReadFn(self._settings))
        )
        return records


class _ReadFn(beam.DoFn):
    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    def process(self, part: OffsetRange) -> Iterator[Record]:
        for messages in read_ranges(self._settings, [OffsetRange(*part)]):
            for message in messages:
                yield message.key(), message.value()


def range_consumer(settings: KafkaSettings, group: str | None = None) -> Consumer:
    """A consumer that is told what to read: it commits nothing by itself and belongs to no balancing."""
    return Consumer(
        {
            "bootstrap.servers": settings.brokers,
            "group.id": group or f"{settings.group_id}-range",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "log_level": 0,  # its errors come as exceptions
        }
    )
