"""The audit's comparison: readings that must be there against the rows that are."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faces2.audit.compare import LEAST_GAP, MOST_SPANS, compare, spans
from faces2.audit.keys import Keys
from faces2.audit.suspects import Suspects
from faces2.io.copy_binary import HEADER_BYTES, ROW_BYTES, Rows, from_copy_binary, to_copy_binary
from faces2.models.batches import Readings

Row = tuple[int, int, int, float]

ROWS = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from([-5, 0, 1, 2**31 - 1]), st.integers(0, 2), st.sampled_from([1.0, 2.0])
    ),
    max_size=30,
)


def readings(rows: list[Row]) -> Readings:
    columns = list(zip(*rows, strict=True)) if rows else [[], [], [], []]
    return Readings(
        np.array(columns[0], np.int64),
        np.array(columns[1], np.int32),
        np.array(columns[2], np.int32),
        np.array(columns[3], np.float64),
        np.arange(len(rows), dtype=np.int32),
        [(b"key", b"%d" % index) for index in range(len(rows))],
    )


class Table:
    """Rows as the database would give them, a few at once."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = {row[:3]: row[3] for row in rows}
        self.asked: list[tuple[int, int, list[int]]] = []

    def __call__(self, first: int, last: int, devices: NDArray[np.int32]) -> Iterator[Rows]:
        self.asked.append((first, last, devices.tolist()))
        inside = [(*key, value) for key, value in self.rows.items() if first <= key[0] <= last and key[1] in devices]
        for begin in range(0, len(inside), 4):
            found = readings(inside[begin : begin + 4])
            yield Rows(found.micros, found.device_id, found.datapoint_id, found.value)


@given(ROWS, ROWS)
def test_it_says_what_a_dictionary_says(sent: list[Row], stored: list[Row]) -> None:
    table = Table(stored)
    present, values, right = compare(readings(sent), table)
    may_be: dict[tuple[int, ...], set[float]] = {}
    for row in sent:
        may_be.setdefault(row[:3], set()).add(row[3])
    for index, row in enumerate(sent):
        assert present[index] == (row[:3] in table.rows)
        assert right[index] == (table.rows.get(row[:3]) in may_be[row[:3]])
        if present[index]:
            assert values[index] == table.rows[row[:3]]


def test_a_row_without_a_number_is_no_right_one() -> None:
    present, _, right = compare(readings([(1, 1, 1, 1.0)]), Table([(1, 1, 1, float("nan"))]))
    assert present.all()
    assert not right.any()


def test_a_clock_that_is_far_off_does_not_make_us_read_all_between() -> None:
    table = Table([])
    compare(readings([(0, 1, 1, 0.0), (5, 2, 1, 0.0), (10**15, 3, 1, 0.0)]), table)
    assert table.asked == [(0, 5, [1, 2]), (10**15, 10**15, [3])]


@given(st.lists(st.integers(0, 10**6).map(lambda n: n * LEAST_GAP // 3), min_size=1, max_size=200))
def test_spans_hold_every_time_and_are_few(times: list[int]) -> None:
    cut = spans(np.array(times, np.int64))
    assert 1 <= len(cut) <= MOST_SPANS
    assert all(first <= last for first, last in cut)
    assert all(before[1] < after[0] for before, after in pairwise(cut))
    assert all(any(first <= time <= last for first, last in cut) for time in times)


def test_no_time_is_no_span() -> None:
    assert spans(np.array([], np.int64)) == []


@given(ROWS, ROWS)
def test_keys_are_found_where_they_are(rows: list[Row], wanted: list[Row]) -> None:
    have, ask = readings(rows), readings(wanted)
    keys = Keys(have.micros, have.device_id, have.datapoint_id)
    assert len(keys) == len({row[:3] for row in rows})
    found = keys.find(ask.micros, ask.device_id, ask.datapoint_id)
    index = {row[:3]: int(keys.of[at]) for at, row in enumerate(rows)}
    assert found.tolist() == [index.get(row[:3], -1) for row in wanted]


def test_rows_go_through_copy_s_format_and_back() -> None:
    rows = readings([(-1, -5, 2**31 - 1, -0.5), (1_700_000_000_000_001, 7, 1, 1e300)])
    block = to_copy_binary(rows)[HEADER_BYTES:]
    assert len(block) // ROW_BYTES == 2
    back = from_copy_binary(block)
    for name in ("micros", "device_id", "datapoint_id", "value"):
        assert getattr(back, name).tolist() == getattr(rows, name).tolist()


def test_a_value_that_another_frame_sent_is_not_wrong() -> None:
    suspects = Suspects()
    found = readings([(1, 1, 1, 5.0), (2, 1, 1, 5.0), (2, 1, 1, 6.0)])
    suspects.add(found, np.array([7.0, 8.0, 8.0]), [(0, 10), (0, 11), (1, 12)])
    suspects.clear(readings([(1, 1, 1, 6.0), (2, 1, 2, 8.0)]))
    assert len(suspects) == 3
    suspects.clear(readings([(1, 1, 1, 7.0), (1, 1, 1, 9.0)]))
    assert suspects.places(9) == [(0, 11), (1, 12)]
    assert suspects.places(1) == [(0, 11)]
    for _ in range(2):
        suspects.clear(readings([(2, 1, 1, 8.0)]))
        assert len(suspects) == 0
