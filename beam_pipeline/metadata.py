"""How a worker gets the metadata: one cache a process, shared by all of its bundles' threads."""

from collections.abc import Callable

from apache_beam.utils.shared import Shared

from faces2.io.metadata_cache import MetadataCache, open_cache
from faces2.models.metadata import Snapshot
from faces2.service.settings import PostgresSettings, RedisSettings


class WorkerMetadata:
    """A transforms.enrich.SnapshotSource on PostgreSQL and Redis; it travels to the workers with the settings only."""

    def __init__(self, postgres: PostgresSettings, redis: RedisSettings) -> None:
        self._postgres = postgres
        self._redis = redis
        self._shared = Shared()

    def __call__(self) -> Callable[[], Snapshot]:
        cache: MetadataCache = self._shared.acquire(self._open)
        return cache.current

    def _open(self) -> MetadataCache:
        cache = open_cache(self._postgres, self._redis)
        cache.current()
        return cache
