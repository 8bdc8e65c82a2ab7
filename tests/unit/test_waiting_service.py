"""The part `waiting` on a Kafka that is a list: what it sends, what it keeps, what a restart makes of it."""

import threading
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from faces2.dead_letters import waiting
from faces2.dead_letters.trace import Trace
from faces2.io import kafka_topic
from faces2.io.kafka_topic import Held, KafkaAwayError, Topic
from faces2.models.metadata import Snapshot
from faces2.models.metadata_rows import build_snapshot
from faces2.service import metrics
from faces2.service.settings import KafkaSettings, WaitingSettings

KAFKA = KafkaSettings()
MAC = "aabbccddee01"


class Message:
    """A record as the consumer gives it."""

    def __init__(self, offset: int, value: bytes | None, headers: Any, error: int | None = None) -> None:
        self._offset, self._value, self._headers, self._error = offset, value, headers, error

    def error(self) -> KafkaError | None:
        return None if self._error is None else KafkaError(self._error)

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return MAC.encode()

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Any:
        return self._headers


class World:
    """One partition of dead letters, the raw topic, the trace, the metadata and the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.stop, self.id = 0.0, threading.Event(), "id"
        self.letters: list[Message] = []
        self.sent: list[tuple[str, bytes, bytes]] = []
        self.refuse: set[bytes] = set()
        self.kept: int | None = None
        self.away = False
        self.known: list[int] = []
        monkeypatch.setattr(waiting, "describe", lambda *_: self.topic())
        monkeypatch.setattr(waiting, "identify", lambda *_: (self.id, [0]))
        monkeypatch.setattr(waiting, "load_trace", lambda *_: self.trace())
        monkeypatch.setattr(waiting, "read", self.read)
        monkeypatch.setattr(waiting, "consumer", lambda *_: self.tail())
        monkeypatch.setattr(waiting, "Sender", lambda *_: self.sender())

    def put(self, *positions: int, reason: str = "unknown_device") -> None:
        for position in positions:
            value = orjson.dumps(
                {"device_mac": MAC, "mode": "sensor-mode", "connector": "J1", "component": f"sensor-{position}"}
                | {"payload": len(self.letters)}
            )
            headers = [("reason", reason.encode()), ("topic", KAFKA.raw_topic.encode())]
            self.letters.append(Message(len(self.letters), value, headers))

    def part(self) -> "waiting.Waiting":
        return waiting.Waiting(KAFKA, WaitingSettings(), self.snapshot, stop=self.stop, clock=lambda: self.now)

    def after(self, part: "waiting.Waiting", *seconds: float) -> None:
        for each in seconds:
            self.now += each
            part._turn()

    def frames(self) -> list[int]:
        """The numbers of the letters whose frames were sent, in order."""
        return [orjson.loads(value)["payload"] for topic, _, value in self.sent if topic == KAFKA.raw_topic]

    # --- what the part sees

    def topic(self) -> Topic:
        return Topic(KAFKA.dead_letter_topic, self.id, {0: Held(0, len(self.letters))})

    def trace(self) -> Trace:
        trace = Trace("id")
        for topic, key, value in self.sent:
            if topic == KAFKA.replay_topic:
                trace.add(key, value)
        return trace

    def read(self, _: KafkaSettings, __: str, ranges: Mapping[int, Held]) -> Iterator[list[Message]]:
        for letter in self.letters[ranges[0].start : ranges[0].stop]:
            yield [letter]

    def snapshot(self) -> Snapshot:
        return build_snapshot(1, [], [(MAC, 1, position, position, "s", 1, 0) for position in self.known])

    def tail(self) -> Any:
        place = [0]

        def consume(*_: object) -> list[Message]:
            messages = self.letters[place[0] :]
            place[0] = len(self.letters)
            return [*messages, Message(place[0], None, None, KafkaError._PARTITION_EOF)]

        def assign(parts: list[TopicPartition]) -> None:
            place[0] = parts[0].offset

        def commit(offsets: list[TopicPartition], asynchronous: bool) -> None:
            self.kept = offsets[0].offset

        committed = lambda parts, timeout: [TopicPartition("t", 0, -1001 if self.kept is None else self.kept)]  # noqa: E731
        return SimpleNamespace(consume=consume, assign=assign, commit=commit, committed=committed, close=lambda: None)

    def sender(self) -> Any:
        queued: list[tuple[tuple[str, bytes, bytes], Any]] = []

        def confirm() -> list[Any]:
            if self.away:
                raise KafkaAwayError("away")
            self.sent += [record for record, _ in queued if record[2] not in self.refuse]
            refused = [token for record, token in queued if record[2] in self.refuse]
            queued.clear()
            return refused

        def send(topic: str, key: bytes, value: bytes, token: Any = None) -> None:
            queued.append(((topic, key, value), token))

        return SimpleNamespace(send=send, confirm=confirm)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def count(metric: Any, *labels: str) -> float:
    return float((metric.labels(*labels) if labels else metric)._value.get())


def test_the_frames_of_a_pin_that_is_known_go_back_and_no_others(world: World) -> None:
    world.put(1, 2, 1)
    world.put(1, reason="bad_hex")
    part = world.part()
    world.after(part, 0, 1)
    assert (count(metrics.WAITING_FRAMES), count(metrics.WAITING_PINS)) == (3, 2)
    world.known = [1]
    world.after(part, 1, 3)
    assert world.frames() == []
    world.after(part, 1)
    assert world.frames() == [0, 2]
    assert (count(metrics.WAITING_FRAMES), count(metrics.WAITING_PINS)) == (1, 1)
    world.known = [1, 2]
    world.after(part, 1, 4)
    assert world.frames() == [0, 2, 1]
    world.after(part, *[10] * 10)
    assert world.frames() == [0, 2, 1]


def test_what_comes_back_is_sent_again_later(world: World) -> None:
    world.put(1)
    world.known = [1]
    part = world.part()
    world.after(part, 0, 1, 4)
    world.put(1)
    world.after(part, 4)
    assert world.frames() == [0]
    world.after(part, 4)
    assert world.frames() == [0, 1]


def test_a_restart_sends_nothing_twice_and_goes_on_where_something_waits(world: World) -> None:
    world.put(1, 2, 1)
    world.known = [1]
    part = world.part()
    world.after(part, 0, 1, 4, 10)
    assert (world.frames(), world.kept) == ([0, 2], 1)
    skipped = count(metrics.WAITING_SKIPPED, "replayed")
    again = world.part()
    world.after(again, 0, 1, 4, 10)
    assert world.frames() == [0, 2]
    assert count(metrics.WAITING_SKIPPED, "replayed") == skipped + 1
    world.known = [1, 2]
    world.after(again, 1, 4, 10)
    assert (world.frames(), world.kept) == ([0, 2, 1], 3)


def test_ended_in_the_middle_it_goes_on_behind_the_last_confirmed_frame(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "CHUNK", 2)
    world.put(*[1] * 5)
    world.known = [1]
    part = world.part()
    world.after(part, 0, 1)
    world.now += 4
    before = count(metrics.REPLAYED)
    world.stop.set()
    part._turn()
    assert world.frames() == [0]
    world.stop.clear()
    world.after(world.part(), 0, 1, 4)
    assert world.frames() == [0, 1, 2, 3, 4]
    assert count(metrics.REPLAYED) == before + 5


def test_no_trace_of_frames_that_kafka_did_not_confirm(world: World) -> None:
    world.put(1)
    world.known = [1]
    part = world.part()
    world.after(part, 0, 1)
    world.away = True
    with pytest.raises(KafkaAwayError):
        world.after(part, 4)
    world.away = False
    world.after(world.part(), 0, 1, 4)
    assert world.frames() == [0]


def test_a_frame_too_large_for_the_raw_topic_stays_a_dead_letter(world: World) -> None:
    world.put(1, 1)
    world.known = [1]
    world.refuse = {world.letters[0].value() or b""}
    skipped, replayed = count(metrics.WAITING_SKIPPED, "too_large"), count(metrics.REPLAYED)
    world.after(world.part(), 0, 1, 4, 20, 40)
    assert world.frames() == [1]
    assert count(metrics.WAITING_SKIPPED, "too_large") == skipped + 1
    assert count(metrics.REPLAYED) == replayed + 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reason": "bad_hex"}, "other_reason"),
        ({"topic": "elsewhere"}, "other_topic"),
        ({"value": b"{"}, "no_pin"),
    ],
)
def test_what_does_not_wait_is_counted_by_why(world: World, change: dict[str, Any], reason: str) -> None:
    world.put(1)
    (letter,) = world.letters
    said = {"reason": "unknown_device", "topic": KAFKA.raw_topic, "value": letter.value()} | change
    headers = [(name, said[name].encode()) for name in ("reason", "topic")]
    world.letters = [Message(0, said["value"], headers)]
    before = count(metrics.WAITING_SKIPPED, reason)
    world.after(world.part(), 0, 1)
    assert count(metrics.WAITING_SKIPPED, reason) == before + 1
    assert count(metrics.WAITING_FRAMES) == 0


def test_a_topic_that_was_made_anew_is_begun_anew(world: World) -> None:
    world.put(1)
    part = world.part()
    world.id = "other"
    with pytest.raises(KafkaAwayError, match="another topic now"):
        world.after(part, 0, 10)


# --- Kafka itself


def test_a_stretch_of_a_partition_ends_where_it_should() -> None:
    ranges, left = {0: Held(2, 5)}, {0}
    assert kafka_topic._wanted(Message(3, b"", None), ranges, left)  # type: ignore[arg-type]
    assert left == {0}
    assert kafka_topic._wanted(Message(4, b"", None), ranges, left)  # type: ignore[arg-type]
    assert not left
    assert not kafka_topic._wanted(Message(5, b"", None), ranges, left)  # type: ignore[arg-type]
    left = {0}
    end = Message(4, None, None, KafkaError._PARTITION_EOF)  # compaction took the rest
    assert not kafka_topic._wanted(end, ranges, left)  # type: ignore[arg-type]
    assert not left


def test_an_error_is_no_record() -> None:
    with pytest.raises(KafkaException):
        kafka_topic.is_record(Message(0, None, None, KafkaError._TRANSPORT))  # type: ignore[arg-type]


class Producer:
    """Is full at every third record; calls back with `errors` by value when it is flushed."""

    def __init__(self, errors: dict[bytes, int]) -> None:
        self.errors, self.tries, self.sent = errors, 0, list[tuple[bytes, Any]]()

    def produce(self, topic: str, value: bytes, key: bytes, on_delivery: Any) -> None:
        self.tries += 1
        if self.tries % 3 == 0:
            raise BufferError
        self.sent.append((value, on_delivery))

    def poll(self, _: float) -> int:
        return 0

    def flush(self, _: float) -> int:
        for value, on_delivery in self.sent:
            if value in self.errors:
                on_delivery(KafkaError(self.errors[value]), None)
        self.sent = []
        return 0


def test_what_is_too_large_is_told_apart_from_what_failed() -> None:
    producer = Producer({b"1": KafkaError.MSG_SIZE_TOO_LARGE})
    sender = kafka_topic.Sender(KAFKA, lambda _: producer)  # type: ignore[arg-type,return-value]
    for number in range(5):
        sender.send("t", b"k", b"%d" % number, number)
    assert len(producer.sent) == 5
    assert sender.confirm() == [1]
    assert sender.confirm() == []
    producer.errors = {b"x": KafkaError._MSG_TIMED_OUT}
    sender.send("t", b"k", b"x")
    with pytest.raises(KafkaAwayError, match="did not take a record"):
        sender.confirm()
