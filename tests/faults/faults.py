"""The faults: each a name, what it hits, and how it is done. `inject` returns when the fault itself is over."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg2
import redis
from psycopg2 import sql

from faces2.io import timescale
from faces2.io.cache import SnapshotCache
from faces2.io.metadata import MetadataDatabase
from faces2.models.metadata import PinKey, Snapshot
from faces2.service.settings import PostgresSettings, RedisSettings, TimescaleSettings, load
from faces2.stack.postgres import address
from tests.faults.load import Frames
from tests.faults.proxy import Cut, Proxy
from tests.faults.rig import Rig, SkippedError

BURST = 5000
"""Frames that keep the database busy while it is hit."""
SENSOR_SECONDS = 3.0
"""A change of the metadata is in effect within 2 s."""

Inject = Callable[["Field", float], None]
Span = tuple[float, float]

SHORT: Span = (5, 15)
KEEP_ALIVE: Span = (46, 60)
"""Longer than MQTT's keep-alive of 30 s, half as much again."""


@dataclass(frozen=True)
class Field:
    """What a fault works on."""

    rig: Rig
    frames: Frames
    random: random.Random


@dataclass(frozen=True)
class Fault:
    """One kind of fault. No two of one `target` go on at once."""

    name: str
    target: str
    inject: Inject
    seconds: Span = (0, 0)
    """Between which its length is chosen."""
    sometimes: Span | None = None
    """One time in eight it is chosen between these."""
    flink: str | None = None
    """The FLINK_MODE in which there is such a thing; None: in both."""

    def length(self, chosen: random.Random) -> float:
        """How long this one is to last."""
        span = self.sometimes if self.sometimes and chosen.random() < 1 / 8 else self.seconds
        return round(chosen.uniform(*span), 1)


# --- processes


def kill(part: str, field: Field, _: float) -> None:
    field.rig.signal([field.rig.pid(part)], signal.SIGKILL)


def stop(part: str, field: Field, seconds: float) -> None:
    field.rig.rest(field.rig.whole(part), seconds)


def kill_flink(field: Field, _: float) -> None:
    field.rig.signal(field.rig.flink(), signal.SIGKILL)


def stop_flink(field: Field, seconds: float) -> None:
    field.rig.rest(field.rig.flink(), seconds)


def kill_worker(field: Field, _: float) -> None:
    field.rig.signal([field.random.choice(field.rig.workers())], signal.SIGKILL)


def stop_worker(field: Field, seconds: float) -> None:
    field.rig.rest([field.random.choice(field.rig.workers())], seconds)


def kill_workers(field: Field, _: float) -> None:
    field.rig.signal(field.rig.workers(), signal.SIGKILL)


def stop_workers(field: Field, seconds: float) -> None:
    field.rig.rest(field.rig.workers(), seconds)


def away(part: str, field: Field, seconds: float) -> None:
    """Stopped in good order and started again: meanwhile every connection is refused."""
    field.rig.supervisor.stop(part)
    try:
        time.sleep(seconds)
    finally:
        field.rig.supervisor.start(part)


# --- the database


@contextmanager
def _asked() -> Iterator[Any]:
    with closing(timescale.connect(load(TimescaleSettings))) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        yield cursor


def _writers(field: Field) -> list[int]:
    """The server's processes that are writing a batch, of a burst that is sent for it."""
    field.frames.to_kafka(field.frames.make(-5, BURST))
    deadline = time.monotonic() + 30
    with _asked() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'faces2-writer' AND state <> 'idle'"
                " AND pid <> pg_backend_pid()"
            )
            if found := [pid for (pid,) in cursor.fetchall()]:
                return found
            time.sleep(0.01)
    raise SkippedError("nothing was being written")


def restart_database(number: signal.Signals, field: Field, _: float) -> None:
    """SIGINT is PostgreSQL's fast shutdown, SIGQUIT the immediate one; the supervisor starts it again."""
    _writers(field)
    field.rig.signal([field.rig.pid("timescaledb")], number)


def kill_backend(field: Field, _: float) -> None:
    """The postmaster then ends all other sessions and recovers."""
    field.rig.signal(_writers(field)[:1], signal.SIGKILL)


def stop_backend(field: Field, seconds: float) -> None:
    field.rig.rest(_writers(field)[:1], seconds)


def disk_full(field: Field, seconds: float) -> None:
    field.rig.fill_disk()
    try:
        field.frames.to_kafka(field.frames.make(-5, BURST))
        time.sleep(seconds)
    finally:
        field.rig.free_disk()


# --- the network


def cut(proxy: Callable[[Rig], Proxy], how: Cut, field: Field, seconds: float) -> None:
    network = proxy(field.rig)
    network.cut(how)
    try:
        time.sleep(seconds)
    finally:
        network.heal()


def _bridge_kafka(rig: Rig) -> Proxy:
    return rig.bridge_kafka


def _writer_database(rig: Rig) -> Proxy:
    return rig.writer_database


# --- what is sent


def twice_in_a_batch(field: Field, _: float) -> None:
    field.frames.to_kafka([message for message in field.frames.make(-10, 200) for _ in range(2)])


def twice_across_batches(field: Field, _: float) -> None:
    messages = field.frames.make(-10, 200)
    field.frames.to_kafka(messages)
    time.sleep(3)
    field.frames.to_kafka(messages)


def delivered_again(field: Field, _: float) -> None:
    mac = field.random.choice(sorted({pin.mac for pin in _snapshot().sensors}))
    field.frames.to_mqtt(field.frames.make(-15, 100, mac), broken=True)


def clock(hours: float, field: Field, _: float) -> None:
    mac = field.random.choice(sorted({pin.mac for pin in _snapshot().sensors}))
    field.frames.to_mqtt(field.frames.make(hours, 100, mac))


# --- metadata


def _snapshot() -> Snapshot:
    with closing(MetadataDatabase(load(PostgresSettings))) as database:
        return database.snapshot()


@contextmanager
def _metadata() -> Iterator[Any]:
    """A cursor on the metadata's schema; what is done with it is one transaction."""
    settings = load(PostgresSettings)
    connection = psycopg2.connect(**address(settings), connect_timeout=5)
    with closing(connection), connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(settings.schema_name)))
        yield cursor


def rename(field: Field, _: float) -> None:
    """Other names, the same values."""
    with _metadata() as cursor:
        cursor.execute("UPDATE devices SET devicename = devicename || '.' WHERE macaddress IS NULL")
        cursor.execute("UPDATE datapoints SET label = label || '.'")


NEW_SENSOR = """
WITH kind AS (
    INSERT INTO devicetemplates (devicetypeid, devicetemplatename) VALUES (2, %(name)s) RETURNING devicetemplateid
), points AS (
    INSERT INTO datapoints (devicetemplateid, label, "offset", length, dataencoding, decimals)
    SELECT devicetemplateid, label, at, 2, 'UInt16', 1 FROM kind, (VALUES ('a', 3), ('b', 5)) AS p (label, at)
), sensor AS (
    INSERT INTO devices (devicename, devicetemplateid) SELECT %(name)s, devicetemplateid FROM kind RETURNING deviceid
), free AS (
    SELECT connectorid, position FROM connectors, generate_series(1, 6) AS position
    WHERE NOT EXISTS (SELECT FROM pins WHERE (pins.connectorid, pins.position) = (connectors.connectorid, g.position))
    ORDER BY 1, 2 LIMIT 1
)
INSERT INTO pins (connectorid, position, deviceid) SELECT connectorid, position, deviceid FROM free, sensor
RETURNING deviceid
""".replace("generate_series(1, 6) AS position", "generate_series(1, 6) AS g (position)")


def new_sensor(field: Field, _: float) -> None:
    """A sensor of a new kind is put on a free pin, and reports as soon as it must be known; later it is taken off."""
    with _metadata() as cursor:
        cursor.execute(NEW_SENSOR, {"name": f"fault {time.time_ns()}"})
        if (row := cursor.fetchone()) is None:
            raise SkippedError("there is no free pin")
    pin, sensor = next((pin, s) for pin, s in _snapshot().sensors.items() if s.device_id == row[0])
    time.sleep(SENSOR_SECONDS)
    field.frames.to_mqtt(field.frames.of(PinKey(*pin), sensor, 50))


# --- the cache


@contextmanager
def _redis() -> Iterator["redis.Redis"]:
    settings = load(RedisSettings)
    with redis.Redis(host=settings.host, port=settings.port, socket_timeout=5) as client:
        yield client


def flush(field: Field, _: float) -> None:
    with _redis() as client:
        client.flushall()


def stale(field: Field, _: float) -> None:
    """What Redis held before a change is written over what it holds after it."""
    with _redis() as client:
        if (before := SnapshotCache(client).snapshot()) is None:
            raise SkippedError("Redis holds no metadata")
        rename(field, 0)
        time.sleep(SENSOR_SECONDS)
        SnapshotCache(client).store(before)


def slow(field: Field, seconds: float) -> None:
    """Slower than the client waits, or just below it."""
    field.rig.pipeline_redis.slow(field.random.choice((0.2, 0.4, 1.0)))
    try:
        time.sleep(seconds)
    finally:
        field.rig.pipeline_redis.slow(0)


def pause(field: Field, seconds: float) -> None:
    with _redis() as client:
        client.client_pause(int(seconds * 1000))
    time.sleep(seconds)


PARTS = ("mosquitto", "bridge", "kafka", "pipeline", "redis", "postgresql", "timescaledb")
CLUSTER = ("jobmanager", "taskmanager-1", "taskmanager-2", "workers", "job-server", "expansion")
NETWORKS = {"bridge-kafka": _bridge_kafka, "writer-database": _writer_database}
CLOCKS = {"behind": -400 * 24.0, "ahead": 30 * 24.0, "in-ten-years": 3650 * 24.0}

FAULTS: tuple[Fault, ...] = (
    *(Fault(f"kill-{part}", part, partial(kill, part)) for part in PARTS),
    *(Fault(f"stop-{part}", part, partial(stop, part), SHORT, KEEP_ALIVE) for part in PARTS),
    Fault("kill-flink", "pipeline", kill_flink, flink="embedded"),
    Fault("stop-flink", "pipeline", stop_flink, SHORT, KEEP_ALIVE, flink="embedded"),
    *(Fault(f"kill-{part}", part, partial(kill, part), flink="cluster") for part in CLUSTER),
    *(Fault(f"stop-{part}", part, partial(stop, part), SHORT, KEEP_ALIVE, flink="cluster") for part in CLUSTER),
    Fault("kill-worker", "pipeline", kill_worker),
    Fault("stop-worker", "pipeline", stop_worker, SHORT, KEEP_ALIVE),
    Fault("kill-all-workers", "pipeline", kill_workers),
    Fault("stop-all-workers", "pipeline", stop_workers, SHORT, KEEP_ALIVE),
    Fault("kill-database-session", "timescaledb", kill_backend),
    Fault("stop-database-session", "timescaledb", stop_backend, SHORT, KEEP_ALIVE),
    Fault("restart-database-fast", "timescaledb", partial(restart_database, signal.SIGINT)),
    Fault("restart-database-immediate", "timescaledb", partial(restart_database, signal.SIGQUIT)),
    Fault("database-disk-full", "timescaledb", disk_full, SHORT),
    Fault("kafka-refuses", "kafka", partial(away, "kafka"), (20, 60)),
    *(
        Fault(f"cut-{name}-{how}", name, partial(cut, proxy, how), SHORT, KEEP_ALIVE)
        for name, proxy in NETWORKS.items()
        for how in Cut
    ),
    Fault("duplicates-in-a-batch", "frames", twice_in_a_batch),
    Fault("duplicates-across-batches", "frames", twice_across_batches),
    Fault("mqtt-redelivery", "frames", delivered_again),
    *(Fault(f"clock-{name}", "frames", partial(clock, hours)) for name, hours in CLOCKS.items()),
    Fault("metadata-renamed", "metadata", rename),
    Fault("metadata-new-sensor", "metadata", new_sensor),
    Fault("redis-flushed", "redis", flush),
    Fault("redis-stale", "redis", stale),
    Fault("redis-slow", "redis", slow, SHORT),
    Fault("redis-paused", "redis", pause, SHORT),
)


def faults(flink: str) -> dict[str, Fault]:
    """The faults of a stack with this FLINK_MODE, by name."""
    return {fault.name: fault for fault in FAULTS if fault.flink in (None, flink)}
