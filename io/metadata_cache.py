"""The metadata as each worker process sees it: in the process, checked once a second, reloaded when it changed."""

import threading
import time
from collections.abc import Callable

import psycopg2
import redis
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from faces2.io.cache import SnapshotCache, redis_client
from faces2.io.metadata import MetadataDatabase
from faces2.io.outage import Outage
from faces2.models.metadata import Snapshot
from faces2.service.logs import get_logger
from faces2.service.metrics import METADATA_LOADS
from faces2.service.settings import PostgresSettings, RedisSettings

ASK_SECONDS = 1.0
RECHECK_SECONDS = 10.0
PAUSE_SECONDS = 5.0
FIRST_ATTEMPTS = 8

log = get_logger(__name__)


class MetadataUnavailableError(RuntimeError):
    """There is no metadata to begin with: neither PostgreSQL nor Redis gives any."""


class MetadataCache:
    """Gives the snapshot to the bundles' threads; its version only ever grows.

    Redis is asked for the version, and PostgreSQL where Redis has none; with both away the last snapshot serves on.
    PostgreSQL is asked now and then all the same, so that a Redis that nobody writes to any more does not hold us back.
    """

    def __init__(
        self,
        database: MetadataDatabase,
        cache: SnapshotCache,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._cache = cache
        self._clock = clock
        self._sleep = sleep
        self._redis = Outage("redis", redis.RedisError, PAUSE_SECONDS, clock)
        self._postgres = Outage("postgres", psycopg2.Error, PAUSE_SECONDS, clock)
        self._lock = threading.Lock()
        self._held: Snapshot | None = None
        self._next_ask = float("-inf")
        self._next_recheck = float("-inf")

    def current(self) -> Snapshot:
        """The snapshot, at most some two seconds old; MetadataUnavailableError only when there never was one."""
        held = self._held
        if held is None:
            return self._first()
        # One thread asks; the others need not wait for it.
        if self._clock() >= self._next_ask and self._lock.acquire(blocking=False):
            try:
                self._next_ask = self._clock() + ASK_SECONDS
                held = self._held = self._refresh(held)
            finally:
                self._lock.release()
        return held

    def _first(self) -> Snapshot:
        with self._lock:
            if self._held is None:
                retrying = Retrying(
                    retry=retry_if_exception_type(MetadataUnavailableError),
                    stop=stop_after_attempt(FIRST_ATTEMPTS),
                    wait=wait_random_exponential(multiplier=0.5, max=10),
                    sleep=self._sleep,
                    reraise=True,
                )
                self._held = retrying(self._load)
                self._next_ask = self._clock() + ASK_SECONDS
                self._next_recheck = self._clock() + RECHECK_SECONDS
            return self._held

    def _load(self) -> Snapshot:
        """PostgreSQL's snapshot, or Redis's where it is away; with no pauses, for there is nothing to go on with."""
        try:
            return self._from_postgres(self._database.snapshot())
        except psycopg2.Error as error:
            reason = str(error).strip()
        try:
            snapshot = self._cache.snapshot()
        except redis.RedisError as error:
            raise MetadataUnavailableError(f"PostgreSQL: {reason}; Redis: {error}") from None
        if snapshot is None:
            raise MetadataUnavailableError(f"PostgreSQL: {reason}; Redis: holds no metadata")
        log.warning("metadata from Redis, PostgreSQL is away", error=reason)
        METADATA_LOADS.labels("redis").inc()
        return snapshot

    def _refresh(self, held: Snapshot) -> Snapshot:
        version = self._version()
        if version <= held.version:
            return held
        fresh = self._redis.attempt(self._cache.snapshot)
        if fresh is not None and fresh.version >= version:
            METADATA_LOADS.labels("redis").inc()
        else:
            fresh = self._postgres.attempt(lambda: self._from_postgres(self._database.snapshot()))
        if fresh is None or fresh.version <= held.version:
            return held
        log.info("metadata reloaded", version=fresh.version, sensors=len(fresh.sensors))
        return fresh

    def _version(self) -> int:
        """The newest version that either knows of, 0 where none does."""
        cached = self._redis.attempt(self._cache.version) or 0
        if cached and self._clock() < self._next_recheck:
            return cached
        self._next_recheck = self._clock() + RECHECK_SECONDS
        return max(cached, self._postgres.attempt(self._database.version) or 0)

    def _from_postgres(self, snapshot: Snapshot) -> Snapshot:
        METADATA_LOADS.labels("postgres").inc()
        self._redis.attempt(lambda: self._cache.store(snapshot))
        return snapshot


def open_cache(postgres: PostgresSettings, redis_settings: RedisSettings) -> MetadataCache:
    """A worker's cache on the real services; nothing is connected before `current` is called."""
    return MetadataCache(MetadataDatabase(postgres), SnapshotCache(redis_client(redis_settings)))
