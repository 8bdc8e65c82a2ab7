"""Dead letters as a tool: which are meant, where they go back to, what the trace knows, what is sent only once."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faces2.dead_letters.filters import Device, Filter, parse_device, parse_time
from faces2.dead_letters.hashes import FRESH, Hashes
from faces2.dead_letters.letter import Letter, mac_of
from faces2.dead_letters.origin import NoWayBackError, Outgoing, fingerprint, outgoing
from faces2.dead_letters.replay import Replay, Selection
from faces2.dead_letters.show import decoded, described, shown
from faces2.dead_letters.stats import KEYS, By, Count
from faces2.dead_letters.trace import Trace, letter_entry, pin_entry
from faces2.models.clock import parse_timestamp
from faces2.models.dead_letter import DeadLetter, Reason
from faces2.models.messages import RawMessage, raw_message
from faces2.models.metadata import PinKey
from faces2.models.metadata_rows import build_snapshot
from faces2.service.settings import KafkaSettings

KAFKA = KafkaSettings()
TOPICS = {KAFKA.raw_topic, KAFKA.processed_topic, KAFKA.dead_letter_topic, KAFKA.replay_topic}
MAC = "aabbccddee01"
MQTT = f"tele/f2-{MAC}/sensor-mode/J1/sensor-2"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FRAME = "01 03 0C 32 30 32 30 36 32 38 30 31 30 31 5B 18 28 01"
PAYLOAD = orjson.dumps({"timestamp": "2026-01-02 03:04:05.5", "data": FRAME})


def letter(offset: int = 0, value: bytes | None = None, mqtt: str = MQTT, **others: Any) -> Letter:
    """A letter of the pipeline for a frame that came on `mqtt`."""
    content = raw_message(mqtt, PAYLOAD, 1, False, AT).to_json() if value is None else value
    fields = {"value": content, "key": MAC.encode(), "reason": Reason.UNKNOWN_DEVICE, "detail": "", "step": "Enrich"}
    fields |= {"topic": KAFKA.raw_topic, "failed_at": AT.isoformat()} | others
    dead = DeadLetter(**fields)
    return Letter(0, offset, dead.key, dead.value, {name: text.decode() for name, text in dead.headers()})


def of_bridge(value: bytes = PAYLOAD, topic: str = MQTT, reason: Reason = Reason.BAD_JSON) -> Letter:
    return letter(value=value, topic=topic, step="bridge", reason=reason)


# --- which letters are meant


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("AA:BB:CC:DD:EE:01", Device(MAC)),
        ("aa-bb-cc-dd-ee-01", Device(MAC)),
        (MAC, Device(MAC)),
        ("f2-AABBCCDDEE01", Device(MAC)),
        (f"tele/f2-{MAC}", Device(MAC)),
        (MQTT, Device(MAC, MQTT)),
        (MQTT.replace("J1", "1"), Device(MAC, MQTT)),
    ],
)
def test_a_device_in_any_spelling(text: str, device: Device) -> None:
    assert parse_device(text) == device


@pytest.mark.parametrize("text", ["", "aabb", f"{MAC}00", "tele/f2-x/sensor-mode/J1/sensor-1"])
def test_what_is_no_device_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no MAC address"):
        parse_device(text)


def test_times() -> None:
    assert parse_time("2026-01-02") == datetime(2026, 1, 2, tzinfo=UTC)
    assert parse_time("2026-01-02T03:04:05+02:00") == AT - timedelta(hours=2)
    with pytest.raises(ValueError, match="'yesterday' is not ISO 8601"):
        parse_time("yesterday")


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (Filter(), True),
        (Filter(frozenset({"bad_hex", "unknown_device"})), True),
        (Filter(frozenset({"bad_hex"})), False),
        (Filter(device=Device(MAC)), True),
        (Filter(device=Device("aabbccddee02")), False),
        (Filter(device=Device(MAC, MQTT)), True),
        (Filter(device=Device(MAC, MQTT.replace("sensor-2", "sensor-1"))), False),
        (Filter(since=AT), True),
        (Filter(since=AT + timedelta(microseconds=1)), False),
        (Filter(until=AT), False),
        (Filter(until=AT + timedelta(microseconds=1)), True),
        (Filter(frozenset({"unknown_device"}), Device(MAC), AT, AT + timedelta(1)), True),
    ],
)
def test_filters(wanted: Filter, matches: bool) -> None:
    assert wanted.matches(letter()) is matches
    assert wanted.matches(letter(mqtt=MQTT.replace("J1", "1"))) is matches


def test_without_a_time_it_is_of_no_time() -> None:
    assert not Filter(since=AT).matches(letter(failed_at="soon"))
    assert not Filter(until=AT).matches(Letter(0, 0, None, None, {}))
    assert Filter().matches(Letter(0, 0, None, None, {}))


@pytest.mark.parametrize(
    ("dead", "mac"),
    [
        (letter(), MAC),
        (letter(key=None), MAC),
        (letter(key=b"5:1", value=b'{"device_id": 5}'), None),
        (letter(key=None, value=b"[1]"), None),
        (of_bridge(b"{rubbish")._replace(key=None), MAC),
        (Letter(0, 0, b"\xff" * 12, None, {}), None),
    ],
)
def test_the_device_of_a_letter(dead: Letter, mac: str | None) -> None:
    assert mac_of(dead) == mac
    assert Filter(device=Device(MAC)).matches(dead) is (mac == MAC)


# --- where they go back to


def test_original_bytes_go_back_to_their_topic() -> None:
    dead = letter(value=b"\xff rubbish")
    assert outgoing(dead, KAFKA, TOPICS) == (KAFKA.raw_topic, MAC.encode(), b"\xff rubbish")
    reading = letter(value=b"{", key=b"5:1", topic=KAFKA.processed_topic)
    assert outgoing(reading, KAFKA, TOPICS) == (KAFKA.processed_topic, b"5:1", b"{")


def test_a_payload_of_the_bridge_goes_back_as_the_raw_message_that_it_makes_now() -> None:
    topic, key, value = outgoing(of_bridge(), KAFKA, TOPICS)
    assert (topic, key) == (KAFKA.raw_topic, MAC.encode())
    message = RawMessage.model_validate_json(value or b"")
    assert (message.topic, message.timestamp) == (MQTT, AT)
    assert message.payload["data"] == FRAME


@pytest.mark.parametrize(
    ("dead", "why"),
    [
        (of_bridge(b"{rubbish"), "the bridge would refuse it again: bad_json"),
        (of_bridge(topic="tele/elsewhere"), "no topic of a controller"),
        (of_bridge(topic=KAFKA.raw_topic, reason=Reason.TOO_LARGE), "only its beginning is kept"),
        (of_bridge()._replace(headers={"step": "bridge", "topic": MQTT}), "does not say when"),
        (Letter(0, 0, None, b"{}", {}), "does not say which topic"),
        (letter(topic="no-such-topic"), "its topic no-such-topic does not exist"),
        (letter(topic=KAFKA.dead_letter_topic), "which nothing is sent back to"),
        (letter(topic=KAFKA.replay_topic), "which nothing is sent back to"),
    ],
)
def test_no_way_back(dead: Letter, why: str) -> None:
    with pytest.raises(NoWayBackError, match=why):
        outgoing(dead, KAFKA, TOPICS)


@given(st.tuples(st.none() | st.binary(max_size=3), st.none() | st.binary(max_size=3)), st.data())
def test_fingerprints_tell_records_apart(record: tuple[bytes | None, bytes | None], data: st.DataObject) -> None:
    other = data.draw(st.tuples(st.none() | st.binary(max_size=3), st.none() | st.binary(max_size=3)))
    same = (record[0], record[1] or b"") == (other[0], other[1] or b"")
    assert (fingerprint(*record) == fingerprint(*other)) is same


# --- the trace


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50), st.integers(0, 2**64 - 1))
def test_a_set_of_numbers(numbers: list[int], other: int) -> None:
    held = Hashes()
    for number in numbers:
        held.add(number)
    assert all(number in held for number in numbers)
    assert (other in held) is (other in numbers)


def test_a_large_set_of_numbers() -> None:
    held = Hashes()
    for number in range(0, 5 * FRESH, 2):
        held.add(number)
    assert all((number in held) is (number % 2 == 0) for number in range(0, 5 * FRESH, 997))


def sent(dead: Letter) -> Outgoing:
    return outgoing(dead, KAFKA, TOPICS)


def test_the_trace_knows_when_a_letter_was_replayed() -> None:
    trace = Trace("id")
    trace.add(*letter_entry(letter(7), sent(letter(7)), "id", "run", AT))
    trace.add(*letter_entry(letter(3), sent(letter(3)), "id", "run", AT))
    trace.add(*letter_entry(letter(7), sent(letter(7)), "id", "run", AT + timedelta(1)))
    assert trace.replayed_at(letter(7)) == AT + timedelta(1)
    assert trace.replayed_at(letter(3)) == AT
    assert trace.replayed_at(letter(4)) is None
    assert trace.replayed_at(letter(7)._replace(partition=1)) is None
    assert fingerprint(letter().key, letter().value) in trace.hashes


def test_the_trace_says_what_was_sent() -> None:
    key, value = letter_entry(letter(7), sent(letter(7)), "id", "run", AT)
    assert key == b"0:7"
    entry = orjson.loads(value)
    assert entry.pop("hash") == f"{fingerprint(letter().key, letter().value):016x}"
    assert entry == {"at": "2026-01-02T03:04:05Z", "run": "run", "of": "id", "topic": KAFKA.raw_topic}


def test_a_pin_s_mark_covers_its_letters_before_it() -> None:
    trace, pin = Trace("id"), PinKey(MAC, 1, 2)
    trace.add(*pin_entry(pin, {0: 5}, "id", "waiting", AT))
    trace.add(*pin_entry(pin, {0: 4, 1: 9}, "id", "waiting", AT))
    assert trace.marks[pin].offsets == {0: 5, 1: 9}
    assert trace.replayed_at(letter(4)) == AT
    assert trace.replayed_at(letter(5)) is None
    assert trace.replayed_at(letter(4, mqtt=MQTT.replace("sensor-2", "sensor-3"))) is None
    assert trace.replayed_at(letter(4, reason=Reason.BAD_HEX)) is None
    assert trace.replayed_at(letter(4, value=b"rubbish")) is None


def test_offsets_of_a_topic_that_was_made_anew_mean_other_letters() -> None:
    trace = Trace("new")
    trace.add(*letter_entry(letter(7), sent(letter(7)), "old", "run", AT))
    trace.add(*pin_entry(PinKey(MAC, 1, 2), {0: 5}, "old", "waiting", AT))
    assert trace.replayed_at(letter(7)) is None
    assert not trace.marks


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"0:1", None),
        (b"0:1", b"{"),
        (b"0:1", b"[]"),
        (b"0:1", b'{"of": "id"}'),
        (b"x", b'{"of": "id", "at": "2026-01-01", "hash": "00"}'),
        (None, b'{"of": "id", "at": "2026-01-01", "hash": "00"}'),
        (b"0:1", b'{"of": "id", "at": "2026-01-01", "hash": "zz"}'),
        (b"0:1", b'{"of": "id", "at": "2026-01-01", "hash": "00000000000000000001"}'),
        (b"0:1", b'{"of": "id", "at": 5, "hash": "00"}'),
        (b"x/y", b'{"of": "id", "at": "2026-01-01", "offsets": {"0": 5}}'),
        (b"aabbccddee01/1/2", b'{"of": "id", "at": "2026-01-01", "offsets": [5]}'),
    ],
)
def test_what_is_no_trace_says_nothing(key: bytes | None, value: bytes | None) -> None:
    trace = Trace("id")
    trace.add(key, value)
    assert trace.replayed_at(letter(1)) is None
    assert not trace.marks


# --- what is sent


class FakeSender:
    """Keeps what is sent; `refuse` are values that are too large for Kafka; `away` fails the confirmation."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, bytes | None]] = []
        self.confirmed = 0
        self.refuse: set[bytes | None] = set()
        self.away = False
        self._refused: list[Any] = []

    def send(self, topic: str, key: bytes | None, value: bytes | None, token: Any = None) -> None:
        if value in self.refuse:
            self._refused.append(token)
        else:
            self.sent.append((topic, key, value))

    def confirm(self) -> list[Any]:
        if self.away:
            raise OSError("away")
        self.confirmed = len(self.sent)
        refused, self._refused = self._refused, []
        return refused

    def to(self, topic: str) -> list[tuple[bytes | None, bytes | None]]:
        return [(key, value) for where, key, value in self.sent if where == topic]


class World:
    """A dead letter topic that is replayed, with the trace that comes of it."""

    def __init__(self) -> None:
        self.sender = FakeSender()
        self.letters: list[Letter] = []

    def put(self, *letters: Letter) -> None:
        for dead in letters:
            self.letters.append(dead._replace(offset=len(self.letters)))

    def replay(self, again: bool = False, dry_run: bool = False, stop: threading.Event | None = None) -> Any:
        trace = Trace("id")
        for entry in self.sender.to(KAFKA.replay_topic):
            trace.add(*entry)
        selection = Selection(trace, KAFKA, TOPICS, again)
        work = Replay(selection, self.sender, KAFKA, "id", dry_run=dry_run, now=lambda: AT)  # type: ignore[arg-type]
        work.run(([dead] for dead in self.letters), stop or threading.Event())
        return selection.outcome


A, B = letter(value=b'{"a": 1}'), letter(value=b'{"b": 1}')


def test_a_second_replay_sends_nothing_new() -> None:
    world = World()
    world.put(A, B)
    assert world.replay().sent == {KAFKA.raw_topic: 2}
    assert world.sender.to(KAFKA.raw_topic) == [(A.key, A.value), (B.key, B.value)]
    second = world.replay()
    assert (second.sent, second.replayed_before) == ({}, 2)
    third = world.replay(again=True)
    assert third.sent == {KAFKA.raw_topic: 2}


def test_what_fails_again_is_no_endless_loop() -> None:
    world = World()
    world.put(A)
    world.replay()
    world.put(A, B)  # A came back
    outcome = world.replay()
    assert (outcome.sent, outcome.replayed_before, outcome.came_back) == ({KAFKA.raw_topic: 1}, 1, 1)
    assert world.replay(again=True).sent == {KAFKA.raw_topic: 2}, "the same bytes once a run"


def test_what_came_in_by_itself_is_not_sent_again() -> None:
    world = World()
    world.put(letter())
    world.sender.send(KAFKA.replay_topic, *pin_entry(PinKey(MAC, 1, 2), {0: 1}, "id", "waiting", AT))
    assert world.replay().replayed_before == 1


def test_a_dry_run_sends_nothing_and_counts_all() -> None:
    world = World()
    world.put(A, B, A)
    outcome = world.replay(dry_run=True)
    assert (outcome.sent, outcome.came_back) == ({KAFKA.raw_topic: 2}, 1)
    assert world.sender.sent == []


def test_what_can_not_be_replayed_is_counted_by_why() -> None:
    world = World()
    world.put(of_bridge(b"{1"), of_bridge(b"{2"), letter(topic="gone"), of_bridge())
    outcome = world.replay()
    assert outcome.sent == {KAFKA.raw_topic: 1}
    assert outcome.no_way_back == {
        "the bridge would refuse it again: bad_json": 2,
        "its topic gone does not exist": 1,
    }
    assert outcome.first_without == {
        "the bridge would refuse it again: bad_json": "0:0",
        "its topic gone does not exist": "0:2",
    }


def test_what_kafka_refuses_for_its_size_has_no_trace() -> None:
    world = World()
    world.put(A, B)
    world.sender.refuse = {A.value}
    outcome = world.replay()
    assert outcome.sent == {KAFKA.raw_topic: 1}
    assert outcome.no_way_back == {"Kafka refuses it for its size": 1}
    assert [key for key, _ in world.sender.to(KAFKA.replay_topic)] == [b"0:1"]


def test_no_trace_before_kafka_has_the_frame() -> None:
    world = World()
    world.put(A)
    world.sender.away = True
    with pytest.raises(OSError, match="away"):
        world.replay()
    assert world.sender.to(KAFKA.replay_topic) == []
    world.sender.away = False
    assert world.replay().sent == {KAFKA.raw_topic: 1}


def test_interrupted_it_goes_on_behind_what_was_sent() -> None:
    world, stop = World(), threading.Event()
    world.put(A, B)
    stop.set()
    assert world.replay(stop=stop).sent == {KAFKA.raw_topic: 1}
    outcome = world.replay()
    assert (outcome.sent, outcome.replayed_before) == ({KAFKA.raw_topic: 1}, 1)
    assert len(world.sender.to(KAFKA.raw_topic)) == 2


# --- what is shown


SNAPSHOT = build_snapshot(
    4,
    [(1, 1, "Temperature", 3, 2, "Int16", 2, "°C"), (1, 2, "Far", 30, 2, "Int16", 0, "")],
    [(MAC, 1, 2, 5, "Lobby air", 1, 0), (MAC, 1, 3, 6, "Empty", 2, 0)],
)


@pytest.mark.parametrize(
    ("dead", "said"),
    [
        (
            letter(),
            ["device 5, Lobby air, at 2026-01-02T03:04:05.500000", "1 Temperature 128.48 °C", "2 Far: bytes 30"],
        ),
        (letter(mqtt=MQTT.replace("sensor-2", "sensor-3")), ["device 6, Empty", "template 2 has no datapoints"]),
        (letter(mqtt=MQTT.replace("J1", "J3")), ["(version 4) does not know J3 sensor-2 of aabbccddee01"]),
        (of_bridge(), ["device 5", "128.48", "Far"]),
        (of_bridge(b"{"), ["can not be replayed: the bridge would refuse it again: bad_json"]),
        (letter(value=b"{"), ["does not decode: bad_json, "]),
        (letter(mqtt=f"stat/f2-{MAC}/alarm-mode/J1/siren-1"), ["a message of alarm-mode"]),
        (letter(topic=KAFKA.processed_topic, value=b"{}"), ["processed-iot-data, which holds no frames"]),
    ],
)
def test_what_a_letter_would_decode_to(dead: Letter, said: list[str]) -> None:
    lines = list(decoded(dead, KAFKA, SNAPSHOT, check_crc=False))
    assert len(lines) == len(said)
    for line, part in zip(lines, said, strict=True):
        assert part in line


def test_a_letter_is_shown_whole() -> None:
    lines = list(described(letter(17, value=b'{"a": [1]}', detail="why")))
    assert lines[0] == "dead letter 0:17"
    assert "  detail     why" in lines
    assert f"  key        {MAC}" in lines
    assert lines[-6:] == ["value, 10 bytes", "  {", '    "a": [', "      1", "    ]", "  }"]


def test_what_is_no_json_is_shown_in_hex() -> None:
    assert list(shown(b"\xffABC" * 5)) == [
        "  000000  ff 41 42 43 ff 41 42 43 ff 41 42 43 ff 41 42 43  .ABC.ABC.ABC.ABC",
        "  000010  ff 41 42 43                                      .ABC",
    ]


@pytest.mark.parametrize(
    ("by", "name"),
    [
        (By.REASON, "unknown_device"),
        (By.STEP, "Enrich"),
        (By.TOPIC, KAFKA.raw_topic),
        (By.DEVICE, MAC),
        (By.DAY, "2026-01-02"),
    ],
)
def test_letters_are_counted_by(by: By, name: str) -> None:
    assert KEYS[by](letter()) == name
    assert KEYS[by](Letter(0, 0, None, None, {})) == ""


def test_counts() -> None:
    count = Count()
    for days, replayed in ((1, True), (0, False), (2, False)):
        count.add(AT + timedelta(days), replayed)
    count.add(None, True)
    assert count == Count(4, 2, AT, AT + timedelta(2))
    assert parse_timestamp(AT.isoformat())
