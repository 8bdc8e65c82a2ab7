"""Announces changes of the metadata: what PostgreSQL says is in Redis within a second. One runs beside each job."""

import select
from collections.abc import Callable

import psycopg2
import redis
from tenacity import Retrying, retry_if_exception_type, sleep_using_event, stop_when_event_set, wait_random_exponential

from faces2.io.cache import SnapshotCache
from faces2.io.metadata import CHANNEL, Connection, connect, load_snapshot, read_version
from faces2.io.outage import Outage
from faces2.models.metadata import Snapshot
from faces2.service.background import Background
from faces2.service.logs import get_logger
from faces2.service.metrics import METADATA_LOADS, RETRIES
from faces2.service.settings import PostgresSettings

POLL_SECONDS = 0.25
"""Well below VOUCHED_SECONDS of the cache."""

log = get_logger(__name__)


class MetadataAnnouncer(Background):
    """A thread that LISTENs in PostgreSQL and keeps Redis at its version, also after Redis was emptied or away."""

    def __init__(
        self,
        settings: PostgresSettings,
        cache: SnapshotCache,
        connector: Callable[[PostgresSettings], Connection] = connect,
    ) -> None:
        super().__init__("metadata-announcer")
        self._settings = settings
        self._cache = cache
        self._connector = connector
        self._redis = Outage("redis", redis.RedisError, POLL_SECONDS)

    def _run(self) -> None:
        postgres = Outage("postgres", psycopg2.Error, 0)
        while not self._stop.is_set():
            try:
                postgres.attempt(self._announce)
            except Exception:  # whatever the metadata holds: the workers ask PostgreSQL meanwhile
                log.exception("the metadata can not be announced")
                RETRIES.labels("metadata_announce").inc()
            self._stop.wait(POLL_SECONDS)

    def _announce(self) -> None:
        """Until the connection breaks (psycopg2.Error) or the thread is stopped."""
        connection = self._connected()
        if connection is None:
            return
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            while not self._stop.is_set():
                self._sync(connection)
                select.select([connection], [], [], POLL_SECONDS)
                connection.poll()
                connection.notifies.clear()
        finally:
            connection.close()

    def _connected(self) -> Connection | None:
        """A connection, tried for until there is one; None when stopped."""
        retrying = Retrying(
            retry=retry_if_exception_type(psycopg2.Error),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            sleep=sleep_using_event(self._stop),
            stop=stop_when_event_set(self._stop),
            retry_error_callback=lambda _: None,
        )
        connection: Connection | None = retrying(self._connector, self._settings)
        return connection

    def _sync(self, connection: Connection) -> None:
        """Writes the snapshot to Redis where Redis has another version, or none; vouches for what is there."""
        version = read_version(connection, self._settings.schema_name)
        held = self._redis.attempt(self._cache.held)
        if held is None:
            return
        if held != version:
            snapshot = load_snapshot(connection, self._settings.schema_name)
            METADATA_LOADS.labels("postgres").inc()
            self._redis.attempt(lambda: self._store(snapshot))
            version = snapshot.version
        self._redis.attempt(lambda: self._cache.vouch(version))

    def _store(self, snapshot: Snapshot) -> None:
        self._cache.store(snapshot)
        log.info("metadata announced", version=snapshot.version, sensors=len(snapshot.sensors))
