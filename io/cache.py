"""The metadata in Redis: the same snapshot for all workers, with its version."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from faces2.models.metadata import FORM, Snapshot
from faces2.service.settings import RedisSettings

SNAPSHOT_KEY = f"faces2:metadata:{FORM}"
VERSION_KEY = f"{SNAPSHOT_KEY}:version"
VOUCHED_KEY = f"{SNAPSHOT_KEY}:vouched"
"""The version that the announcer says is PostgreSQL's; it expires when nobody says so any more."""

VOUCHED_SECONDS = 0.75
TIMEOUT_SECONDS = 0.5


def redis_client(settings: RedisSettings) -> redis.Redis:
    """A client that gives up soon and tries once: the database answers as well, so a slow Redis is not waited for."""
    return redis.Redis(
        host=settings.host,
        port=settings.port,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        client_name="faces2-metadata",
    )


class SnapshotCache:
    """The snapshot that Redis holds; redis.RedisError where Redis can not be asked."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def version(self) -> int:
        """The version that PostgreSQL has, 0 where nobody has vouched for it lately."""
        return _number(self._client.get(VOUCHED_KEY))

    def vouch(self, version: int) -> None:
        """Says for a moment that this is PostgreSQL's version."""
        self._client.set(VOUCHED_KEY, version, px=int(VOUCHED_SECONDS * 1000))

    def held(self) -> int:
        """The version of the snapshot held, 0 where there is none."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.get(VERSION_KEY)
            pipe.exists(SNAPSHOT_KEY)
            version, held = pipe.execute()
        return _number(version) if held else 0

    def snapshot(self) -> Snapshot | None:
        """The snapshot held, None where there is none or it is of another form."""
        text = self._client.get(SNAPSHOT_KEY)
        try:
            return Snapshot.from_json(text) if isinstance(text, bytes) else None
        except (ValueError, KeyError):
            return None

    def store(self, snapshot: Snapshot) -> None:
        """Puts snapshot and version there in one step."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.set(SNAPSHOT_KEY, snapshot.to_json())
            pipe.set(VERSION_KEY, snapshot.version)
            pipe.execute()


def _number(text: object) -> int:
    """Others may write to this Redis, too: what is no version of PostgreSQL's is none."""
    return int(text) if isinstance(text, bytes) and text.isdigit() and len(text) < 20 else 0
