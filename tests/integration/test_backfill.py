"""The back-fill on the real stack, beside the running stream: by time, by offset, killed, repeated."""

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from helpers import RawTopic, Rows, Stack, example, faces2, now, own_topics, raw_record, sensors_of, wait_for

from faces2.beam_pipeline.backfill import group_of
from faces2.io.kafka_bookmark import Bookmark
from faces2.models.clock import from_micros
from faces2.models.metadata import Snapshot
from faces2.service.settings import KafkaSettings, load

pytestmark = pytest.mark.stack

FRAMES = 10_000
DAY = 86_400_000_000
BAD_EVERY = 1000


@dataclass
class Past:
    """A topic of its own with frames of two days ago; Kafka's time of the first half is 3 hours ago, then 2 hours."""

    stack: Stack
    rows: Rows
    start: int
    settings: dict[str, str]
    readings: int
    places: list[tuple[int, int]] = field(default_factory=list)

    def run(self, *arguments: str) -> str:
        done = faces2(self.stack, "backfill", *arguments, **self.settings)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def audit(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        done = faces2(self.stack, "audit", "--json", *arguments, **self.settings)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, json.loads(done.stdout)

    def count(self) -> int:
        return self.rows.count(self.start, self.start + FRAMES * 1000)

    def delete(self) -> None:
        span = from_micros(self.start), from_micros(self.start + FRAMES * 1000)
        self.rows.query("DELETE FROM decoded_data WHERE timestamp >= %s AND timestamp < %s RETURNING 1", *span)

    def left(self) -> int:
        """Records that the command without arguments has begun and not done; -1 where it has begun nothing."""
        kafka = load(KafkaSettings)
        topic = self.settings["KAFKA_RAW_TOPIC"]
        loaded = Bookmark(kafka, topic, group_of(topic, None, None)).load()
        return -1 if loaded is None else sum(part.size for part in loaded[1])


@pytest.fixture
def past(stack: Stack, rows: Rows, snapshot: Snapshot) -> Iterator[Past]:
    settings = own_topics(load(KafkaSettings), f"past-{now()}")
    sensors = [item for mac in ("aabbccddee01", "aabbccddee02") for item in sensors_of(snapshot, mac)]
    start, records, readings = now() - 2 * DAY, [], 0
    for index in range(FRAMES):
        pin, device = sensors[index % len(sensors)]
        bad = index % BAD_EVERY == 0
        records.append(raw_record(pin, start + index * 1000, "bad" if bad else example(device)[0]))
        readings += 0 if bad else len(device.template.datapoints)
    made = Past(stack, rows, start, settings | {"BACKFILL_SLICE": "1000"}, readings)
    topic, hour = RawTopic(load(KafkaSettings), settings["KAFKA_RAW_TOPIC"]), 3600 * 1000
    for part, hours in ((records[: FRAMES // 2], 3), (records[FRAMES // 2 :], 2)):
        made.places += topic.send(part, now() // 1000 - hours * hour)
    yield made
    made.delete()


def dead_letters(topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": load(KafkaSettings).brokers, "group.id": "tests-count"})
    try:
        parts = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ends = (consumer.get_watermark_offsets(TopicPartition(topic, part), timeout=10) for part in parts)
        return sum(high - low for low, high in ends)
    finally:
        consumer.close()


def test_by_time_by_offset_and_again(past: Past) -> None:
    assert f"{FRAMES:,} frames to be written" in past.run("--dry-run")
    assert past.count() == 0
    assert past.left() == -1

    assert "Done: 5,000 frames" in past.run("--until", "150m")
    assert past.audit("--until", "150m")[0] == 0
    status, found = past.audit()
    assert (status, found["dead_letters"], found["dead_letters_missing"]) == (1, 5, 5)
    assert found["readings_missing"] == past.readings - past.count()

    ends: dict[int, int] = {}
    middle: dict[int, int] = {}
    for index, (partition, offset) in enumerate(past.places):
        ends[partition] = offset + 1
        if index < FRAMES // 2:
            middle[partition] = offset + 1
    since, until = (",".join(f"{p}:{o}" for p, o in sorted(each.items())) for each in (middle, ends))
    past.run("--from", since, "--until", until)
    status, found = past.audit("--strict")
    assert (status, found["frames"], found["readings_found"]) == (0, FRAMES, past.readings)
    assert dead_letters(past.settings["KAFKA_DEAD_LETTER_TOPIC"]) == FRAMES // BAD_EVERY

    past.run()
    assert past.count() == past.readings
    assert past.audit()[0] == 0
    past.delete()
    assert past.audit()[0] == 1
    past.run()
    assert past.audit()[0] == 0, "what was done once can be done again"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ended_in_the_middle_it_goes_on_there(past: Past, number: signal.Signals) -> None:
    running = past.stack.start("backfill", **past.settings)
    wait_for(lambda: 0 <= past.left() <= FRAMES - 2000, "two slices")
    running.send_signal(number)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == (-9 if number == signal.SIGKILL else 130)
    if number != signal.SIGKILL:
        assert "the same command goes on from here" in said
    left = past.left()
    assert 0 < left <= FRAMES - 2000
    again = past.run()
    assert f"{left:,} frames to be written" in again
    assert "goes on with what was begun" in again
    assert past.audit()[0] == 0
    assert past.count() == past.readings
    assert past.left() == -1


def test_begun_anew_where_that_is_asked_for(past: Past) -> None:
    running = past.stack.start("backfill", **past.settings)
    wait_for(lambda: 0 <= past.left() <= FRAMES - 1000, "a slice")
    running.kill()
    running.communicate()
    assert f"{FRAMES:,} frames to be written" in past.run("--restart")
    assert past.audit()[0] == 0


def test_the_database_takes_late_rows_however_many_are_compressed(rows: Rows) -> None:
    assert rows.query("SHOW timescaledb.max_tuples_decompressed_per_dml_transaction") == [("0",)]


def test_a_database_that_is_away_is_a_sentence(past: Past) -> None:
    done = faces2(past.stack, "backfill", **past.settings, POSTGRES_PORT="1")
    assert done.returncode == 2
    assert done.stderr.startswith("faces2: The back-fill could not be done: database: ")
    assert past.left() == FRAMES
