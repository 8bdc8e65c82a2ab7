"""Kafka's topics, with the settings of design.md: created before anything writes; safe to repeat."""

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random_exponential

from faces2.service import logs
from faces2.service.settings import KafkaSettings, ServiceSettings, load

DAY_MS = 24 * 3600 * 1000


def main() -> None:
    """Creates the topics that are missing."""
    logs.configure("topics", load(ServiceSettings).log_level)
    settings = load(KafkaSettings)
    created = create_topics(AdminClient({"bootstrap.servers": settings.brokers}), settings)
    logs.get_logger(__name__).info("topics ready", created=created)


def topics(settings: KafkaSettings) -> list[NewTopic]:
    """Raw is kept for replay and audit; processed is compacted, but late, so that a slow sink misses no reading. A dead
    letter is a record and its headers, so those may be larger than what raw takes."""
    configs = {
        settings.raw_topic: {"retention.ms": str(7 * DAY_MS), "max.message.bytes": "1048576"},
        settings.processed_topic: {"cleanup.policy": "compact", "min.compaction.lag.ms": str(7 * DAY_MS)},
        settings.dead_letter_topic: {"retention.ms": str(30 * DAY_MS), "max.message.bytes": "4194304"},
        # Longer than the dead letters that it tells of, which go with their segment.
        settings.replay_topic: {"cleanup.policy": "compact,delete", "retention.ms": str(45 * DAY_MS)},
    }
    return [
        NewTopic(name, num_partitions=settings.partitions, replication_factor=settings.replication, config=config)
        for name, config in configs.items()
    ]


@retry(
    retry=retry_if_exception(lambda error: isinstance(error, KafkaException) and error.args[0].retriable()),
    wait=wait_random_exponential(0.2, max=5),
    stop=stop_after_delay(60),
    reraise=True,
)
def create_topics(admin: AdminClient, settings: KafkaSettings) -> list[str]:
    """The names of those that were not there."""
    created = []
    for name, future in admin.create_topics(topics(settings), request_timeout=10).items():
        try:
            future.result()
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return created
