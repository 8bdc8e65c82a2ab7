"""The metadata as each worker process sees it: held in the process, watched by a thread of its own.

Bundles never wait for Redis or PostgreSQL: they take what is held.
"""

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
from faces2.service.metrics import METADATA_LOADS, RETRIES
from faces2.service.settings import PostgresSettings, RedisSettings

ASK_SECONDS = 1.0
PAUSE_SECONDS = 5.0
"""Between two tries with a Redis that is away; PostgreSQL is asked meanwhile."""

FIRST_ATTEMPTS = 8

log = get_logger(__name__)


class MetadataUnavailableError(RuntimeError):
    """There is no metadata to begin with: neither PostgreSQL nor Redis gives any."""


class MetadataCache:
    """Gives the snapshot to the bundles' threads; its version only ever grows.

    The version is Redis's while the announcer vouches for it there, else PostgreSQL's; with both away the last snapshot
    serves on.
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
        self._sleep = sleep
        self._redis = Outage("redis", redis.RedisError, PAUSE_SECONDS, clock)
        self._postgres = Outage("postgres", psycopg2.Error, 0, clock)
        self._lock = threading.Lock()
        self._held: Snapshot | None = None

    def current(self) -> Snapshot:
        """The snapshot, at most some two seconds old; MetadataUnavailableError only when there never was one."""
        return self._held or self._first()

    def watch(self) -> None:
        """Refreshes what is held once a second, in a thread that ends with the process."""
        threading.Thread(target=self._watch, name="metadata-watch", daemon=True).start()

    def refresh(self) -> None:
        """Takes over a newer version, if there is one."""
        held = self._held
        if held is None:
            return
        try:
            self._held = self._newest(held)
        except Exception:  # whatever the metadata holds, the worker goes on with what it has
            log.exception("the metadata can not be refreshed")
            RETRIES.labels("metadata_refresh").inc()

    def _watch(self) -> None:
        while True:
            self._sleep(ASK_SECONDS)
            self.refresh()

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

    def _newest(self, held: Snapshot) -> Snapshot:
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
        """PostgreSQL's version by the shorter way that answers, 0 where none does."""
        return self._redis.attempt(self._cache.version) or self._postgres.attempt(self._database.version) or 0

    def _from_postgres(self, snapshot: Snapshot) -> Snapshot:
        METADATA_LOADS.labels("postgres").inc()
        self._redis.attempt(lambda: self._cache.store(snapshot))
        return snapshot


def open_cache(postgres: PostgresSettings, redis_settings: RedisSettings) -> MetadataCache:
    """A worker's cache on the real services, watched; nothing is connected before `current` is called."""
    cache = MetadataCache(MetadataDatabase(postgres), SnapshotCache(redis_client(redis_settings)))
    cache.watch()
    return cache
