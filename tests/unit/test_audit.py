"""The audit's sweep, its list of wanted dead letters, and what it says, over frames of a small fleet."""

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from rich.console import Console

from faces2.audit.explain import explain
from faces2.audit.sweep import Sweep
from faces2.audit.verdict import Fault, Verdict, show
from faces2.audit.wanted import Wanted, digest
from faces2.io.copy_binary import Rows
from faces2.models.clock import parse_timestamp
from faces2.models.dead_letter import Record
from faces2.models.frame import Datapoint
from faces2.models.metadata import PinKey, Sensor, Snapshot, Template

MAC = "aabbccddee01"
TEMPLATE = Template(1, (Datapoint(1, "T", 3, 2, "Int16", 2), Datapoint(2, "H", 5, 2, "Int16", 2)))
SNAPSHOT = Snapshot(1, {PinKey(MAC, 1, 1): Sensor(5, "air", TEMPLATE)})
AT = "2026-05-25 15:13:10.543400"
MICROS = parse_timestamp(AT)
WHOLE, SHORT = "010304000100020000", "0103040001"


def record(data: object = WHOLE, component: str = "sensor-1", at: str = AT, mode: str = "sensor-mode") -> Record:
    message = {
        "topic": f"tele/f2-{MAC}/{mode}/J1/{component}",
        "device_mac": MAC,
        "mode": mode,
        "connector": "J1",
        "component": component,
        "payload": {"timestamp": at, "data": data},
    }
    return MAC.encode(), orjson.dumps(message)


class Table:
    """Values by (micros, device, datapoint)."""

    def __init__(self, rows: dict[tuple[int, int, int], float]) -> None:
        self.rows = rows

    def __call__(self, first: int, last: int, devices: NDArray[np.int32]) -> list[Rows]:
        keys = [key for key in self.rows if first <= key[0] <= last and key[1] in devices]
        columns = np.array(keys, np.int64).reshape(-1, 3).T
        values = np.array([self.rows[key] for key in keys], np.float64)
        return [Rows(columns[0], columns[1].astype(np.int32), columns[2].astype(np.int32), values)]


FULL = Table({(MICROS, 5, 1): 0.01, (MICROS, 5, 2): 0.02})
EMPTY = Table({})


def sweep(table: Table, *records: Record, kept_since: int | None = None) -> Sweep:
    made = Sweep(SNAPSHOT, False, table, kept_since)
    made.see(list(records), [(0, offset) for offset in range(len(records))])
    return made


def test_readings_that_are_there_leave_nothing_to_look_for() -> None:
    done = sweep(FULL, record(), record(mode="alarm-mode"), record())
    assert (done.frames, done.found, done.passed_by) == (3, 4, {"alarm-mode": 1})
    assert not len(done.wanted)
    assert not len(done.suspects)


def test_missing_rows_count_by_frame() -> None:
    done = sweep(Table({(MICROS, 5, 1): 0.01}), record(), record(at="2026-05-25 15:13:11"))
    assert done.found == 1
    assert done.wanted.readings.tolist() == [1, 2]
    assert done.wanted.places(9) == [(0, 0), (0, 1)]


def test_rows_older_than_the_table_keeps_are_not_missing() -> None:
    done = sweep(EMPTY, record(), record(at="2026-05-25 15:13:11"), kept_since=MICROS + 1)
    assert done.expired == 2
    assert done.wanted.places(9) == [(0, 1)]


def test_a_wrong_value_is_suspect_until_somebody_sent_it() -> None:
    table = Table({(MICROS, 5, 1): 0.07, (MICROS, 5, 2): 0.02})
    done = sweep(table, record())
    assert (done.found, len(done.suspects), len(done.wanted)) == (1, 1, 0)
    done.see_again([record()])
    assert len(done.suspects) == 1
    done.see_again([record("010304000700020000")])
    assert len(done.suspects) == 0


@pytest.mark.parametrize(
    "bad", [record("zz"), record(component="sensor-2"), (None, None), (b"k", b"{rubbish"), record(at="yesterday")]
)
def test_what_is_refused_must_be_a_dead_letter(bad: Record) -> None:
    done = sweep(EMPTY, bad)
    assert done.wanted.readings.tolist() == [0]
    assert not done.wanted.look([(record(), "bad_hex")])
    assert done.wanted.look([(bad, "any reason")])


def test_a_partial_frame_must_be_both() -> None:
    done = sweep(Table({(MICROS, 5, 1): 0.01}), record(SHORT))
    assert done.found == 1
    assert done.wanted.readings.tolist() == [0]
    done = sweep(EMPTY, record(SHORT))
    assert done.wanted.readings.tolist() == [0, 1]
    done.wanted.look([(record(SHORT), "short_frame")])
    assert done.wanted.found.tolist() == [True, False], "its dead letter does not account for the row that fits"


@pytest.mark.parametrize("reason", ["unknown_device", "rejected_row"])
def test_a_whole_frame_in_the_dead_letters_is_not_missing(reason: str) -> None:
    done = sweep(EMPTY, record())
    assert done.wanted.look([(record(), reason)])


def test_a_key_and_a_value_are_told_apart() -> None:
    records: list[Record] = [(None, b"ab"), (b"", b"ab"), (b"a", b"b"), (b"ab", b""), (None, b""), (b"b", b"a")]
    assert len({digest(each) for each in records}) == len(records)


def test_dead_letters_come_in_batches() -> None:
    wanted = Wanted()
    for number in range(3):
        wanted.add((b"k", b"%d" % number), number, 7)
    assert not wanted.look([((b"k", b"0"), "bad_json"), ((b"k", b"2"), "bad_json")])
    assert wanted.places(9) == [(1, 7)]
    assert not wanted.look([])
    assert wanted.look([((b"k", b"1"), "bad_json")])


@pytest.mark.parametrize(
    ("bad", "table", "said"),
    [
        (record(), EMPTY, "device 5: no row of datapoint 1, 2"),
        (record(), Table({(MICROS, 5, 1): 0.01, (MICROS, 5, 2): 9.0}), "device 5, datapoint 2 is 9.0, not 0.02"),
        (record("zz"), EMPTY, "not in the dead letters (bad_hex)"),
        (record(SHORT), Table({(MICROS, 5, 1): 0.01}), "not in the dead letters (short_frame)"),
        (record(), FULL, "in the table by now"),
    ],
)
def test_a_fault_is_named(bad: Record, table: Table, said: str) -> None:
    fault = explain(bad, (2, 99), 1_779_721_990_000, sweep(table).expect([bad]), table)
    assert (fault.partition, fault.offset, fault.mac, fault.timestamp) == (2, 99, MAC, AT)
    assert fault.topic == f"tele/f2-{MAC}/sensor-mode/J1/sensor-1"
    assert fault.what == said
    assert str(fault).startswith(f"2:99 {MAC} ")


@pytest.mark.parametrize("bad", [(None, None), (b"\xff", b"[1]"), (b"k", b'{"payload": 5}')])
def test_a_fault_of_rubbish_is_named_too(bad: Record) -> None:
    fault = explain(bad, (0, 0), 0, sweep(EMPTY).expect([bad]), EMPTY)
    assert fault.topic == fault.timestamp == "?"
    assert "dead letters" in fault.what


def verdict(**counts: int) -> Verdict:
    zeros = dict.fromkeys(("readings_found", "dead_letters", "readings_missing", "readings_different"), 0)
    more = dict.fromkeys(("dead_letters_missing", "readings_expired", "pending"), 0)
    fault = Fault(0, 1, "then", MAC, "[topic]", AT, "gone")
    return Verdict("raw", "0:0-9", 9, {}, **(zeros | more | counts), named=[fault], notes=["a note"])


@pytest.mark.parametrize(
    ("counts", "strict", "status"),
    [
        ({}, False, 0),
        ({"readings_missing": 1}, False, 1),
        ({"readings_different": 1}, False, 1),
        ({"dead_letters_missing": 1}, False, 1),
        ({"pending": 1}, False, 0),
        ({"pending": 1}, True, 1),
        ({"readings_expired": 1}, False, 0),
        ({"readings_expired": 1}, True, 1),
        ({}, True, 0),
    ],
)
def test_the_exit_status(counts: dict[str, int], strict: bool, status: int) -> None:
    assert verdict(**counts).status(strict) == status


def test_what_is_printed() -> None:
    console = Console(record=True, width=200, quiet=False, file=None)
    with console.capture() as said:
        show(verdict(readings_found=4321, readings_missing=2, dead_letters=3, pending=5, readings_expired=6), console)
    for text in (
        "4,321 readings",
        "3 frames are in the dead",
        "2 are missing or different: 2 readings are not in",
        "5 frames are not yet",
        "6 readings are older",
        "[topic]",
        "a note",
    ):
        assert text in said.get()
    assert verdict(readings_missing=2).to_json()["lost"] == 2
