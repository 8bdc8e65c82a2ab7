"""The metadata changed in mid-stream: every frame is decoded with the mapping of its arrival, in every worker, within
two seconds, whatever state Redis is in."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import orjson
import psycopg2.extensions
import pytest
import redis
from helpers import Rows, Stack, now, payload, wait_for
from psycopg2 import sql

from faces2.io.cache import SNAPSHOT_KEY, VERSION_KEY, SnapshotCache, redis_client
from faces2.io.kafka import producer
from faces2.io.metadata import connect, load_snapshot
from faces2.io.metadata_cache import open_cache
from faces2.models.clock import format_timestamp, from_micros
from faces2.models.metadata import Snapshot
from faces2.service.settings import KafkaSettings, PostgresSettings, RedisSettings, load

pytestmark = pytest.mark.stack

MAC, CONNECTOR, POSITION = "aabbccddee04", 4, 6
"""A pin of the sample fleet that is free."""
IN_EFFECT = 2_000_000
"""Microseconds from the commit to the arrival of the first frame that is decoded anew."""
DATA = "00 01 00 02"
OLD, NEW = 1.0, 2.0
"""What the datapoint says at offset 0 and at offset 2."""


class Sensor:
    """A sensor of its own, whose template is changed: its datapoint lies at offset 0 or 2."""

    def __init__(self, connection: psycopg2.extensions.connection, schema: str) -> None:
        self._connection = connection
        self._schema = sql.Identifier(schema)
        text = "INSERT INTO {s}.devicetemplates (devicetypeid, devicetemplatename) VALUES (2, 'stream')"
        self.template = self.execute(text + " RETURNING devicetemplateid")
        text = 'INSERT INTO {s}.datapoints (devicetemplateid, label, "offset", length, dataencoding)'
        self.point = self.execute(text + " VALUES (%s, 'x', 0, 2, 'UInt16') RETURNING datapointid", self.template)
        text = "INSERT INTO {s}.devices (devicename, devicetemplateid) VALUES ('stream', %s) RETURNING deviceid"
        self.device = self.execute(text, self.template)
        text = """INSERT INTO {s}.pins (connectorid, position, deviceid) SELECT connectorid, %s, %s
                  FROM {s}.connectors JOIN {s}.devices ON devices.deviceid = controllerid
                  WHERE macaddress = 'aa:bb:cc:dd:ee:04' AND connectornumber = %s RETURNING pinid"""
        self.pin = self.execute(text, POSITION, self.device, CONNECTOR)
        time.sleep(1.6)  # until then the pin is that of the test before
        self._producer = producer(load(KafkaSettings))
        self._topic = load(KafkaSettings).raw_topic
        self.partitions = len(self._producer.list_topics(self._topic, timeout=10).topics[self._topic].partitions)

    def execute(self, query: str, *values: object) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute(sql.SQL(query).format(s=self._schema), values)
            return int(cursor.fetchone()[0]) if cursor.description else 0

    def move(self, offset: int) -> int:
        """Changes the template; when that was committed."""
        self.execute('UPDATE {s}.datapoints SET "offset" = %s WHERE datapointid = %s', offset, self.point)
        return now()

    def counts_from(self) -> int:
        """From when the last change counts."""
        text = "SELECT (extract(epoch FROM max(held_until)) * 1000000)::bigint FROM {s}.past_templates"
        return self.execute(text + " WHERE devicetemplateid = %s", self.template)

    def send(self, at: int, partition: int = 0) -> int:
        """A frame that arrived at `at`, which is its own time as well."""
        message = {
            "timestamp": format_timestamp(at),
            "topic": f"tele/f2-{MAC}/sensor-mode/J{CONNECTOR}/sensor-{POSITION}",
            "topic_type": "tele",
            "device_mac": MAC,
            "mode": "sensor-mode",
            "connector": f"J{CONNECTOR}",
            "component": f"sensor-{POSITION}",
            "payload": payload(at, DATA),
            "qos": 1,
            "retain": False,
        }
        self._producer.produce(self._topic, orjson.dumps(message), MAC, partition=partition)
        self._producer.poll(0)
        return at

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def unmap(self) -> int:
        """Takes the sensor off its pin; from when that counts."""
        self.execute("DELETE FROM {s}.pins WHERE pinid = %s", self.pin)
        text = "SELECT (extract(epoch FROM max(held_until)) * 1000000)::bigint FROM {s}.past_pins WHERE deviceid = %s"
        return self.execute(text, self.device)

    def remove(self) -> None:
        self.unmap()
        self.execute("DELETE FROM {s}.devices WHERE deviceid = %s", self.device)
        self.execute("DELETE FROM {s}.devicetemplates WHERE devicetemplateid = %s", self.template)


class Flow:
    """Frames to every partition, and so to every worker, all the time."""

    def __init__(self, sensor: Sensor) -> None:
        self.sent: list[int] = []
        self._sensor = sensor
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Flow":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sensor.flush()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            for partition in range(self._sensor.partitions):
                # The microsecond tells the frames of one moment apart.
                self.sent.append(self._sensor.send(now() // 100 * 100 + partition, partition))


@pytest.fixture
def sensor(stack: Stack) -> Iterator[Sensor]:
    settings = load(PostgresSettings)
    with closing(connect(settings)) as connection:
        held = Sensor(connection, settings.schema_name)
        try:
            yield held
        finally:
            held.remove()


def values(rows: Rows, sensor: Sensor, since: int) -> dict[int, float]:
    """What the table says of the sensor's frames, by their time."""
    text = (
        "SELECT (extract(epoch FROM timestamp) * 1000000)::bigint, value FROM decoded_data"
        " WHERE device_id = %s AND timestamp >= %s"
    )
    return dict(rows.query(text, sensor.device, from_micros(since)))


def keep(_stack: Stack) -> None:
    """Redis is as it should be."""


def away(stack: Stack) -> None:
    stack.stop_part("redis")


def frozen(stack: Stack) -> None:
    stack.signal("redis", signal.SIGSTOP)


def emptied(stack: Stack) -> None:
    stack.stop_part("redis")
    stack.start_part("redis")


@pytest.mark.parametrize("state", [keep, away, frozen, emptied])
def test_a_change_counts_in_every_worker_within_two_seconds(
    state: Callable[[Stack], None], stack: Stack, sensor: Sensor, rows: Rows
) -> None:
    begin = now()
    try:
        with Flow(sensor) as flow:
            wait_for(lambda: len(values(rows, sensor, begin)) > 10 * sensor.partitions, "the first rows")
            state(stack)
            time.sleep(1)
            committed = sensor.move(2)
            time.sleep(5)
    finally:
        if state is frozen:
            stack.signal("redis", signal.SIGCONT)
        stack.start_part("redis")
    found = wait_for(
        lambda: (got := values(rows, sensor, begin)) and len(got) == len(flow.sent) and got, "all rows", 30
    )
    changed = sensor.counts_from()
    assert committed < changed < committed + IN_EFFECT
    anew = [at for at, value in found.items() if value == NEW]
    print(f"{state.__name__}: first decoded anew {(min(anew) - committed) / 1e6:.2f} s after the commit")  # noqa: T201
    wrong = {at - changed: value for at, value in found.items() if value != (OLD if at < changed else NEW)}
    assert wrong == {}, "by the frame's distance from the change in microseconds"


@pytest.mark.parametrize("state", [keep, away])
def test_frames_that_wait_are_decoded_as_they_arrived(
    state: Callable[[Stack], None], stack: Stack, sensor: Sensor, rows: Rows
) -> None:
    begin = now()
    stack.stop_part("pipeline")
    try:
        first = now()
        state(stack)
        sensor.move(2)
        changed = sensor.counts_from()
        time.sleep(0.1)
        gone = sensor.unmap()
        expected = dict.fromkeys((*range(first, first + 100), changed - 1), OLD)
        expected |= dict.fromkeys((*range(changed, changed + 100), gone - 1), NEW)
        for at in (*expected, gone, gone + 1):
            sensor.send(at)
        sensor.flush()
    finally:
        stack.supervisor.start("pipeline")
    wait_for(lambda: len(values(rows, sensor, begin)) >= len(expected), "the rows", 120)
    assert values(rows, sensor, begin) == expected
    stack.start_part("redis")
    assert values(rows, sensor, begin) == expected


def test_nobody_vouches_for_redis(stack: Stack, sensor: Sensor) -> None:
    """Without the announcer, and with a Redis that came back with what it had long ago."""
    settings = load(PostgresSettings)
    stack.stop_part("pipeline")
    try:
        cache = SnapshotCache(redis_client(load(RedisSettings)))
        worker = open_cache(settings, load(RedisSettings))
        worker.current()
        cache.store(Snapshot(1, {}))
        with closing(connect(settings)) as connection:
            for offset in (2, 0, 2):
                sensor.move(offset)
                version = load_snapshot(connection, settings.schema_name).version
                begin = time.monotonic()
                wait_for(lambda version=version: worker.current().version >= version, "the change", 5)
                assert time.monotonic() - begin < 1.5, "before it counts"
                client = redis.Redis(host=load(RedisSettings).host, port=load(RedisSettings).port)
                client.set(VERSION_KEY, 1)
                client.delete(SNAPSHOT_KEY)
    finally:
        stack.start_part("pipeline")
