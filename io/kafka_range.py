"""A bounded stretch of a topic, read in Python with no JVM: for runs that end (tests, back-fill, replay).

Beam's ReadFromKafka can end only after a number of records or a time, not at an offset of each partition.
"""

from collections.abc import Iterator
from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection
from confluent_kafka import Consumer, KafkaException, TopicPartition

from faces2.models.dead_letter import Record
from faces2.service.settings import KafkaSettings

POLL_SECONDS = 1.0
POLL_RECORDS = 1000


class OffsetRange(NamedTuple):
    """Records of one partition: `start` <= offset < `stop`."""

    topic: str
    partition: int
    start: int
    stop: int


def whole_topic(settings: KafkaSettings, topic: str) -> list[OffsetRange]:
    """What the topic holds now, one range a partition."""
    consumer = _consumer(settings)
    try:
        found = consumer.list_topics(topic, timeout=10).topics[topic]
        if found.error:
            raise KafkaException(found.error)
        ranges = []
        for partition in found.partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            ranges.append(OffsetRange(topic, partition, low, high))
        return ranges
    finally:
        consumer.close()


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
        consumer = _consumer(self._settings)
        try:
            consumer.assign([TopicPartition(part.topic, part.partition, part.start)])
            position = part.start
            while position < part.stop:
                for message in consumer.consume(POLL_RECORDS, POLL_SECONDS):
                    if message.error():
                        raise KafkaException(message.error())
                    offset = message.offset()
                    assert offset is not None, "a record that was read has an offset"
                    position = offset + 1
                    if position > part.stop:
                        break
                    yield message.key(), message.value()
                else:
                    # Compaction and transactions leave holes at the end: the consumer's own position passes them.
                    (at,) = consumer.position([TopicPartition(part.topic, part.partition)])
                    position = max(position, at.offset)
        finally:
            consumer.close()


def _consumer(settings: KafkaSettings) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": settings.brokers,
            "group.id": f"{settings.group_id}-range",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        }
    )
