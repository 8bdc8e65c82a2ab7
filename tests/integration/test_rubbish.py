"""Rubbish into the running stack: every bad input is one dead letter, good frames in between come in, all stays up."""

import time
from collections import Counter
from datetime import timedelta
from random import Random

import pytest
from helpers import Controller, DeadLetters, Letter, Rows, Stack, example, now, payload, sensors_of, topic_of, wait_for

from faces2.bridge.bridge import FILTERS
from faces2.bridge.records import Publish, record_of
from faces2.io.kafka import producer
from faces2.models.batches import Readings
from faces2.models.clock import EPOCH, from_micros, utc_now
from faces2.models.dead_letter import Reason, Record
from faces2.models.metadata import Snapshot
from faces2.service.settings import KafkaSettings, load
from faces2.stack.environment import enter
from faces2.stack.series import key
from faces2.stack.sources import LAG, RawTopic
from faces2.stack.supervisor import Supervisor
from faces2.transforms.decode import decode_groups
from faces2.transforms.enrich import enrich
from faces2.transforms.readings import parse_readings
from tests.fuzz import mutations

pytestmark = pytest.mark.stack

SEED = 1
MESSAGES = 2000
RECORDS = 2000
GOOD_EVERY = 10
SOME = 500
DAY = 86_400_000_000
MAD_DAYS = range(-25_000, 10_000)
MAD_FRAMES = 6000
NOT_AUTHORIZED, NO_SUBSCRIBERS = 135, 16

Expected = Counter[tuple[str, bytes | None]]
"""Dead letters, by reason and value."""


@pytest.fixture(autouse=True)
def caught_up(stack: Stack) -> None:
    """What an earlier run left to be read again would be dead letters of ours."""
    topic = RawTopic(load(KafkaSettings))
    wait_for(lambda: topic()[key(LAG)] == 0, "offsets of all records", 120)


@pytest.fixture(autouse=True)
def nothing_is_started_anew(stack: Stack) -> object:
    before = {name: state.started for name, state in Supervisor(enter()).states().items()}
    yield
    assert {name: state.started for name, state in Supervisor(enter()).states().items()} == before
    assert stack.ready()


def test_mqtt(controller: Controller, snapshot: Snapshot, rows: Rows, dead_letters: DeadLetters) -> None:
    rng = Random(SEED)
    messages = [
        (publishable(rng, topic), bad_content(rng, content)) if index % GOOD_EVERY else (topic, content)
        for index, (topic, content) in enumerate(good_messages(snapshot, controller.mac, MESSAGES))
    ]
    answers = controller.publish_all(messages)
    assert set(answers) <= {0, NO_SUBSCRIBERS, NOT_AUTHORIZED}
    for (topic, _), answer in zip(messages, answers, strict=True):
        own = topic.startswith((f"tele/f2-{controller.mac}/", f"stat/f2-{controller.mac}/"))
        assert answer == (0 if own and is_subscribed(topic) else NO_SUBSCRIBERS if own else NOT_AUTHORIZED), topic

    taken = [each for each, answer in zip(messages, answers, strict=True) if answer == 0]
    records = [record_of(Publish(*each), utc_now(), load(KafkaSettings)) for each in taken]
    expected: Expected = Counter((str(each.reason), each.value) for each in records if each.reason)
    by_pipeline, readings = through([(each.key, each.value) for each in records if not each.reason], snapshot)
    letters = dead_letters.take(expected.total() + by_pipeline.total())
    assert reasons(letters, "bridge") == by_reason(expected)
    assert of_step(letters, "bridge") == expected
    # The bridge's clock is in the records that the pipeline refuses: of those, reasons are compared.
    assert reasons(letters, "Enrich", "Decode") == by_reason(by_pipeline)
    come_in(rows, readings)
    assert len(expected) > MESSAGES // 10
    assert len(readings) > MESSAGES // GOOD_EVERY


def test_records_of_the_raw_topic(snapshot: Snapshot, rows: Rows, dead_letters: DeadLetters) -> None:
    rng, records = Random(SEED), list[Record]()
    kafka = load(KafkaSettings)
    for index, (topic, content) in enumerate(good_messages(snapshot, "aabbccddee02", RECORDS)):
        raw = record_of(Publish(topic, content), utc_now(), kafka)
        value: bytes | None = raw.value
        if index % GOOD_EVERY:
            whole = mutations.document(rng, mutations.parsed(raw.value), "payload")
            value = rng.choice((mutations.dumped(whole), mutations.data(rng, raw.value), rng.randbytes(40), b"", None))
        records.append((rng.choice((raw.key, None, b"\xff")), value))
    expected, readings = through(records, snapshot)
    send(kafka.raw_topic, records)
    assert of_step(dead_letters.take(expected.total()), "Enrich", "Decode") == expected
    come_in(rows, readings)


def test_records_of_the_processed_topic(
    stack: Stack, rows: Rows, dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into mode `sink`, from a topic of this run alone: what is compacted is not for rubbish."""
    rng, records, start = Random(SEED), list[Record](), now()
    topic = f"rubbish-processed-{start}"
    for index in range(RECORDS):
        stamp = (EPOCH + timedelta(microseconds=start + index)).isoformat(timespec="microseconds")
        reading = {"device_id": 1, "datapoint_id": 1, "value": index / 4, "timestamp": stamp}
        value: bytes | None = mutations.dumped(reading)
        if index % GOOD_EVERY:
            mutated = mutations.dumped(mutations.document(rng, reading))
            value = rng.choice((mutated, mutations.data(rng, mutations.dumped(reading)), rng.randbytes(40), None))
        records.append((rng.choice((b"1:1", None)), value))
    readings, refused = parse_readings(records)
    monkeypatch.setenv("KAFKA_PROCESSED_TOPIC", topic)
    monkeypatch.setenv("KAFKA_GROUP_ID", "rubbish")
    send(topic, records)
    stack.run("pipeline", "--runner", "direct", "--mode", "sink", "--max", str(RECORDS), timeout=300)
    expected: Expected = Counter((str(each.reason), each.record[1]) for each in refused)
    assert of_step(dead_letters.take(expected.total()), "ParseReadings") == expected
    come_in(rows, readings)


def test_controllers_whose_clocks_are_mad(snapshot: Snapshot, rows: Rows) -> None:
    """Each of their frames is of another day, so each needs a chunk of its own."""
    kafka, days = load(KafkaSettings), Random(SEED).sample(MAD_DAYS, MAD_FRAMES)
    pins = [sensors_of(snapshot, mac)[0] for mac in sorted({pin.mac for pin in snapshot.sensors})]
    records: list[Record] = []
    for number, day in enumerate(days):
        pin, sensor = pins[number % len(pins)]
        content = mutations.dumped(payload(day * DAY, example(sensor)[0]))
        raw = record_of(Publish(topic_of(pin), content), utc_now(), kafka)
        records.append((raw.key, raw.value))
    expected, readings = through(records, snapshot)
    assert not expected
    send(kafka.raw_topic, records)
    come_in(rows, readings)
    if rows.query("SELECT to_regproc('drop_chunks') IS NOT NULL")[0][0]:
        rows.query("SELECT drop_chunks('decoded_data', %s)", from_micros(MAD_DAYS.stop * DAY))


def good_messages(snapshot: Snapshot, mac: str, count: int) -> list[tuple[str, bytes]]:
    """Frames of a controller's sensors in turn, a microsecond apart."""
    start, sensors = now(), sensors_of(snapshot, mac)
    return [
        (topic_of(pin), mutations.dumped(payload(start + index, example(sensor)[0])))
        for index in range(count)
        for pin, sensor in [sensors[index % len(sensors)]]
    ]


def publishable(rng: Random, topic: str) -> str:
    """The topic or another one that MQTT allows."""
    if rng.random() < 0.7:
        return topic
    changed = mutations.text(rng, topic).translate({ord(each): None for each in "\x00+#"})
    return changed if changed.isprintable() else topic


def bad_content(rng: Random, content: bytes) -> bytes:
    """Something else than was meant."""
    mutated = mutations.dumped(mutations.document(rng, mutations.parsed(content)))
    return rng.choice((mutated, mutations.data(rng, content), rng.randbytes(40), b""))


def is_subscribed(topic: str) -> bool:
    """Whether the bridge hears it."""
    levels = topic.split("/")
    return any(len(levels) == 5 and levels[0] == each.split("/")[0] for each in FILTERS)


def through(records: list[Record], snapshot: Snapshot) -> tuple[Expected, Readings]:
    """What the pipeline must make of the records, one by one."""
    enriched = enrich(records, snapshot)
    readings, undecoded = decode_groups(enriched.groups)
    refused = enriched.rejected + undecoded
    return Counter((str(each.reason), each.record[1]) for each in refused), readings


def send(topic: str, records: list[Record]) -> None:
    """Straight into Kafka."""
    client = producer(load(KafkaSettings))
    for record_key, value in records:
        client.produce(topic, value, record_key)
    assert client.flush(60) == 0


def of_step(letters: list[Letter], *steps: str) -> Expected:
    """The dead letters of these steps."""
    return Counter((each.headers["reason"], each.value) for each in letters if each.headers["step"] in steps)


def reasons(letters: list[Letter], *steps: str) -> Counter[str]:
    """How many of these steps for each reason."""
    return by_reason(of_step(letters, *steps))


def by_reason(expected: Expected) -> Counter[str]:
    """How many for each reason."""
    sums: Counter[str] = Counter()
    for (reason, _), count in expected.items():
        sums[Reason(reason).value] += count
    return sums


def come_in(rows: Rows, readings: Readings) -> None:
    """Every reading is in the table; of those with one key, one of them."""
    wanted: dict[tuple[int, int, int], set[float]] = {}
    columns = (readings.micros, readings.device_id, readings.datapoint_id, readings.value)
    for at, device, point, value in zip(*(column.tolist() for column in columns), strict=True):
        wanted.setdefault((at, device, point), set()).add(value)

    def missing() -> list[object]:
        keys = sorted(wanted)
        found: dict[tuple[int, int, int], float] = {}
        for start in range(0, len(keys), SOME):
            found |= held(rows, keys[start : start + SOME])
        return [(key, values, found.get(key)) for key, values in wanted.items() if found.get(key) not in values]

    deadline = time.monotonic() + 120
    while left := missing():
        assert time.monotonic() < deadline, f"{len(left)} of {len(wanted)} are missing: {left[:5]}"
        time.sleep(1)


def held(rows: Rows, keys: list[tuple[int, int, int]]) -> dict[tuple[int, int, int], float]:
    """The values that the table has for sorted keys; each chunk of their time takes a lock."""
    text = (
        "SELECT number - 1, value FROM unnest(%s::timestamptz[], %s::int[], %s::int[])"
        " WITH ORDINALITY AS wanted (at, device, point, number)"
        " JOIN decoded_data ON (timestamp, device_id, datapoint_id) = (at, device, point)"
        " WHERE timestamp BETWEEN %s AND %s"
    )
    micros, devices, points = map(list, zip(*keys, strict=True))
    times = [from_micros(each) for each in micros]
    return {keys[number]: value for number, value in rows.query(text, times, devices, points, times[0], times[-1])}
