"""How far the pipeline's group is behind in a topic, partition by partition: asked now and then, for the metrics."""

from contextlib import closing, suppress

from confluent_kafka import Consumer, KafkaException, TopicPartition

from faces2.io.kafka_range import ANSWER_SECONDS, range_consumer
from faces2.service.background import Background
from faces2.service.metrics import CONSUMER_LAG
from faces2.service.settings import KafkaSettings

LOOK_SECONDS = 5.0


class LagWatch(Background):
    """A thread beside the job; while Kafka is away the last figures stay, and the process is not ready."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        super().__init__("lag")
        self._settings = settings
        self._topic = topic

    def _run(self) -> None:
        # It reads the group's offsets; without a subscription it does not join the group.
        with closing(range_consumer(self._settings, self._settings.group_id)) as consumer:
            while not self._stop.wait(LOOK_SECONDS):
                with suppress(KafkaException):
                    for partition, lag in lags(consumer, self._topic).items():
                        CONSUMER_LAG.labels(self._topic, str(partition)).set(lag)


def lags(consumer: Consumer, topic: str) -> dict[int, int]:
    """Records of each partition that the consumer's group has not committed; KafkaException when Kafka does not answer.

    A partition without a commit is read from its first record; what retention took is not read any more.
    """
    known = consumer.list_topics(timeout=ANSWER_SECONDS).topics  # asking for the topic by its name could create it
    parts = [TopicPartition(topic, number) for number in known[topic].partitions] if topic in known else []
    found: dict[int, int] = {}
    for part in consumer.committed(parts, timeout=ANSWER_SECONDS) if parts else []:
        if part.error:
            raise KafkaException(part.error)
        first, end = consumer.get_watermark_offsets(TopicPartition(topic, part.partition), timeout=ANSWER_SECONDS)
        found[part.partition] = max(0, end - max(part.offset, first))
    return found
