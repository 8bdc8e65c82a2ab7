"""Which offsets a stretch is, and where a reader's partitions end; on fakes of what Kafka answers."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from confluent_kafka import KafkaError, KafkaException

from faces2.io.kafka_range import OffsetRange, _within
from faces2.io.kafka_stretch import Stretch, cut
from faces2.models.stretch import Moment, Offsets

HELD = [OffsetRange("raw", 0, 100, 200), OffsetRange("raw", 1, 0, 50)]
LONG_AGO = Moment(datetime(2020, 1, 1, tzinfo=UTC))


def spans(stretch: Stretch) -> list[tuple[int, int, int]]:
    return [tuple(part[1:]) for part in stretch.ranges]


def test_all_that_is_held() -> None:
    found = cut(HELD, {0: 100, 1: 0}, {0: 200, 1: 50}, None)
    assert (spans(found), found.gone, found.size) == ([(0, 100, 200), (1, 0, 50)], [], 150)
    assert str(found) == "0:100-200, 1:0-50"


def test_only_partitions_that_both_ends_name() -> None:
    assert spans(cut(HELD, {1: 10}, {0: 150, 1: 40}, Offsets(((1, 10),)))) == [(1, 10, 40)]
    assert spans(cut(HELD, {7: 10}, {7: 40}, Offsets(((7, 10),)))) == []


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [(150, 170, (150, 170)), (150, 999, (150, 200)), (170, 150, (170, 170)), (999, 999, (200, 200))],
)
def test_an_end_beyond_what_is_held(begin: int, end: int, expected: tuple[int, int]) -> None:
    assert spans(cut(HELD, {0: begin}, {0: end}, Offsets(((0, begin),)))) == [(0, *expected)]


def test_what_is_gone_is_said() -> None:
    by_offset = cut(HELD, {0: 30}, {0: 150}, Offsets(((0, 30),)))
    assert by_offset.gone == ["partition 0: offsets 30 to 99 are no longer kept"]
    by_time = cut(HELD, {0: 100, 1: 0}, {0: 150, 1: 50}, LONG_AGO)
    assert by_time.gone == ["partition 0 begins at offset 100: what was before is no longer kept"]
    assert cut(HELD, {0: 120}, {0: 150}, LONG_AGO).gone == []


@dataclass
class Message:
    at: tuple[int, int]
    code: int = 0

    def error(self) -> KafkaError | None:
        return KafkaError(self.code) if self.code else None

    def partition(self) -> int:
        return self.at[0]

    def offset(self) -> int:
        return self.at[1]


def test_a_partition_ends_at_its_stop() -> None:
    stop = {0: 12, 1: 5}
    messages = [Message((0, 10)), Message((0, 11)), Message((0, 12)), Message((1, 3)), Message((2, 0))]
    assert _within(messages, stop) == [messages[0], messages[1], messages[3]]
    assert stop == {1: 5}


@pytest.mark.parametrize("last", [Message((1, 7)), Message((1, 4), KafkaError._PARTITION_EOF)])
def test_a_hole_before_the_stop_is_passed(last: Message) -> None:
    stop = {1: 5}
    assert _within([Message((1, 3)), last], stop) == [Message((1, 3))]
    assert stop == {}


def test_an_error_is_raised() -> None:
    with pytest.raises(KafkaException):
        _within([Message((0, 1), KafkaError.OFFSET_OUT_OF_RANGE)], {0: 12})
