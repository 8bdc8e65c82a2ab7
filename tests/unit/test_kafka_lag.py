"""The lag of a group: what is not committed of what there is."""

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from faces2.io.kafka_lag import lags

NONE = -1001


class FakeConsumer:
    """A topic's partitions as (committed, first, end)."""

    def __init__(self, *held: tuple[int, int, int]) -> None:
        self._held = held

    def list_topics(self, timeout: float) -> SimpleNamespace:
        return SimpleNamespace(topics={"t": SimpleNamespace(partitions=dict(enumerate(self._held)))})

    def committed(self, parts: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition("t", part.partition, self._held[part.partition][0]) for part in parts]

    def get_watermark_offsets(self, part: TopicPartition, timeout: float) -> tuple[int, int]:
        return self._held[part.partition][1:]


@pytest.mark.parametrize(
    ("held", "lag"),
    [
        ((90, 10, 100), 10),
        ((100, 10, 100), 0),
        ((NONE, 10, 100), 90),
        ((5, 10, 100), 90),
        ((120, 0, 100), 0),
        ((NONE, 0, 0), 0),
    ],
    ids=["behind", "at the end", "nothing committed", "retention took some", "the topic is another", "empty"],
)
def test_lag(held: tuple[int, int, int], lag: int) -> None:
    assert lags(FakeConsumer((7, 0, 9), held), "t") == {0: 2, 1: lag}  # type: ignore[arg-type]


def test_no_topic_has_no_lag() -> None:
    assert lags(FakeConsumer((7, 0, 9)), "other") == {}  # type: ignore[arg-type]


def test_a_partition_that_can_not_be_asked() -> None:
    consumer = FakeConsumer((7, 0, 9))
    broken = SimpleNamespace(partition=0, offset=NONE, error=KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
    consumer.committed = lambda parts, timeout: [broken]  # type: ignore[method-assign,assignment,list-item]
    with pytest.raises(KafkaException):
        lags(consumer, "t")  # type: ignore[arg-type]
