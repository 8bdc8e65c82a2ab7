"""Where a stretch of a topic begins and ends in offsets, and how far a consumer group has come in it."""

from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from faces2.io.kafka_range import ANSWER_SECONDS, OffsetRange, range_consumer, whole_topic
from faces2.models.stretch import End, Moment, Offsets
from faces2.service.settings import KafkaSettings


@dataclass(frozen=True)
class Stretch:
    """What the topic holds of what was asked for; `gone` names what it no longer holds."""

    ranges: list[OffsetRange]
    gone: list[str]

    @property
    def size(self) -> int:
        """How many offsets it holds."""
        return sum(part.size for part in self.ranges)

    def __str__(self) -> str:
        return ", ".join(f"{part.partition}:{part.start}-{part.stop}" for part in self.ranges if part.size)


def find_stretch(settings: KafkaSettings, topic: str, since: End | None, until: End | None) -> Stretch:
    """The offsets from `since` up to, not with, `until`; None is the topic's first, or its end now. Where an end names
    offsets, only the partitions that it names are meant."""
    held = whole_topic(settings, topic)
    with closing(range_consumer(settings)) as consumer:
        begins = _offsets(consumer, held, since, {part.partition: part.start for part in held})
        ends = _offsets(consumer, held, until, {part.partition: part.stop for part in held})
    return cut(held, begins, ends, since)


def cut(held: list[OffsetRange], begins: dict[int, int], ends: dict[int, int], since: End | None) -> Stretch:
    """What is held between these offsets, of the partitions that have both; pure."""
    ranges, gone = [], []
    for part in held:
        if part.partition not in begins or part.partition not in ends:
            continue
        begin, end = begins[part.partition], ends[part.partition]
        start = min(max(begin, part.start), part.stop)
        ranges.append(part._replace(start=start, stop=max(start, min(end, part.stop))))
        if isinstance(since, Offsets) and begin < part.start:
            gone.append(f"partition {part.partition}: offsets {begin} to {min(end, part.start) - 1} are no longer kept")
        elif isinstance(since, Moment) and 0 < part.start == begin:
            gone.append(f"partition {part.partition} begins at offset {part.start}: what was before is no longer kept")
    return Stretch(ranges, gone)


def committed(settings: KafkaSettings, ranges: list[OffsetRange]) -> dict[int, int]:
    """The pipeline's next offset by partition; without those of which its group has committed nothing."""
    with closing(range_consumer(settings, settings.group_id)) as consumer:
        asked = [TopicPartition(part.topic, part.partition) for part in ranges]
        found = consumer.committed(asked, timeout=ANSWER_SECONDS) if asked else []
    for part in found:
        if part.error:
            raise KafkaException(part.error)
    return {part.partition: part.offset for part in found if part.offset >= 0}


def _offsets(consumer: Consumer, held: list[OffsetRange], end: End | None, default: dict[int, int]) -> dict[int, int]:
    if end is None:
        return default
    if isinstance(end, Offsets):
        return dict(end.by_partition)
    asked = [TopicPartition(part.topic, part.partition, end.millis) for part in held]
    last = {part.partition: part.stop for part in held}
    # A time after the last record has no offset: it means the end.
    return {
        found.partition: found.offset if found.offset >= 0 else last[found.partition]
        for found in consumer.offsets_for_times(asked, timeout=ANSWER_SECONDS)
    }
