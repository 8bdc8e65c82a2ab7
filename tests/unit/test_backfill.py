"""The back-fill's slices, and what a command is known by."""

import pytest

from faces2.beam_pipeline.backfill import group_of, last_line, slices
from faces2.io.kafka_range import OffsetRange


def part(partition: int, start: int, stop: int) -> OffsetRange:
    return OffsetRange("raw", partition, start, stop)


def test_slices_hold_everything_once_and_in_order() -> None:
    left = [part(0, 5, 17), part(1, 3, 3), part(2, 0, 9)]
    cut = list(slices(left, 10))
    assert cut == [[part(0, 5, 15)], [part(0, 15, 17), part(2, 0, 8)], [part(2, 8, 9)]]


@pytest.mark.parametrize("left", [[], [part(0, 7, 7)], [part(0, 9, 4)]])
def test_nothing_left_is_no_slice(left: list[OffsetRange]) -> None:
    assert list(slices(left, 10)) == []


def test_the_same_command_has_the_same_group() -> None:
    assert group_of("raw", "2h", None) == group_of("raw", "2h", None)
    others = {
        group_of("raw", "2h", None),
        group_of("raw", None, "2h"),
        group_of("raw", "1h", None),
        group_of("x", "2h", None),
    }
    assert len(others) == 4


def test_the_last_line_of_a_stack_trace_says_what_failed() -> None:
    assert last_line(RuntimeError("Traceback\n  File x\nTemporaryError: away\n\n")) == "TemporaryError: away"
    assert last_line(RuntimeError()) == "RuntimeError"
