"""Kafka without Beam: what a topic holds, its records from offset to offset, records that are sent and confirmed."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from faces2.service.settings import KafkaSettings

ANSWER_SECONDS = 10
SILENCE_SECONDS = 30
DELIVERY_SECONDS = 15
BATCH = 2000
POLL_SECONDS = 0.2
ELECTING = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
"""A partition changes its leader, or the client does not know it yet: over in a moment."""
QUIET = {"log_level": 2}
"""An outage is one sentence of ours, not ten lines a second of librdkafka's."""


class KafkaAwayError(RuntimeError):
    """Kafka does not do what is asked; the text is a sentence."""


class Held(NamedTuple):
    """What a partition holds: `start` <= offset < `stop`."""

    start: int
    stop: int


class Topic(NamedTuple):
    """A topic as it is now; one that is deleted and made anew has another `id`."""

    name: str
    id: str
    held: dict[int, Held]


@contextmanager
def asking(settings: KafkaSettings, topic: str = "") -> Iterator[None]:
    """What Kafka's client raises meanwhile becomes a sentence, KafkaAwayError."""
    try:
        yield
    except KafkaException as error:
        cause: KafkaError = error.args[0]
        if cause.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            said = f"The topic {topic} does not exist in Kafka at {settings.brokers}: `faces2 topics` makes it."
        else:
            said = f"Kafka at {settings.brokers} does not answer ({cause.str()}): KAFKA_BROKERS says where it is."
        raise KafkaAwayError(said) from None


_patiently = retry(
    retry=retry_if_exception(lambda error: isinstance(error, KafkaException) and error.args[0].code() in ELECTING),
    wait=wait_fixed(0.3),
    stop=stop_after_delay(ANSWER_SECONDS),
    reraise=True,
)


def describe(settings: KafkaSettings, name: str) -> Topic:
    """The topic; KafkaAwayError where it is not there."""
    identity, numbers = identify(settings, name)
    with asking(settings, name), closing(consumer(settings, f"{settings.group_id}-look")) as reader:
        ask = _patiently(reader.get_watermark_offsets)
        held = {number: Held(*ask(TopicPartition(name, number), timeout=ANSWER_SECONDS)) for number in numbers}
    return Topic(name, identity, held)


def identify(settings: KafkaSettings, name: str) -> tuple[str, list[int]]:
    """The topic's id and its partitions. It is never created by asking."""
    with asking(settings, name):
        admin = _admin(settings)  # it has to live until it is answered
        found = admin.describe_topics(TopicCollection([name]), request_timeout=ANSWER_SECONDS)[name].result()
        return str(found.topic_id), sorted(partition.id for partition in found.partitions)


def names(settings: KafkaSettings) -> frozenset[str]:
    """The topics that there are."""
    with asking(settings):
        return frozenset(_admin(settings).list_topics(timeout=ANSWER_SECONDS).topics)


def offsets_at(settings: KafkaSettings, topic: Topic, seconds: float) -> dict[int, int]:
    """For each partition the first offset of a record that was written at this time (since 1970) or later."""
    asked = [TopicPartition(topic.name, n, max(0, int(seconds * 1000))) for n in topic.held]
    with asking(settings, topic.name), closing(consumer(settings, f"{settings.group_id}-look")) as reader:
        found = _patiently(reader.offsets_for_times)(asked, timeout=ANSWER_SECONDS)
    return {part.partition: part.offset if part.offset >= 0 else topic.held[part.partition].stop for part in found}


def _admin(settings: KafkaSettings) -> AdminClient:
    return AdminClient({"bootstrap.servers": settings.brokers, **QUIET})


def consumer(settings: KafkaSettings, group: str, **others: object) -> Consumer:
    """A consumer that commits nothing by itself; where its offset is gone it goes on with the first record there is."""
    return Consumer(
        {
            "bootstrap.servers": settings.brokers,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            # Of each partition. Fetched records are compressed: unpacked they take up to fifty times as much memory.
            "fetch.message.max.bytes": 131_072,
            "queued.min.messages": 10_000,
            "queued.max.messages.kbytes": 4096,
            "fetch.queue.backoff.ms": 10,  # else a partition that was ahead is left alone for a second
            "reconnect.backoff.max.ms": 2000,
            **QUIET,
            **others,
        }
    )


def read(
    settings: KafkaSettings,
    topic: str,
    ranges: Mapping[int, Held],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[list[Message]]:
    """The records of `ranges` in lists, those of a partition in order; KafkaAwayError when nothing comes any more."""
    left = {partition for partition, held in ranges.items() if held.start < held.stop}
    with asking(settings, topic), closing(consumer(settings, f"{settings.group_id}-look")) as reader:
        reader.assign([TopicPartition(topic, partition, ranges[partition].start) for partition in left])
        heard = clock()
        while left:
            messages = reader.consume(BATCH, POLL_SECONDS)
            if messages:
                heard = clock()
            elif clock() - heard > SILENCE_SECONDS:
                raise KafkaAwayError(
                    f"Kafka at {settings.brokers} has sent nothing of {topic} for {SILENCE_SECONDS} s."
                )
            yield [message for message in messages if _wanted(message, ranges, left)]


def is_record(message: Message) -> bool:
    """Whether it is a record, not the news that a partition has ended for now; KafkaException for any other error."""
    error = message.error()
    if error is None:
        return True
    if error.code() == KafkaError._PARTITION_EOF:
        return False
    raise KafkaException(error)


def place(message: Message) -> tuple[int, int]:
    """Partition and offset of a message that was read."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset


def _wanted(message: Message, ranges: Mapping[int, Held], left: set[int]) -> bool:
    """Whether it is of its partition's range; takes the partition out of `left` when that has ended."""
    record = is_record(message)
    partition, offset = place(message)
    stop = ranges[partition].stop
    if not record or offset >= stop - 1:
        left.discard(partition)
    return record and offset < stop


class Sender:
    """Sends records, and tells when Kafka has them; what it refuses for its size is told apart."""

    def __init__(self, settings: KafkaSettings, connect: Callable[[dict[str, Any]], Producer] = Producer) -> None:
        self._brokers = settings.brokers
        self._producer = connect(
            {
                "bootstrap.servers": settings.brokers,
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",  # as the bridge's: a key has one partition for all
                "linger.ms": 5,
                "message.max.bytes": 4_194_304,
                "message.timeout.ms": DELIVERY_SECONDS * 1000,
                "queue.buffering.max.kbytes": 65_536,
                "delivery.report.only.error": True,
                **QUIET,
            }
        )
        self._refused: list[Any] = []
        self._failure: KafkaError | None = None

    def send(self, topic: str, key: bytes | None, value: bytes | None, token: Any = None) -> None:
        """Queues a record; `token` stands for it when it is refused."""
        failed = partial(self._failed, token)
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=failed)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                failed(error.args[0], None)
                return
            else:
                return

    def confirm(self) -> list[Any]:
        """Returns when Kafka has all that was sent, with the tokens of those too large for it; KafkaAwayError."""
        left = self._producer.flush(DELIVERY_SECONDS + 5)
        if self._failure or left:
            raise KafkaAwayError(f"Kafka at {self._brokers} did not take a record: {self._failure or 'no answer'}.")
        refused, self._refused = self._refused, []
        return refused

    def _failed(self, token: Any, error: KafkaError, _: Message | None) -> None:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._refused.append(token)
        else:
            self._failure = self._failure or error
