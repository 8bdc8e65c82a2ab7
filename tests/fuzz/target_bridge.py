"""MQTT topics and payloads into the bridge: a raw record of what was sent, or the same bytes as a dead letter."""

from collections import Counter
from datetime import UTC, datetime
from random import Random
from typing import Any

import orjson

from faces2.bridge.delivery import Delivery, Taken
from faces2.bridge.records import Publish, Record, record_of
from faces2.models.dead_letter import Reason
from faces2.models.messages import MAX_PAYLOAD_BYTES
from faces2.service.metrics import DEAD_LETTERS
from faces2.service.settings import KafkaSettings
from tests.fuzz import fleet, mutations, plain
from tests.fuzz.counters import grows
from tests.fuzz.engine import Case

RECEIVED = datetime(2026, 1, 1, tzinfo=UTC)
KAFKA = KafkaSettings()


class FakeProducer:
    """Confirms everything at the next poll."""

    def __init__(self) -> None:
        self._waiting: list[Any] = []

    def produce(self, _topic: str, _value: bytes, _key: bytes, headers: Any, on_delivery: Any) -> None:
        assert all(isinstance(text, bytes) for _, text in headers)
        self._waiting.append(on_delivery)

    def poll(self, _seconds: float) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call(None, None)


class Bridge:
    """(topic, payload), the topic as bytes where it is no UTF-8."""

    name = "bridge"
    batch = 1000

    def cases(self, rng: Random, count: int) -> list[Case]:
        """Good messages, and such with another topic or payload."""
        return [(_topic(rng), _payload(rng)) for _ in range(count)]

    def check(self, cases: list[Case]) -> Counter[str]:
        """Each against the plain reading; the reasons against the counter."""
        records = [record_of(Publish(topic, payload), RECEIVED, KAFKA) for topic, payload in cases]
        for (topic, payload), record in zip(cases, records, strict=True):
            _compare(topic, payload, record)
        reasons = Counter(record.reason for record in records)
        with grows(DEAD_LETTERS, {(reason, "bridge"): n for reason, n in reasons.items() if reason}):
            delivery = Delivery(lambda _: FakeProducer(), KAFKA, lambda: RECEIVED)  # type: ignore[arg-type, return-value]
            for record in records:
                delivery.take(Taken(1, record))
            delivery.pump()
        return Counter({str(reason or "raw record"): n for reason, n in reasons.items()})


def _topic(rng: Random) -> str | bytes:
    topic, kind = fleet.topic(rng), rng.random()
    if kind < 0.7:
        return topic
    if kind < 0.85:
        return mutations.text(rng, topic)
    rubbish = mutations.data(rng, topic.encode())
    try:
        return rubbish.decode()
    except UnicodeDecodeError:
        return rubbish


def _payload(rng: Random) -> bytes:
    content, kind = fleet.payload(rng), rng.random()
    if kind < 0.2:
        return mutations.dumped(content)
    if kind < 0.6:
        return mutations.dumped(mutations.document(rng, content))
    if kind < 0.65:
        return mutations.dumped(mutations.value(rng))
    if kind < 0.66:
        return b'{"data":"%b"}' % (b"0" * (MAX_PAYLOAD_BYTES - 12 + rng.randrange(4)))
    return mutations.data(rng, mutations.dumped(content))


def _compare(topic: str | bytes, payload: bytes, record: Record) -> None:
    try:
        expected = _expected(topic, payload)
    except plain.RefusedError as refused:
        assert record.reason is refused.reason
        headers = dict(record.headers)
        assert (record.topic, record.value) == (KAFKA.dead_letter_topic, payload)
        assert (headers["reason"], headers["step"]) == (str(record.reason).encode(), b"bridge")
        assert headers["topic"] == (topic.encode() if isinstance(topic, str) else headers["topic"])
        assert len(headers["detail"] or b"") < 2000
        return
    if plain.is_deep(payload) and record.reason is Reason.BAD_MESSAGE:
        return  # it can be read, and not be written into a record
    assert record.reason is None, dict(record.headers)
    assert isinstance(topic, str)
    kind, device, mode, connector, component = topic.split("/")
    written = orjson.loads(record.value)
    assert (record.topic, record.key) == (KAFKA.raw_topic, device[3:].encode())
    assert written["payload"] == expected
    assert (written["topic"], written["topic_type"], written["device_mac"]) == (topic, kind, device[3:])
    assert (written["mode"], written["connector"], written["component"]) == (mode, connector, component)


def _expected(topic: str | bytes, payload: bytes) -> dict[str, Any]:
    if isinstance(topic, bytes):
        raise plain.RefusedError(Reason.BAD_UTF8)
    if not plain.is_topic(topic):
        raise plain.RefusedError(Reason.FOREIGN_TOPIC)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise plain.RefusedError(Reason.TOO_LARGE)
    content = plain.read_json(payload)
    if not isinstance(content, dict):
        raise plain.RefusedError(Reason.BAD_MESSAGE)
    return content
