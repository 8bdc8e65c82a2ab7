"""Topics of the benchmark: made fresh for each run, removed after it."""

import time

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from faces2.service.settings import KafkaSettings, load

PARTITIONS = 4


def fresh(name: str, **config: str) -> None:
    """An empty topic; `config` with `_` for `.` in the keys."""
    remove(name)
    settings = {key.replace("_", "."): value for key, value in config.items()}
    topic = NewTopic(name, num_partitions=PARTITIONS, replication_factor=1, config=settings)
    admin = _admin()  # its futures end with it
    admin.create_topics([topic])[name].result(30)


def remove(name: str) -> None:
    """The topic is gone when this returns."""
    admin = _admin()
    if name in admin.list_topics(timeout=10).topics:
        admin.delete_topics([name])[name].result(30)
    while name in admin.list_topics(timeout=10).topics:
        time.sleep(0.05)


def size(name: str) -> int:
    """How many records the topic holds."""
    consumer = Consumer({"bootstrap.servers": load(KafkaSettings).brokers, "group.id": "bench-size"})
    try:
        found = consumer.list_topics(name, timeout=10).topics[name]
        if found.error:
            raise KafkaException(found.error)
        ends = [
            consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=10)
            for partition in found.partitions
        ]
        return sum(high - low for low, high in ends)
    finally:
        consumer.close()


def _admin() -> AdminClient:
    return AdminClient({"bootstrap.servers": load(KafkaSettings).brokers, "log_level": 3})
