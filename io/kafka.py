"""Kafka: records in by Beam's native read; readings and dead letters out within the bundle, flushed before it ends."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.io.kafka import ReadFromKafka
from apache_beam.pvalue import PCollection
from confluent_kafka import KafkaError, Message, Producer

from faces2.io import kafka_record  # noqa: F401 - workers, which load this module, find the records' coder by it
from faces2.models.batches import Readings
from faces2.models.clock import format_timestamp
from faces2.models.dead_letter import DeadLetter
from faces2.models.messages import reading_key
from faces2.service import metrics
from faces2.service.settings import KafkaSettings

FLUSH_SECONDS = 60
SOON = {"request.timeout.ms": 10_000, "socket.timeout.ms": 10_000, "reconnect.backoff.max.ms": 2000}
"""A broker that is cut off is noticed within 10 s, and one that is back within 2; librdkafka adds the jitter."""

Headers = list[tuple[str, str | bytes | None]]

OutRecord = tuple[bytes | None, bytes | None, Headers | None]
"""Key, value and headers of a record to be sent."""


class DeliveryError(Exception):
    """Kafka did not confirm a record; the bundle fails and is done again."""


def read_records(settings: KafkaSettings, topic: str, expansion_service: str, start: str) -> ReadFromKafka:
    """Records (key, value) of `topic`; the group's offsets follow the runner's completed checkpoints."""
    return ReadFromKafka(
        consumer_config={
            "bootstrap.servers": settings.brokers,
            "group.id": settings.group_id,
            "auto.offset.reset": start,
            "enable.auto.commit": "false",
            "request.timeout.ms": "10000",
        },
        topics=[topic],
        commit_offset_in_finalize=True,
        expansion_service=expansion_service,
    )


def producer(settings: KafkaSettings, on_failure: Callable[[KafkaError, Message], None] | None = None) -> Producer:
    """A producer that confirms only what all replicas have, in order and once; `on_failure` is told of each record that
    was not delivered (and of no other: a call back into Python for each one costs more than sending it)."""
    told = {} if on_failure is None else {"delivery.report.only.error": True, "on_delivery": on_failure}
    return Producer(
        {
            "bootstrap.servers": settings.brokers,
            "acks": "all",
            "enable.idempotence": True,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",  # as Java's and kafka-python's producers: a key has one partition for all
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 262_144,
            "message.max.bytes": 4_194_304,
            **SOON,
        }
        | told
    )


def reading_records(readings: Readings) -> Iterable[OutRecord]:
    """One record a reading, keyed `device_id:datapoint_id` (shape: models.messages.Reading)."""
    if not len(readings):  # a batch of which the database refused every row
        return
    numbers = orjson.dumps(readings.value, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
    ids = zip(readings.device_id.tolist(), readings.datapoint_id.tolist(), strict=True)
    micros, tail = None, b""
    for (device_id, datapoint_id), number, at in zip(ids, numbers, readings.micros.tolist(), strict=True):
        if at != micros:
            micros, tail = at, b',"timestamp":"%b"}' % format_timestamp(at).encode()
        key, head = _key_and_head(device_id, datapoint_id)
        yield key, head + number + tail, None


@lru_cache(maxsize=1_000_000)
def _key_and_head(device_id: int, datapoint_id: int) -> tuple[bytes, bytes]:
    head = b'{"device_id":%d,"datapoint_id":%d,"value":' % (device_id, datapoint_id)
    return reading_key(device_id, datapoint_id), head


def dead_letter_records(letters: list[DeadLetter]) -> Iterable[OutRecord]:
    """One record a dead letter: the original bytes and key, the reason in headers."""
    for letter in letters:
        yield letter.key, letter.value, list(letter.headers())


def count_dead_letters(letters: list[DeadLetter]) -> None:
    """Counts dead letters that are in Kafka."""
    for letter in letters:
        metrics.DEAD_LETTERS.labels(reason=letter.reason.value, step=letter.step).inc()


class WriteRecords(beam.PTransform):
    """Sends each batch's records to Kafka and gives nothing on; a record that is not confirmed fails the bundle.
    `confirmed` is told of each batch that Kafka has."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        to_records: Callable[[Any], Iterable[OutRecord]],
        confirmed: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__()
        self._fn = _SendFn(settings, topic, to_records, confirmed)

    def expand(self, batches: PCollection) -> PCollection:
        sent: PCollection = batches | "Send" >> beam.ParDo(self._fn)
        return sent


class _SendFn(beam.DoFn):
    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        to_records: Callable[[Any], Iterable[OutRecord]],
        confirmed: Callable[[Any], None] | None,
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._to_records = to_records
        self._confirmed = confirmed

    def setup(self) -> None:
        self._producer = producer(self._settings, self._failed)

    def start_bundle(self) -> None:
        self._sent = 0
        self._batches: list[Any] = []
        self._error: KafkaError | None = None

    def process(self, batch: Any) -> None:
        produce = self._producer.produce
        for key, value, headers in self._to_records(batch):
            self._sent += 1
            try:
                produce(self._topic, value, key, headers=headers)
            except BufferError:
                self._produce_later(key, value, headers)
        if self._confirmed is not None:
            self._batches.append(batch)

    def finish_bundle(self) -> None:
        if not self._sent:
            return
        left = self._producer.flush(FLUSH_SECONDS)
        if self._error or left:
            raise DeliveryError(f"{self._topic}: {self._error or f'{left} records not confirmed in {FLUSH_SECONDS} s'}")
        metrics.MESSAGES_OUT.labels(target=self._topic).inc(self._sent)
        if self._confirmed is not None:
            for batch in self._batches:
                self._confirmed(batch)

    def _produce_later(self, key: bytes | None, value: bytes | None, headers: Headers | None) -> None:
        """The producer's queue is full: as soon as there is room."""
        while True:
            self._producer.poll(0.1)
            try:
                self._producer.produce(self._topic, value, key, headers=headers)
            except BufferError:
                continue
            return

    def _failed(self, error: KafkaError, _: Message) -> None:
        self._error = self._error or error
