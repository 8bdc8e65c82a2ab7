"""Which client publishes best: the readings of some of the messages into a topic, by each client on its own."""

import time
from collections.abc import Callable
from itertools import islice

from benchmarks import topics
from benchmarks.contender import Progress, Result, WrongResultError, result_of
from benchmarks.messages import Workload
from faces2.io.kafka import producer, reading_records
from faces2.service.settings import KafkaSettings, load

TOPIC = "bench-producers"
RECORDS = 500_000
SLICE = 20_000
"""Records between two flushes: some bundle's worth."""

Records = list[tuple[bytes, bytes]]
Send = Callable[[Records], None]
"""Sends some records and returns when Kafka has them."""


def confluent() -> Send:
    """confluent-kafka, a call for each record: what io/kafka.py does."""
    client = producer(load(KafkaSettings))

    def send(records: Records) -> None:
        for key, value in records:
            client.produce(TOPIC, value, key)
        assert client.flush(60) == 0

    return send


def confluent_batch() -> Send:
    """confluent-kafka's produce_batch, which takes no headers."""
    client = producer(load(KafkaSettings))

    def send(records: Records) -> None:
        assert client.produce_batch(TOPIC, [{"key": key, "value": value} for key, value in records]) == len(records)
        assert client.flush(60) == 0

    return send


def kafka_python() -> Send:
    """kafka-python with the same settings."""
    from kafka import KafkaProducer  # noqa: PLC0415 - only this contender needs it

    client = KafkaProducer(
        bootstrap_servers=load(KafkaSettings).brokers,
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        linger_ms=5,
        batch_size=1_000_000,
    )

    def send(records: Records) -> None:
        sent = [client.send(TOPIC, value, key) for key, value in records]
        client.flush(60)
        for each in sent:
            each.get(0)

    return send


class Producer:
    """One client; its rate is in records a second."""

    def __init__(self, name: str, what: str, client: Callable[[], Send]) -> None:
        self.name = name
        self.what = what
        self._client = client
        self._records: Records = []

    def prepare(self, work: Workload) -> None:
        records = ((key, value) for batch in work.batches for key, value, _ in reading_records(batch))
        self._records = [(key, value) for key, value in islice(records, RECORDS) if key and value]
        topics.fresh(TOPIC)

    def run(self, work: Workload) -> Result:
        send, progress = self._client(), []
        for start in range(0, len(self._records), SLICE):
            send(self._records[start : start + SLICE])
            progress.append(Progress(time.monotonic(), start + SLICE))
        if topics.size(TOPIC) != len(self._records):
            raise WrongResultError(f"{self.name}: {topics.size(TOPIC)} records instead of {len(self._records)}")
        result = result_of(progress, work.frames, len(self._records))
        self._records = []
        return Result(0, result.rows, result.seconds)
