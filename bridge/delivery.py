"""The bridge's Kafka side: records go to the producer's queue, and each says when Kafka has it."""

from collections import deque
from collections.abc import Callable
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from faces2.bridge.records import STEP, Record, cut
from faces2.models.clock import Clock
from faces2.service.logs import get_logger
from faces2.service.metrics import DEAD_LETTERS, MESSAGES_OUT
from faces2.service.settings import KafkaSettings

OnError = Callable[[KafkaError], None]

log = get_logger(__name__)


def kafka_producer(kafka: KafkaSettings, on_error: OnError) -> Producer:
    """A producer that tries for ever and confirms only what all replicas have, in order and once."""
    return Producer(
        {
            "bootstrap.servers": kafka.brokers,
            "client.id": "faces2-bridge",
            "acks": "all",
            "enable.idempotence": True,
            "message.timeout.ms": 0,
            "linger.ms": 5,
            "compression.type": "lz4",
            # A MAC goes to the same partition as from Java's and kafka-python's producers.
            "partitioner": "murmur2_random",
            "message.max.bytes": 4_194_304,
            "queue.buffering.max.kbytes": 262_144,
            # A broker that is cut off is noticed within ten seconds, and one that is back within two.
            "request.timeout.ms": 10_000,
            "socket.timeout.ms": 10_000,
            "reconnect.backoff.max.ms": 2000,
            "error_cb": on_error,
            "log_level": 2,  # an outage is one line of ours, not ten a second of librdkafka's
        }
    )


class KafkaFailedError(RuntimeError):
    """The producer can not go on, or Kafka refuses a record for good; what is not acknowledged comes again."""


class Taken:
    """A message taken from MQTT: its packet id (0: needs no acknowledgement), its record, whether Kafka has it."""

    __slots__ = ("done", "mid", "record")

    def __init__(self, mid: int, record: Record) -> None:
        self.mid = mid
        self.record = record
        self.done = False


class Delivery:
    """Delivers what is taken; drops nothing."""

    def __init__(self, connect: Callable[[OnError], Producer], kafka: KafkaSettings, now: Clock) -> None:
        self.producer = self._producer = connect(self._on_error)
        self._kafka = kafka
        self._now = now
        self._waiting: deque[Taken] = deque()
        self._delivered = 0
        self._failure: KafkaError | None = None
        self._away = False

    @property
    def full(self) -> bool:
        """Whether the producer's queue has no room: nothing more should be taken."""
        return bool(self._waiting)

    @property
    def unconfirmed(self) -> int:
        """How many records Kafka has not yet."""
        return len(self._waiting) + len(self._producer)

    def take(self, taken: Taken) -> None:
        """Accepts a message; `taken.done` is set once Kafka has it."""
        self._waiting.append(taken)

    def pump(self, seconds: float = 0) -> None:
        """Queues what is taken and hears what Kafka confirms; KafkaFailedError when the process has to start anew."""
        while self._waiting and self._queued(self._waiting[0]):
            self._waiting.popleft()
        self._producer.poll(seconds)
        if self._delivered:
            MESSAGES_OUT.labels("kafka").inc(self._delivered)
            self._delivered = 0
            if self._away:
                self._away = False
                log.info("back", dependency="kafka")
        if self._failure is not None:
            raise KafkaFailedError(str(self._failure))

    def abandon(self) -> None:
        """Forgets what is still queued, so that the process can end at once."""
        self._producer.purge()

    def _queued(self, taken: Taken) -> bool:
        record = taken.record
        try:
            self._producer.produce(
                record.topic,
                record.value,
                record.key,
                headers=record.headers,
                on_delivery=partial(self._on_delivery, taken),
            )
        except BufferError:
            return False
        except KafkaException as error:
            self._refused(taken, error.args[0])
        return True

    def _on_delivery(self, taken: Taken, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._refused(taken, error)
            return
        taken.done = True
        self._delivered += 1
        if taken.record.reason is not None:
            DEAD_LETTERS.labels(taken.record.reason, STEP).inc()

    def _on_error(self, error: KafkaError) -> None:
        """All but fatal errors librdkafka mends itself, trying again."""
        if error.fatal():
            self._failure = error
        elif not self._away:
            self._away = True
            log.warning("away", dependency="kafka", error=str(error))

    def _refused(self, taken: Taken, error: KafkaError) -> None:
        """Too large is the record's fault: its beginning becomes a dead letter. Everything else is Kafka's."""
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            taken.record = cut(taken.record, self._now(), self._kafka)
            self._waiting.append(taken)
        else:
            self._failure = error
