"""The metadata as a worker sees it, with a database and a Redis that are away on command."""

import psycopg2
import pytest
import redis

from faces2.io.metadata_cache import ASK_SECONDS, PAUSE_SECONDS, MetadataCache, MetadataUnavailableError
from faces2.models.metadata import Snapshot
from faces2.models.metadata_rows import build_snapshot


def snapshot(version: int) -> Snapshot:
    datapoints = [(1, 1, "Temperature", 3, 2, "Int16", 2, "°C")]
    return build_snapshot(version, datapoints, [("aabbccddee01", 1, 1, 5, f"sensor {version}", 1, 0)])


class Database:
    def __init__(self, version: int) -> None:
        self.held, self.away, self.asked = version, False, 0
        self.broken = False

    def version(self) -> int:
        return self.snapshot().version

    def snapshot(self) -> Snapshot:
        self.asked += 1
        if self.away:
            raise psycopg2.OperationalError("away")
        if self.broken:
            raise ValueError("rows that nobody thought of")
        return snapshot(self.held)

    def close(self) -> None:
        pass


class Cache:
    """A Redis; `vouched` is what the announcer says, which a dead one does no more."""

    def __init__(self, held: Snapshot | None = None) -> None:
        self.held, self.away, self.asked = held, False, 0
        self.vouched = held.version if held else 0

    def _check(self) -> None:
        self.asked += 1
        if self.away:
            raise redis.ConnectionError("away")

    def version(self) -> int:
        self._check()
        return self.vouched

    def snapshot(self) -> Snapshot | None:
        self._check()
        return self.held

    def store(self, held: Snapshot) -> None:
        self._check()
        self.held = held

    def announce(self, version: int) -> None:
        self.held, self.vouched = snapshot(version), version


class World:
    """A worker's cache, the two services and the clock."""

    def __init__(self, database_version: int = 1, cached: int | None = None) -> None:
        self.now = 100.0
        self.database = Database(database_version)
        self.cache = Cache(snapshot(cached) if cached else None)
        self.slept: list[float] = []
        self.worker = MetadataCache(self.database, self.cache, lambda: self.now, self.slept.append)  # type: ignore[arg-type]

    def version(self, after: float = ASK_SECONDS) -> int:
        """The worker's version after the next look of its thread."""
        self.now += after
        self.worker.current()
        self.worker.refresh()
        return self.worker.current().version


def test_the_first_load_is_postgresqls_and_fills_redis() -> None:
    world = World(database_version=3, cached=2)
    assert world.version() == 3
    assert world.cache.held is not None
    assert world.cache.held.version == 3


def test_the_first_load_is_rediss_where_postgresql_is_away() -> None:
    world = World(cached=2)
    world.database.away = True
    assert world.version() == 2


def test_without_either_it_tries_and_then_raises() -> None:
    world = World()
    world.database.away = world.cache.away = True
    with pytest.raises(MetadataUnavailableError, match="PostgreSQL: away; Redis: away"):
        world.worker.current()
    assert len(world.slept) == 7
    world.database.away = False
    assert world.version() == 1


def test_bundles_ask_nobody() -> None:
    world = World()
    world.version()
    asked = world.cache.asked, world.database.asked
    world.cache.announce(2)
    for _ in range(10):
        assert world.worker.current().version == 1
    assert (world.cache.asked, world.database.asked) == asked


def test_a_new_version_in_redis_is_taken_from_redis() -> None:
    world = World(cached=1)
    world.version()
    asked = world.database.asked
    world.cache.announce(2)
    assert world.version() == 2
    assert world.database.asked == asked


def test_a_snapshot_older_than_the_version_is_not_trusted() -> None:
    world = World()
    world.version()
    world.database.held = 2
    world.cache.vouched = 2
    assert world.version() == 2


def test_a_stale_redis_never_rolls_back() -> None:
    world = World(database_version=5)
    world.version()
    world.cache.announce(4)
    assert world.version() == 5
    world.database.away = True
    assert world.version() == 5


def test_a_stale_redis_that_nobody_vouches_for_does_not_hold_back() -> None:
    world = World()
    world.version()
    world.cache.held, world.cache.vouched = snapshot(1), 0
    for version in (2, 3, 4):
        world.database.held = version
        assert world.version() == version, "at the next look"


def test_redis_away_postgresql_serves() -> None:
    world = World(cached=1)
    world.version()
    world.cache.away = True
    asked = world.cache.asked
    for version in (2, 3, 4):
        world.database.held = version
        assert world.version() == version, "at the next look"
    assert world.cache.asked == asked + 1, "not asked again during the pause"
    world.cache.away = False
    world.version(after=PAUSE_SECONDS)
    assert world.cache.asked > asked + 1


def test_both_were_away_the_first_look_after_it_finds_the_change() -> None:
    world = World(cached=1)
    world.version()
    world.cache.away = world.database.away = True
    for _ in range(5):
        assert world.version() == 1
    world.database.held, world.database.away = 2, False
    assert world.version() == 2


def test_an_emptied_redis_is_filled_again() -> None:
    world = World(cached=1)
    world.version()
    world.cache.held, world.cache.vouched = None, 0
    world.database.held = 2
    assert world.version() == 2
    assert world.cache.held is not None


def test_metadata_that_can_not_be_read_leaves_the_last() -> None:
    world = World()
    world.version()
    world.database.held, world.database.broken = 2, True
    assert world.version() == 1
    world.database.broken = False
    assert world.version() == 2


def test_the_thread_looks_once_a_second() -> None:
    world = World()
    world.version()
    world.database.held = 2
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise SystemExit

    world.worker._sleep = sleep
    with pytest.raises(SystemExit):
        world.worker._watch()
    assert waits == [ASK_SECONDS] * 2
    assert world.worker.current().version == 2
