"""The writer against a database that fails on command: nothing lost, nothing twice, only the bad rows refused."""

import struct
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import apache_beam as beam
import numpy as np
import psycopg2
import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import FixedWindows, IntervalWindow
from hypothesis import given
from hypothesis import strategies as st

from faces2.io import timescale, write_readings
from faces2.io.copy_binary import to_copy_binary
from faces2.io.timescale import TemporaryError, Writer
from faces2.io.write_readings import MOST_BATCHES, WriteToTimescale
from faces2.models.batches import Readings
from faces2.models.dead_letter import DeadLetter, Reason
from faces2.service import metrics
from faces2.service.settings import TimescaleSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MICROS = 1_767_225_600_000_000 - 1_000_000
PG_EPOCH = 946_684_800_000_000
SETTINGS = TimescaleSettings(password="secret")

Row = tuple[int, int, int, float]


def readings_of(rows: list[Row]) -> Readings:
    micros, devices, points, values = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Readings(
        np.array(micros, np.int64),
        np.array(devices, np.int32),
        np.array(points, np.int32),
        np.array(values, np.float64),
        np.arange(len(rows), dtype=np.int32),
        [(b"%d" % i, b"value") for i in range(len(rows))],
    )


def rows(count: int, first: int = 0) -> list[Row]:
    return [(MICROS, number, 1, number / 2) for number in range(first, first + count)]


def parse_copy_binary(data: bytes) -> list[Row]:
    """By PostgreSQL's manual, COPY, "Binary Format"."""
    assert data[:11] == b"PGCOPY\n\xff\r\n\0"
    flags, extension = struct.unpack_from(">ii", data, 11)
    assert (flags, extension) == (0, 0)
    found, at = [], 19
    while (fields := struct.unpack_from(">h", data, at)[0]) != -1:
        assert fields == 4
        s1, micros, s2, device, s3, point, s4, value = struct.unpack_from(">iqiiiiid", data, at + 2)
        assert (s1, s2, s3, s4) == (8, 4, 4, 8)
        found.append((micros + PG_EPOCH, device, point, value))
        at += 2 + 4 * 4 + 8 + 4 + 4 + 8
    assert at + 2 == len(data)
    return found


SMALL, FINITE = st.integers(-(2**31), 2**31 - 1), st.floats(allow_nan=False)


@given(st.lists(st.tuples(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999), SMALL, SMALL, FINITE)))
def test_copy_binary_reads_back(many: list[Row]) -> None:
    assert parse_copy_binary(to_copy_binary(readings_of(many))) == many


class FakeDatabase:
    """decoded_data with its primary key. The next COPYs raise `errors`; rows of `refused` devices never go in, nor more
    than `most` at once."""

    def __init__(self, errors: list[str | None] | None = None, refused: set[int] | None = None) -> None:
        self.table: dict[tuple[int, int, int], float] = {}
        self.errors = errors or []
        self.refused = refused or set()
        self.batches: list[int] = []
        self.most = 2**31
        self.connections = 0
        self.race = 0
        self.idle = threading.Event()
        self.idle.set()

    def connect(self, *_: Any) -> "FakeConnection":
        self.connections += 1
        return FakeConnection(self)


class FakeConnection:
    """One transaction at a time, seen by the database at the commit."""

    def __init__(self, database: FakeDatabase) -> None:
        self.database = database
        self.closed = 0
        self.broken = False
        self._new: list[Row] = []
        self._staged: list[Row] = []

    def cursor(self) -> "FakeConnection":
        assert not self.broken, "rolled back first"
        return self

    def copy_expert(self, statement: str, data: BytesIO, size: int) -> None:
        copied = parse_copy_binary(data.read(size))
        if self.database.errors:
            self._fail(self.database.errors.pop(0))
        if len(copied) > self.database.most:
            self._fail("53200")
        if refused := [row for row in copied if row[1] in self.database.refused]:
            self._fail("22003", str(refused[0]))
        if statement.startswith("COPY decoded_data"):
            keys = [row[:3] for row in copied]
            if len({*keys}) < len(keys) or any(key in self.database.table for key in keys):
                self._fail("23505")
            self._new = copied
        else:
            self._staged = copied

    def execute(self, statement: str) -> None:
        if "INSERT" in statement:
            if self.database.race:
                self.database.race -= 1
                self._fail("23505")
            self._new = self._staged

    def commit(self) -> None:
        assert not self.broken
        assert self.database.idle.wait(10)
        self.database.batches.append(len(self._new))
        self.database.table.update({row[:3]: row[3] for row in self._new})
        self._new, self._staged = [], []

    def rollback(self) -> None:
        self._new, self._staged, self.broken = [], [], False

    def close(self) -> None:
        self.closed = 1

    def _fail(self, sqlstate: str | None, detail: str = "") -> None:
        self.broken, self.closed = True, 2 if sqlstate is None else 0
        raise type("Fault", (psycopg2.Error,), {"pgcode": sqlstate})(detail or f"state {sqlstate}")


def table_of(many: list[Row]) -> dict[tuple[int, int, int], float]:
    return {row[:3]: row[3] for row in many}


def path_count(path: str) -> float:
    return float(metrics.ROWS.labels(path=path)._value.get())


def test_rows_are_copied_over_one_connection() -> None:
    database, before = FakeDatabase(), path_count("copy")
    writer = Writer(database.connect)
    assert writer.write(readings_of(rows(5))) == []
    assert writer.write(readings_of(rows(5, 5))) == []
    assert database.table == table_of(rows(10))
    assert (database.connections, database.batches, path_count("copy") - before) == (1, [5, 5], 10)


def test_rows_that_are_there_are_written_over_and_a_key_twice_in_a_batch_counts_once() -> None:
    database, before = FakeDatabase(), path_count("upsert")
    writer = Writer(database.connect)
    writer.write(readings_of(rows(5)))
    again = [(at, device, point, value + 1) for at, device, point, value in rows(7)]
    assert writer.write(readings_of(again)) == []
    assert database.table == table_of(again)
    twice = [(MICROS, 50, 1, 1.0), (MICROS, 50, 1, 2.0)]
    assert writer.write(readings_of(twice)) == []
    assert database.table[MICROS, 50, 1] == 2.0
    assert path_count("upsert") - before == 9


@pytest.mark.parametrize("sqlstate", ["40P01", "57P01", "53100", "42P01", None])
def test_a_temporary_fault_is_raised_and_the_next_try_succeeds(sqlstate: str | None) -> None:
    database = FakeDatabase([sqlstate])
    writer = Writer(database.connect)
    with pytest.raises(TemporaryError, match=f"state {sqlstate}"):
        writer.write(readings_of(rows(3)))
    assert database.table == {}
    assert writer.write(readings_of(rows(3))) == []
    assert database.table == table_of(rows(3))
    assert database.connections == (2 if sqlstate is None else 1)


def test_a_fault_while_writing_over_is_temporary_too() -> None:
    database = FakeDatabase()
    writer = Writer(database.connect)
    writer.write(readings_of(rows(3)))
    database.race = 1  # another worker put the same row there between our look and our write
    with pytest.raises(TemporaryError):
        writer.write(readings_of(rows(3)))
    assert writer.write(readings_of(rows(3))) == []


@given(st.sets(st.integers(0, 19)), st.integers(1, 20), st.booleans())
def test_only_the_bad_rows_are_refused(bad: set[int], count: int, some_exist: bool) -> None:
    bad = {number for number in bad if number < count}
    database = FakeDatabase(refused=bad)
    if some_exist:
        database.table = table_of([row for row in rows(count) if row[1] not in bad and row[1] % 3 == 0])
    rejected = Writer(database.connect).write(readings_of(rows(count)))
    assert [row for row, _ in rejected] == sorted(bad)
    assert all(detail == f"22003 {rows(count)[row]}" for row, detail in rejected)
    assert database.table == table_of([row for row in rows(count) if row[1] not in bad])


@pytest.mark.parametrize("there", [0, 4])
def test_what_is_too_much_at_once_is_written_in_parts(there: int) -> None:
    database = FakeDatabase(refused={5})
    writer = Writer(database.connect)
    writer.write(readings_of(rows(there)))
    database.batches, database.most = [], 3
    assert [row for row, _ in writer.write(readings_of(rows(10)))] == [5]
    assert database.table == table_of([row for row in rows(10) if row[1] != 5])
    assert max(database.batches) <= 3


def test_where_even_one_row_is_too_much_the_fault_is_temporary() -> None:
    database = FakeDatabase()
    writer, database.most = Writer(database.connect), 0
    with pytest.raises(TemporaryError, match="state 53200"):
        writer.write(readings_of(rows(1000)))
    database.most = 1000
    assert writer.write(readings_of(rows(1000))) == []


def test_a_closed_writer_opens_again() -> None:
    database = FakeDatabase()
    writer = Writer(database.connect)
    writer.write(readings_of(rows(1)))
    writer.close()
    writer.close()
    writer.write(readings_of(rows(1, 1)))
    assert (database.connections, len(database.table)) == (2, 2)


def step(database: FakeDatabase, batch_rows: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(timescale, "connect", database.connect)
    fn = WriteToTimescale(SETTINGS, batch_rows, "raw", lambda: NOW)._fn
    fn.setup()
    fn.start_bundle()
    return fn


FIRST, SECOND = IntervalWindow(0, 5), IntervalWindow(5, 10)


def test_flushes_at_size_at_a_new_window_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    database = FakeDatabase()
    fn = step(database, 10, monkeypatch)

    def process(first: int, count: int, window: IntervalWindow) -> list[Any]:
        return list(fn.process(readings_of(rows(count, first)), window, window.start))

    assert process(0, 4, FIRST) == []
    assert process(4, 7, FIRST) == [], "the first batch is on its way"
    assert process(20, 3, FIRST) == []
    (full,) = process(30, 2, SECOND)
    assert (len(full.value), full.windows, full.timestamp) == (11, (FIRST,), 0)
    of_first, of_second = fn.finish_bundle()
    assert (len(of_first.value), of_first.windows, of_first.timestamp) == (3, (FIRST,), 0)
    assert (len(of_second.value), of_second.windows, of_second.timestamp) == (2, (SECOND,), 5)
    assert database.batches == [11, 3, 2]
    fn.start_bundle()
    assert list(fn.finish_bundle()) == []


def test_a_batch_grows_while_the_one_before_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    database = FakeDatabase()
    fn = step(database, 10, monkeypatch)

    def process(first: int, count: int) -> list[Any]:
        return list(fn.process(readings_of(rows(count, first)), FIRST, 0))

    database.idle.clear()
    assert process(0, 10) == process(10, 10) == process(20, 90) == []
    database.idle.set()
    fn._under_way.result()
    assert [len(each.value) for each in process(110, 1)] == [10]
    database.idle.clear()
    assert process(200, 10 * MOST_BATCHES - 1) == []
    threading.Timer(0.1, database.idle.set).start()
    assert [len(each.value) for each in process(500, 1)] == [101], "as large as a batch may be: it waits"
    assert [len(each.value) for each in fn.finish_bundle()] == [10 * MOST_BATCHES]
    assert database.batches == [10, 101, 10 * MOST_BATCHES]


@pytest.mark.parametrize("batch_rows", [4, 100])
def test_refused_rows_are_dead_letters_of_their_records(batch_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fn = step(FakeDatabase(refused={1, 3}), batch_rows, monkeypatch)
    written, refused = [*fn.process(readings_of(rows(4)), FIRST, 0), *fn.finish_bundle()]
    assert isinstance(refused, TaggedOutput)
    assert written.windows == refused.value.windows == (FIRST,)
    written, letters = written.value, refused.value.value
    assert written.device_id.tolist() == [0, 2]
    assert [(each.key, each.reason) for each in letters] == [(b"1", Reason.REJECTED_ROW), (b"3", Reason.REJECTED_ROW)]
    assert letters[0].detail.startswith("22003")


def test_tries_again_after_temporary_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    database = FakeDatabase(["40P01", None])
    fn = step(database, 1, monkeypatch)
    count = metrics.RETRIES.labels(step="Write")._value.get
    before = count()
    (written,) = [*fn.process(readings_of(rows(2)), FIRST, 0), *fn.finish_bundle()]
    assert (len(written.value), database.table, count() - before) == (2, table_of(rows(2)), 2)


def test_fails_the_bundle_when_the_fault_stays_and_the_next_bundle_starts_clean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(write_readings, "RETRY_SECONDS", 0)
    database = FakeDatabase(["57P03"])
    fn = step(database, 100, monkeypatch)
    assert list(fn.process(readings_of(rows(2)), FIRST, 0)) == []
    with pytest.raises(TemporaryError):
        list(fn.finish_bundle())
    fn.start_bundle()
    assert list(fn.process(readings_of(rows(3)), FIRST, 0)) == []
    (written,) = fn.finish_bundle()
    assert len(written.value) == 3
    fn.teardown()


def test_latency_is_from_the_controllers_time_to_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    fn = step(FakeDatabase(), 1, monkeypatch)
    total = metrics.END_TO_END_SECONDS._sum.get
    before = total()
    list(fn.process(readings_of(rows(4)), FIRST, 0))
    list(fn.finish_bundle())
    assert total() - before == pytest.approx(4 * 1.0)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDatabase]:
    database = FakeDatabase(refused={7})
    monkeypatch.setattr(timescale, "connect", database.connect)
    yield database


def test_in_a_pipeline(database: FakeDatabase) -> None:
    def written_hold(elements: list[Readings]) -> None:
        assert sorted(device for each in elements for device in each.device_id.tolist()) == [*range(7), 8, 9]

    def letters_hold(elements: list[list[DeadLetter]]) -> None:
        ((letter,),) = elements
        assert (letter.key, letter.reason, letter.topic) == (b"2", Reason.REJECTED_ROW, "raw")

    with TestPipeline(runner="FnApiRunner") as pipeline:
        written, letters = (
            pipeline
            | beam.Create([readings_of(rows(5)), readings_of(rows(5, 5))], reshuffle=False)
            | beam.WindowInto(FixedWindows(5))
            | WriteToTimescale(SETTINGS, 1000, "raw", lambda: NOW)
        )
        assert_that(written, written_hold, label="written")
        assert_that(letters, letters_hold, label="letters")
    assert database.table == table_of([row for row in rows(10) if row[1] != 7])


def test_a_batch_has_rows() -> None:
    with pytest.raises(ValueError, match="batch_rows 0 is not positive"):
        WriteToTimescale(SETTINGS, 0, "raw")
