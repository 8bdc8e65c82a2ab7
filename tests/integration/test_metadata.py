"""Changes of the metadata reach a worker within two seconds, with Redis and without."""

import time
from collections.abc import Callable, Iterator

import psycopg2
import psycopg2.extensions
import pytest
import redis
from psycopg2 import sql

from faces2.io.cache import SNAPSHOT_KEY, VERSION_KEY, VOUCHED_KEY, SnapshotCache, redis_client
from faces2.io.metadata import answers_within, connect, load_controllers, load_snapshot, read_version
from faces2.io.metadata_announcer import MetadataAnnouncer
from faces2.io.metadata_cache import MetadataCache, open_cache
from faces2.models.metadata import Snapshot
from faces2.service.settings import PostgresSettings, RedisSettings, load

pytestmark = pytest.mark.stack

IN_EFFECT_SECONDS = 2.0
NOBODY = 1
"""A port that nobody listens on: Redis is away."""


class Database:
    """The metadata database, in which one unit is changed."""

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings
        self.connection = connect(settings)

    def execute(self, query: str, *values: object) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql.SQL(query).format(schema=sql.Identifier(self.settings.schema_name)), values)

    def set_unit(self, unit: str) -> None:
        self.execute("UPDATE {schema}.datapoints SET append = %s WHERE datapointid = 3", unit)

    def snapshot(self) -> Snapshot:
        return load_snapshot(self.connection, self.settings.schema_name)


@pytest.fixture
def database(stack: object) -> Iterator[Database]:
    database = Database(load(PostgresSettings))
    yield database
    database.set_unit("ppm")
    database.connection.close()


@pytest.fixture
def announcer(database: Database) -> Iterator[None]:
    announcer = MetadataAnnouncer(database.settings, SnapshotCache(redis_client(load(RedisSettings))))
    announcer.start()
    yield
    announcer.stop()


def unit_of(snapshot: Snapshot) -> str:
    sensor = snapshot.find("aabbccddee01", "J1", "sensor-1")
    assert sensor is not None
    return next(d.unit for d in sensor.template.datapoints if d.datapoint_id == 3)


def seconds_until(condition: Callable[[], bool], limit: float = 5) -> float:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < limit, "it never came"
        time.sleep(0.02)
    return time.monotonic() - begin


def change_seen(database: Database, worker: MetadataCache, unit: str) -> float:
    assert unit_of(worker.current()) != unit
    database.set_unit(unit)
    return seconds_until(lambda: unit_of(worker.current()) == unit)


def test_the_sample_fleet_is_known(database: Database) -> None:
    snapshot = database.snapshot()
    assert {f"aabbccddee0{n}" for n in range(1, 5)} <= {pin.mac for pin in snapshot.sensors}
    assert len({sensor.template.template_id for sensor in snapshot.sensors.values()}) >= 3
    assert unit_of(snapshot) == "ppm"
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


def test_the_controllers_with_sensors_are_known(database: Database) -> None:
    macs = [f"{mac:012x}" for mac in load_controllers(database.connection, database.settings.schema_name).tolist()]
    assert macs == sorted({pin.mac for pin in database.snapshot().sensors})


def test_every_change_of_a_table_raises_the_version(database: Database) -> None:
    schema = database.settings.schema_name
    before = read_version(database.connection, schema)
    database.execute("DELETE FROM {schema}.pins WHERE pinid = -1")
    assert read_version(database.connection, schema) > before


def test_the_database_refuses_what_could_not_be_decoded(database: Database) -> None:
    for query in (
        "UPDATE {schema}.datapoints SET dataencoding = 'Int17' WHERE datapointid = 3",
        "UPDATE {schema}.datapoints SET length = 9 WHERE datapointid = 3",
        "UPDATE {schema}.devices SET macaddress = 'AA:BB:CC:DD:EE:01' WHERE deviceid = 1",
        "UPDATE {schema}.pins SET position = 7 WHERE pinid = 1",
    ):
        with pytest.raises(psycopg2.errors.CheckViolation):
            database.execute(query)


@pytest.mark.usefixtures("announcer")
def test_a_change_is_in_effect_within_two_seconds(database: Database) -> None:
    worker = open_cache(database.settings, load(RedisSettings))
    for unit in ("a", "b", "c"):
        assert change_seen(database, worker, unit) < IN_EFFECT_SECONDS


def test_a_change_is_in_effect_within_two_seconds_without_redis(database: Database) -> None:
    worker = open_cache(database.settings, RedisSettings(port=NOBODY))
    for unit in ("a", "b", "c"):
        assert change_seen(database, worker, unit) < IN_EFFECT_SECONDS


@pytest.mark.usefixtures("announcer")
def test_a_redis_that_does_not_answer_stalls_a_worker_for_a_moment_only(database: Database) -> None:
    client = redis.Redis(host=load(RedisSettings).host, port=load(RedisSettings).port)
    worker = open_cache(database.settings, load(RedisSettings))
    worker.current()
    client.client_pause(4000)
    database.set_unit("z")
    longest, begin = 0.0, time.monotonic()
    while unit_of(worker.current()) != "z":
        before = time.monotonic()
        worker.current()
        longest = max(longest, time.monotonic() - before)
        assert time.monotonic() - begin < 2 * IN_EFFECT_SECONDS
    assert longest < 1
    client.client_unpause()


@pytest.mark.usefixtures("announcer")
def test_an_emptied_or_rolled_back_redis_is_mended_within_a_second(database: Database) -> None:
    client = redis.Redis(host=load(RedisSettings).host, port=load(RedisSettings).port)
    worker = open_cache(database.settings, load(RedisSettings))
    version = worker.current().version

    def mended() -> bool:
        return client.get(VERSION_KEY) == str(version).encode() and bool(client.exists(SNAPSHOT_KEY))

    seconds_until(mended)
    client.delete(SNAPSHOT_KEY, VERSION_KEY, VOUCHED_KEY)
    assert seconds_until(mended) < 1
    client.set(VERSION_KEY, 1)
    assert worker.current().version == version
    assert seconds_until(mended) < 1


@pytest.mark.usefixtures("announcer")
def test_the_announcer_comes_back_after_its_connection_broke(database: Database) -> None:
    worker = open_cache(database.settings, load(RedisSettings))
    worker.current()
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'faces2-metadata' AND pid <> pg_backend_pid()"
    )
    database.set_unit("y")
    assert seconds_until(lambda: unit_of(worker.current()) == "y") < 2 * IN_EFFECT_SECONDS


def test_without_an_announcer_redis_is_soon_not_believed(database: Database) -> None:
    settings = load(RedisSettings)
    cache = SnapshotCache(redis.Redis(settings.host, settings.port, db=1))  # the pipeline's announcer is in another
    announcer = MetadataAnnouncer(database.settings, cache)
    announcer.start()
    version = read_version(database.connection, database.settings.schema_name)
    seconds_until(lambda: cache.version() >= version)
    announcer.stop()
    assert seconds_until(lambda: cache.version() != version) < 1


def test_a_database_that_does_not_answer_is_left_in_time(database: Database) -> None:
    connection = connect(database.settings)
    begin = time.monotonic()
    with pytest.raises(psycopg2.OperationalError), answers_within(connection, 0.3), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(4)")
    assert time.monotonic() - begin < 2
    assert connection.closed
