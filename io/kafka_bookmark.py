"""Where a long job over stretches of a topic is, kept in Kafka: the committed offsets of a consumer group of the job's
own, each with the range that it is about. The job can go on from another host, and Kafka forgets it after a while."""

from contextlib import closing

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from faces2.io.kafka_range import ANSWER_SECONDS, OffsetRange, range_consumer, whole_topic
from faces2.service.settings import KafkaSettings


class Bookmark:
    """Of one job; `group` names it."""

    def __init__(self, settings: KafkaSettings, topic: str, group: str) -> None:
        self._settings = settings
        self._topic = topic
        self._group = group

    def begin(self, ranges: list[OffsetRange]) -> None:
        """Keeps what the job is about: nothing of it is done."""
        self._commit([(part, part.start) for part in ranges])

    def advance(self, ranges: list[OffsetRange], done: list[OffsetRange]) -> None:
        """`done`, parts of `ranges`, is done."""
        whole = {part.partition: part for part in ranges}
        self._commit([(whole[part.partition], part.stop) for part in done])

    def load(self) -> tuple[list[OffsetRange], list[OffsetRange]] | None:
        """What the job is about, and what of it is left; None where none was begun."""
        asked = [TopicPartition(self._topic, part.partition) for part in whole_topic(self._settings, self._topic)]
        with closing(range_consumer(self._settings, self._group)) as consumer:
            kept = [at for at in consumer.committed(asked, timeout=ANSWER_SECONDS) if at.offset >= 0]
        ranges, left = [], []
        for at in kept:
            start, _, stop = (at.metadata or "").partition("-")
            part = OffsetRange(self._topic, at.partition, int(start), int(stop))
            ranges.append(part)
            left.append(part._replace(start=at.offset))
        return (ranges, left) if kept else None

    def remove(self) -> None:
        """The job is done, or is to begin anew."""
        admin = AdminClient({"bootstrap.servers": self._settings.brokers, "log_level": 0})
        admin.delete_consumer_groups([self._group], request_timeout=ANSWER_SECONDS)[self._group].result()

    def _commit(self, positions: list[tuple[OffsetRange, int]]) -> None:
        offsets = [
            TopicPartition(self._topic, part.partition, at, metadata=f"{part.start}-{part.stop}")
            for part, at in positions
        ]
        with closing(range_consumer(self._settings, self._group)) as consumer:
            for committed in consumer.commit(offsets=offsets, asynchronous=False) or []:
                if committed.error:
                    raise KafkaException(committed.error)
