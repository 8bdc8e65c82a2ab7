"""The process `faces2 waiting`: frames of unknown devices come in when their device is known."""

import threading
from contextlib import closing

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from faces2.dead_letters.waiting import Waiting
from faces2.io.cache import SnapshotCache, redis_client
from faces2.io.kafka_topic import KafkaAwayError, names
from faces2.io.metadata import MetadataDatabase, connect
from faces2.io.metadata_cache import MetadataCache, MetadataUnavailableError
from faces2.models.metadata import Snapshot
from faces2.service import logs
from faces2.service.health import Check, HealthServer
from faces2.service.metrics import CONNECTED, RETRIES
from faces2.service.settings import (
    KafkaSettings,
    PostgresSettings,
    RedisSettings,
    ServiceSettings,
    WaitingSettings,
    load,
)
from faces2.service.shutdown import on_signals

log = logs.get_logger(__name__)


def main() -> None:
    """Replays until SIGTERM."""
    service, settings = load(ServiceSettings), load(WaitingSettings)
    kafka, postgres = load(KafkaSettings), load(PostgresSettings)
    logs.configure("waiting", service.log_level)
    stop = on_signals()
    database, cache = MetadataDatabase(postgres), SnapshotCache(redis_client(load(RedisSettings)))
    work = Work(kafka, settings, MetadataCache(database, cache, sleep=sleep_using_event(stop)), stop)
    checks = _checks(kafka, postgres) | {"dead letters": lambda: work.trouble}
    health = HealthServer(service.http_host, settings.http_port, checks)
    health.start()
    try:
        work.run()
    finally:
        health.stop()


class Work:
    """Begins anew, after a pause, whenever Kafka was away; `trouble` is why it stands still."""

    def __init__(
        self, kafka: KafkaSettings, settings: WaitingSettings, metadata: MetadataCache, stop: threading.Event
    ) -> None:
        self.trouble: str | None = "not followed yet"
        self._kafka = kafka
        self._settings = settings
        self._metadata = metadata
        self._stop = stop

    def run(self) -> None:
        """Until `stop`."""
        Retrying(
            retry=retry_if_exception_type((KafkaAwayError, MetadataUnavailableError)),
            wait=wait_random_exponential(multiplier=0.5, max=5),
            sleep=sleep_using_event(self._stop),
            stop=stop_when_event_set(self._stop),
            before_sleep=self._away,
            retry_error_callback=lambda _: None,
        )(self._stretch)

    def _stretch(self) -> None:
        self._metadata.current()  # before anything is read: without it no frame can go on
        waiting = Waiting(self._kafka, self._settings, self._snapshot, stop=self._stop)
        self.trouble = None
        CONNECTED.labels("kafka").set(1)
        waiting.run()

    def _snapshot(self) -> Snapshot:
        self._metadata.refresh()  # asked for once a second, by the only thread there is
        return self._metadata.current()

    def _away(self, attempt: RetryCallState) -> None:
        assert attempt.outcome is not None
        CONNECTED.labels("kafka").set(0)
        RETRIES.labels("waiting").inc()
        trouble = str(attempt.outcome.exception())
        if trouble != self.trouble:  # an outage is one line
            log.warning("away", error=trouble)
        self.trouble = trouble


def _checks(kafka: KafkaSettings, postgres: PostgresSettings) -> dict[str, Check]:
    def topics() -> str | None:
        missing = {kafka.raw_topic, kafka.dead_letter_topic, kafka.replay_topic} - names(kafka)
        return f"no topic {', '.join(sorted(missing))}" if missing else None

    def database() -> None:
        with closing(connect(postgres)):
            pass

    return {"kafka": topics, "postgresql": database}
