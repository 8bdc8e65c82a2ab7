"""A controller's queue against a broker that accepts, refuses, has nobody to give to, or is away; and the schedules."""

import ssl
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from faces2.models.frame import Datapoint
from faces2.models.metadata import PinKey, Sensor, Template
from faces2.simulator.controller import Controller, Counts
from faces2.simulator.main import report
from faces2.simulator.schedule import AtRate, EveryInterval, Sender
from faces2.simulator.sources import EventSource, Message, SensorSource

MAC = "aabbccddee01"
SENSOR = Sensor(7, "T", Template(1, (Datapoint(1, "Temperature", 3, 2, "Int16", 2),)))


class Broker:
    """Stands in for paho's client: keeps what is published until the test answers it."""

    def __init__(self) -> None:
        self.published: dict[int, str] = {}
        self._mids = iter(range(1, 1_000_000))

    def publish(self, topic: str, payload: bytes, qos: int) -> Any:
        mid = next(self._mids)
        self.published[mid] = topic
        return SimpleNamespace(mid=mid, rc=MQTTErrorCode.MQTT_ERR_SUCCESS)

    def want_write(self) -> bool:
        return False


class Bench:
    """A controller, its broker, and a clock that the test moves."""

    def __init__(self, queue_size: int = 10_000) -> None:
        self.now = 0.0
        self.acknowledged: list[str] = []
        self.counts = Counts()
        self.controller = Controller(
            MAC,
            broker=("127.0.0.1", 1),
            tls=ssl.create_default_context,
            queue_size=queue_size,
            acknowledged=lambda message: self.acknowledged.append(message.topic),
            counts=self.counts,
            clock=lambda: self.now,
        )
        self.broker = Broker()
        self.controller._client = self.broker  # type: ignore[assignment]

    def offer(self, *topics: object) -> None:
        for topic in topics:
            self.controller.offer(Message(str(topic), b"", 1, SENSOR))

    def connect(self, receive_maximum: int = 1000, code: int = 0) -> None:
        reason = ReasonCode(PacketTypes.CONNACK, identifier=code)
        properties = SimpleNamespace(ReceiveMaximum=receive_maximum)
        self.controller._on_connect(self.broker, None, None, reason, properties)  # type: ignore[arg-type]

    def answer(self, code: int = 0) -> None:
        waiting, self.broker.published = self.broker.published, {}
        for mid in waiting:
            self.controller._on_publish(
                self.broker,  # type: ignore[arg-type]
                None,
                mid,
                ReasonCode(PacketTypes.PUBACK, identifier=code),
                None,
            )


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield Bench()


def test_what_is_offered_offline_is_sent_in_order_when_online(bench: Bench) -> None:
    bench.offer(*range(5))
    bench.controller.send()
    assert bench.broker.published == {}
    bench.connect()
    bench.controller.send()
    assert list(bench.broker.published.values()) == list("01234")
    bench.answer()
    assert bench.acknowledged == list("01234")
    assert (bench.counts.made, bench.counts.acknowledged, bench.counts.frames) == (5, 5, 5)


def test_no_more_in_flight_than_the_broker_allows(bench: Bench) -> None:
    bench.connect(receive_maximum=3)
    bench.offer(*range(5))
    bench.controller.send()
    assert (bench.controller.in_flight, bench.controller.queued) == (3, 2)
    bench.answer()
    bench.controller.send()
    bench.answer()
    assert bench.acknowledged == list("01234")


def test_a_refused_message_is_not_acknowledged(bench: Bench) -> None:
    bench.connect()
    bench.offer("a")
    bench.controller.send()
    bench.answer(135)
    assert (bench.counts.acknowledged, bench.counts.refused, bench.controller.in_flight) == (0, 1, 0)


def test_a_message_that_nobody_was_there_for_is_sent_again_before_newer_ones(bench: Bench) -> None:
    bench.connect()
    bench.offer("a", "b")
    bench.controller.send()
    bench.answer(16)
    assert bench.counts.acknowledged == 0
    assert bench.controller.queued == 2
    bench.now = 1.5
    bench.offer("c")
    bench.controller.send()
    assert list(bench.broker.published.values()) == ["a", "b", "c"]


def test_the_bound_counts_what_is_queued_and_in_flight() -> None:
    bench = Bench(queue_size=3)
    bench.connect(receive_maximum=1)
    bench.offer("a")
    bench.controller.send()
    bench.offer("b", "c", "d")
    assert (bench.counts.made, bench.counts.dropped, bench.controller.queued) == (4, 1, 2)


def test_a_refused_session_is_not_online(bench: Bench) -> None:
    bench.connect(code=135)
    assert not bench.controller.online
    assert not bench.controller.started


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        (Counts(10, 10, 9), "acknowledged 10 of 10 messages (9 sensor frames)"),
        (Counts(10, 7, 6, 2, 1), "acknowledged 7 of 10 messages (6 sensor frames): 2 refused, 1 dropped"),
    ],
)
def test_the_last_line(counts: Counts, line: str) -> None:
    assert report(counts) == line


def senders(bench: Bench, count: int) -> list[Sender]:
    events = EventSource(MAC, 1)
    return [Sender(bench.controller, SensorSource(PinKey(MAC, 1, i + 1), SENSOR, 1), events) for i in range(count)]


def test_every_interval_is_spread_and_skips_missed_rounds(bench: Bench) -> None:
    schedule = EveryInterval(senders(bench, 4), interval=4.0, start=0.0)
    assert list(schedule.due(0.0)) == []  # not online yet: no frame
    bench.connect()
    assert [len(list(schedule.due(now))) for now in (0.5, 1.0, 2.0, 3.0, 4.0, 5.0)] == [0, 1, 1, 1, 1, 1]
    assert len(list(schedule.due(1000.0))) == 4
    assert len(list(schedule.due(1000.5))) == 0
    assert schedule.wait(1000.5) <= 1.0


def test_the_rate_holds_and_waits_for_a_slow_broker(bench: Bench) -> None:
    schedule = AtRate(senders(bench, 3), rate=100.0, start=0.0)
    assert list(schedule.due(0.5)) == []
    bench.connect(receive_maximum=10)
    assert len(list(schedule.due(1.0))) == 100
    assert len(list(schedule.due(1.1))) == 10
    bench.offer(*range(20))
    assert list(schedule.due(1.2)) == []
