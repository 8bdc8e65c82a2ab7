"""What was acknowledged against what there is: rows, dead letters, and the raw topic for what happened in between."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, TopicPartition

from faces2.io import timescale
from faces2.models.clock import parse_timestamp
from faces2.models.messages import parse_json
from faces2.models.topic import SENSOR_MODE
from faces2.service.settings import KafkaSettings, TimescaleSettings, load
from faces2.stack.verify import COPY, EXPECTED, Journal, compare, dead_letters_since

QUIET_SECONDS = 90.0
"""What has not come in after so long without a new row does not come."""

Frame = tuple[str, int]
"""A frame's topic and its time, microseconds since 1970."""

LEFT = """
SELECT (extract(epoch FROM timestamp) * 1000000)::bigint, device_id, datapoint_id, value FROM expected
"""
UNEXPLAINED = """
SELECT (extract(epoch FROM timestamp) * 1000000)::bigint, device_id, datapoint_id, value FROM decoded_data
WHERE NOT EXISTS (SELECT FROM expected WHERE (expected.timestamp, expected.device_id, expected.datapoint_id)
    = (decoded_data.timestamp, decoded_data.device_id, decoded_data.datapoint_id))
"""


@dataclass
class Findings:
    """What the end of a run shows; times are microseconds since 1970."""

    frames: int = 0
    readings: int = 0
    rows: int = 0
    missing: list[tuple[int, str]] = field(default_factory=list)
    """Readings with neither a row of that value nor a dead letter: their time, and what is known of them."""
    unexplained: list[tuple[int, str]] = field(default_factory=list)
    """Rows that no acknowledged frame explains."""
    dead: int = 0
    """Readings without a row whose frame is a dead letter."""
    dead_letters: int | None = None
    doubled_on_the_wire: int = 0
    """Records of the raw topic whose frame it had before: each is written once all the same."""

    @property
    def good(self) -> bool:
        """Nothing is missing, nothing is too much, and there was something."""
        return self.readings > 0 and not self.missing and not self.unexplained


def check(journal: Path) -> Findings:
    """Waits until all is there or nothing more comes, then looks at everything."""
    found = Findings()
    with closing(timescale.connect(load(TimescaleSettings))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            verdict = compare(connection, journal, QUIET_SECONDS, dead_letters_since)
            found.frames, found.readings = verdict.total.frames, verdict.total.expected
            found.dead_letters = verdict.dead_letters
            cursor.execute(LEFT)
            left = cursor.fetchall()
            cursor.execute(f"DROP TABLE expected; {EXPECTED}")
            cursor.copy_expert(COPY, Journal(journal))
            cursor.execute("CREATE INDEX ON expected (timestamp, device_id, datapoint_id); ANALYZE expected")
            cursor.execute(UNEXPLAINED)
            found.unexplained = [(row[0], _named(row, "no frame explains it")) for row in cursor.fetchall()]
            cursor.execute("SELECT count(*) FROM decoded_data")
            found.rows = cursor.fetchone()[0]
    raw, found.doubled_on_the_wire = _frames(load(KafkaSettings).raw_topic)
    dead, _ = _frames(load(KafkaSettings).dead_letter_topic)
    frame_of = _journaled(journal, {(row[0], row[1]) for row in left})
    for row in left:
        frame = frame_of[row[0], row[1]]
        if frame in dead:
            found.dead += 1
        else:
            where = "it is in Kafka" if frame in raw else "it never came to Kafka"
            found.missing.append((row[0], _named(row, f"has no row of this value; {where}")))
    return found


def _named(row: tuple[Any, ...], what: str) -> str:
    return f"device {row[1]}, datapoint {row[2]}, {row[3]!r} at {row[0]}: {what}"


def _journaled(journal: Path, wanted: set[tuple[int, int]]) -> dict[tuple[int, int], Frame]:
    """The frames of these times and devices."""
    if not wanted:
        return {}
    with journal.open("rb") as file:
        lines = (orjson.loads(line) for line in file)
        return {
            (line["timestamp"], line["device_id"]): (line["topic"], line["timestamp"])
            for line in lines
            if (line["timestamp"], line["device_id"]) in wanted
        }


def _frames(topic: str) -> tuple[set[Frame], int]:
    """The sensor frames of a topic, and how many of its records repeat one."""
    frames: set[Frame] = set()
    records = 0
    for value in _records(topic):
        message = parse_json(value)
        if SENSOR_MODE in message["topic"]:
            records += 1
            frames.add((message["topic"], parse_timestamp(message["payload"]["timestamp"])))
    return frames, records - len(frames)


def _records(topic: str) -> Iterator[bytes]:
    """Every record's value, from the first to the last that is there now."""
    consumer = Consumer({"bootstrap.servers": load(KafkaSettings).brokers, "group.id": "faces2-faults"})
    with closing(consumer):
        numbers = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        ends = {number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30) for number in numbers}
        left = {number for number, (low, high) in ends.items() if low < high}
        consumer.assign([TopicPartition(topic, number, ends[number][0]) for number in left])
        while left:
            for message in consumer.consume(10_000, 1.0):
                assert message.error() is None, message.error()
                yield message.value()
                if message.offset() + 1 >= ends[message.partition()][1]:
                    left.discard(message.partition())
