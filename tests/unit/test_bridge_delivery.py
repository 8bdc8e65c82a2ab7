"""Delivery to Kafka and acknowledgement to MQTT, on a producer and a client that fail on command."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from prometheus_client import REGISTRY

from faces2.bridge.bridge import DROPPED, Bridge
from faces2.bridge.delivery import Delivery, KafkaFailedError, Taken
from faces2.bridge.records import Publish, record_of
from faces2.models.clock import utc_now
from faces2.models.dead_letter import Reason
from faces2.service.settings import BridgeSettings, KafkaSettings, MqttSettings

KAFKA = KafkaSettings()
TOPIC = "tele/f2-aabbccddee01/sensor-mode/J1/sensor-2"


class FakeProducer:
    """Keeps what is produced; `confirm` calls the delivery callback on the next poll."""

    def __init__(self) -> None:
        self.room = 100
        self.refuse: int | None = None
        self.produced: list[tuple[str, bytes]] = []
        self.callbacks: list[Callable[[KafkaError | None, Any], None]] = []
        self.answers: list[tuple[int, int | None]] = []

    def produce(self, topic: str, value: bytes, key: bytes, headers: Any, on_delivery: Any) -> None:
        if len(self.produced) >= self.room:
            raise BufferError
        if self.refuse is not None:
            code, self.refuse = self.refuse, None
            raise KafkaException(KafkaError(code))
        self.produced.append((topic, value))
        self.callbacks.append(on_delivery)

    def confirm(self, index: int, code: int | None = None) -> None:
        self.answers.append((index, code))

    def poll(self, _: float) -> None:
        answers, self.answers = self.answers, []
        for index, code in answers:
            self.callbacks[index](None if code is None else KafkaError(code), None)

    def __len__(self) -> int:
        return 0


class FakeClient:
    """Remembers the acknowledgements."""

    def __init__(self) -> None:
        self.acked: list[int] = []

    def ack(self, mid: int, qos: int) -> None:
        self.acked.append(mid)


@pytest.fixture
def producer() -> FakeProducer:
    return FakeProducer()


@pytest.fixture
def delivery(producer: FakeProducer) -> Delivery:
    return Delivery(lambda _: producer, KAFKA, utc_now)  # type: ignore[arg-type,return-value]


def taken(payload: bytes = b'{"data": "00"}') -> Taken:
    return Taken(1, record_of(Publish(TOPIC, payload), utc_now(), KAFKA))


def test_a_full_queue_drops_nothing(producer: FakeProducer, delivery: Delivery) -> None:
    producer.room = 1
    for _ in range(3):
        delivery.take(taken())
    delivery.pump()
    assert (len(producer.produced), delivery.full, delivery.unconfirmed) == (1, True, 2)
    producer.room = 3
    delivery.pump()
    assert (len(producer.produced), delivery.full) == (3, False)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_record_too_large_for_kafka_becomes_a_short_dead_letter(
    producer: FakeProducer, delivery: Delivery, at_once: bool
) -> None:
    message = taken(b"x" * 200_000)
    if at_once:
        producer.refuse = KafkaError.MSG_SIZE_TOO_LARGE
    delivery.take(message)
    delivery.pump()
    if not at_once:
        producer.confirm(0, KafkaError.MSG_SIZE_TOO_LARGE)
    delivery.pump()
    delivery.pump()
    assert not message.done
    assert message.record.reason is Reason.TOO_LARGE
    assert producer.produced[-1] == (KAFKA.dead_letter_topic, b"x" * 65_536)
    producer.confirm(len(producer.callbacks) - 1)
    delivery.pump()
    assert message.done


def test_any_other_refusal_ends_the_process(producer: FakeProducer, delivery: Delivery) -> None:
    message = taken()
    delivery.take(message)
    delivery.pump()
    producer.confirm(0, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaFailedError):
        delivery.pump()
    assert not message.done


def test_acknowledged_when_kafka_has_it_and_in_order(producer: FakeProducer, delivery: Delivery) -> None:
    client = FakeClient()
    bridge = Bridge(client, delivery, mqtt=MqttSettings(), kafka=KAFKA, settings=BridgeSettings())  # type: ignore[arg-type]
    for mid, qos in ((1, 1), (2, 1), (0, 0), (3, 1)):
        message = SimpleNamespace(topic=TOPIC, payload=b"{}", mid=mid, qos=qos, retain=False)
        bridge._on_message(None, None, message)  # type: ignore[arg-type]
    delivery.pump()
    producer.confirm(1)
    delivery.pump()
    bridge._acknowledge()
    assert client.acked == []
    producer.confirm(0)
    delivery.pump()
    bridge._acknowledge()
    assert client.acked == [1, 2]


def test_nothing_of_a_lost_connection_is_acknowledged(producer: FakeProducer, delivery: Delivery) -> None:
    client = FakeClient()
    bridge = Bridge(client, delivery, mqtt=MqttSettings(), kafka=KAFKA, settings=BridgeSettings())  # type: ignore[arg-type]
    message = SimpleNamespace(topic=TOPIC, payload=b"{}", mid=7, qos=1, retain=False)
    bridge._on_message(None, None, message)  # type: ignore[arg-type]
    delivery.pump()
    bridge._on_disconnect(None, None, None, SimpleNamespace(is_failure=True), None)  # type: ignore[arg-type]
    producer.confirm(0)
    delivery.pump()
    bridge._acknowledge()
    assert client.acked == []
    assert not bridge.ready


def test_what_mosquitto_dropped_is_a_metric_and_no_message(producer: FakeProducer, delivery: Delivery) -> None:
    bridge = Bridge(FakeClient(), delivery, mqtt=MqttSettings(), kafka=KAFKA, settings=BridgeSettings())  # type: ignore[arg-type]
    message = SimpleNamespace(topic=DROPPED, payload=b"42", mid=0, qos=0, retain=True)
    bridge._on_message(None, None, message)  # type: ignore[arg-type]
    delivery.pump()
    assert producer.produced == []
    assert REGISTRY.get_sample_value("faces2_mosquitto_dropped") == 42


def test_every_controller_that_is_named_is_heard(delivery: Delivery) -> None:
    heard: list[bytes] = []
    bridge = Bridge(
        FakeClient(),  # type: ignore[arg-type]
        delivery,
        mqtt=MqttSettings(),
        kafka=KAFKA,
        settings=BridgeSettings(),
        silence=SimpleNamespace(heard=heard.append),  # type: ignore[arg-type]
    )
    for topic in (TOPIC, "tele/f2-aabbccddee02/rubbish", "tele/who/sensor-mode/J1/sensor-1"):
        message = SimpleNamespace(topic=topic, payload=b"{}", mid=1, qos=1, retain=False)
        bridge._on_message(None, None, message)  # type: ignore[arg-type]
    assert heard == [b"aabbccddee01", b"aabbccddee02"]
