"""The check of a run: the journal's readings against the table of a PostgreSQL that the test starts for itself."""

import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import psycopg2
import pytest
from rich.console import Console

from faces2.stack import debian
from faces2.stack.shell import StackError, is_root
from faces2.stack.verdict import Controller, Verdict, show
from faces2.stack.verify import Journal, compare

START = 1_763_900_000_000_000
TABLE = """
DROP TABLE IF EXISTS decoded_data;
CREATE TABLE decoded_data (timestamp timestamptz, device_id integer, datapoint_id integer, value double precision,
                           PRIMARY KEY (timestamp, device_id, datapoint_id));
"""
INSERT = """
INSERT INTO decoded_data
SELECT timestamptz 'epoch' + (%s + i * 333::bigint) * interval '1 microsecond',
       5 + i %% 20, point, i::float8 / 7 + point
FROM generate_series(0, %s - 1) AS i, generate_series(1, 3) AS point
"""


def _line(i: int) -> bytes:
    """The frame whose rows INSERT makes for the same number."""
    return orjson.dumps(
        {
            "topic": f"tele/f2-aabbccddee0{i % 4 + 1}/sensor-mode/J1/sensor-1",
            "timestamp": START + i * 333,
            "device_id": 5 + i % 20,
            "values": {str(point): i / 7 + point for point in (1, 2, 3)},
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _journal(folder: Path, frames: int) -> Path:
    path = folder / "journal.jsonl"
    path.write_bytes(b"".join(map(_line, range(frames))))
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """The port of a PostgreSQL with nothing in it."""
    versions = debian.postgres_folders()
    if not versions:
        pytest.skip("PostgreSQL is not installed")
    programs = versions[max(versions)]
    user = ["runuser", "-u", "postgres", "--"] if is_root() else []
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="faces2-test-"))
    if user:
        shutil.chown(folder, "postgres")
    make: list[Path | str] = [
        *user,
        programs / "initdb",
        "-D",
        folder / "data",
        "-U",
        "faces2",
        "-A",
        "trust",
        "--no-sync",
    ]
    subprocess.run(make, check=True, capture_output=True, cwd="/")
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-F"]
    serve: list[Path | str] = [*user, programs / "postgres", "-D", folder / "data", *options]
    process = subprocess.Popen(serve, cwd="/", stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                _connect(port).close()
                break
            except psycopg2.OperationalError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder)


def _connect(port: int) -> Any:
    return psycopg2.connect(host="127.0.0.1", port=port, user="faces2", dbname="postgres", connect_timeout=2)


@pytest.fixture
def table(server: int) -> Iterator[Any]:
    """A cursor of a connection with an empty table."""
    with closing(_connect(server)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(TABLE)
            yield cursor


def _compare(server: int, path: Path, timeout: float = 0, expected: Sequence[str] = ()) -> Verdict:
    with closing(_connect(server)) as connection:
        return compare(connection, path, timeout, lambda _: 3, expected)


def test_all_rows_are_there(server: int, table: Any, tmp_path: Path) -> None:
    table.execute(INSERT, (START, 1000))
    verdict = _compare(server, _journal(tmp_path, 900))
    assert verdict
    assert verdict.controllers[0] == Controller("aa:bb:cc:dd:ee:01", frames=225, expected=675)
    assert (len(verdict.controllers), verdict.total.expected, verdict.dead_letters) == (4, 2700, 3)
    assert verdict.named == []


def test_deleted_and_changed_rows_are_named(server: int, table: Any, tmp_path: Path) -> None:
    table.execute(INSERT, (START, 100))
    table.execute("DELETE FROM decoded_data WHERE device_id = 7 AND datapoint_id = 2")
    table.execute("UPDATE decoded_data SET value = value + 1e-9 WHERE device_id = 8 AND datapoint_id = 1")
    table.execute("UPDATE decoded_data SET value = NULL WHERE device_id = 9 AND datapoint_id = 1")
    verdict = _compare(server, _journal(tmp_path, 100))
    assert not verdict
    counts = {c.mac[-2:]: (c.missing, c.different) for c in verdict.controllers}
    assert counts == {"01": (0, 5), "02": (0, 0), "03": (5, 0), "04": (0, 5)}
    assert len(verdict.named) == 10
    assert verdict.named[0] == "aa:bb:cc:dd:ee:03 at 2025-11-23 12:13:20.000666: device 7, datapoint 2 is missing"
    assert verdict.named[5].endswith("device 8, datapoint 1 is 1.4285714295714287, not 1.4285714285714286")


def test_a_controller_that_sent_nothing_is_named(server: int, table: Any, tmp_path: Path) -> None:
    table.execute(INSERT, (START, 100))
    macs = [f"aa:bb:cc:dd:ee:0{n}" for n in range(1, 6)]
    assert _compare(server, _journal(tmp_path, 100), expected=macs[:4])
    verdict = _compare(server, _journal(tmp_path, 100), expected=macs)
    assert not verdict
    assert verdict.silent == ["aa:bb:cc:dd:ee:05"]


def test_it_waits_for_rows_that_still_come(server: int, table: Any, tmp_path: Path) -> None:
    later = threading.Timer(1.5, lambda: table.execute(INSERT, (START, 50)))
    later.start()
    assert _compare(server, _journal(tmp_path, 50), timeout=10)
    later.join()


def test_it_does_not_wait_for_ever(server: int, table: Any, tmp_path: Path) -> None:
    table.execute(INSERT, (START, 49))
    began = time.monotonic()
    verdict = _compare(server, _journal(tmp_path, 50), timeout=1.5)
    assert (verdict.total.missing, verdict.ok) == (3, False)
    assert 1.5 <= time.monotonic() - began < 5


@pytest.mark.parametrize("content", [None, b""])
def test_no_frames_is_no_success(server: int, table: Any, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "journal.jsonl"
    if content is not None:
        path.write_bytes(content)
    verdict = _compare(server, path, timeout=60)
    assert not verdict
    assert verdict.dead_letters is None


def test_the_journal_as_copy_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    line = {"topic": "tele/f2-aabbccddee01/sensor-mode/J1/sensor-1", "timestamp": 1_500_000, "device_id": 5}
    path.write_bytes(orjson.dumps(line | {"values": {"1": 0.1, "2": None, "3": 7}}))
    journal = Journal(path)
    at, mac = "1970-01-01T00:00:01.500000+00:00", "aa:bb:cc:dd:ee:01"
    assert journal.read() == f"{at}\t5\t1\t0.1\t{mac}\n{at}\t5\t2\t\\N\t{mac}\n{at}\t5\t3\t7.0\t{mac}\n"
    assert journal.read() == ""
    assert journal.controllers == {mac: Controller(mac, frames=1, expected=3)}
    assert journal.first == journal.last


@pytest.mark.parametrize("bad", [b'{"topic": "te', b"[]", b"{}", b'{"topic": "x", "timestamp": 1}', b"1"])
def test_what_is_no_journal_is_a_sentence(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(_line(1) + bad)
    journal = Journal(path)
    journal.read()
    with pytest.raises(StackError, match=r"journal\.jsonl, line 2 is no line of a journal"):
        journal.read()


@pytest.mark.parametrize(
    ("controller", "said"),
    [
        (Controller("aa:bb:cc:dd:ee:01", 10, 1000, 0, 0), "Every acknowledged reading is in the table."),
        (Controller("aa:bb:cc:dd:ee:01", 10, 1000, 5, 0), "The table is not what the controllers sent."),
        (Controller("aa:bb:cc:dd:ee:01", 0, 0, 0, 0), "No frame was acknowledged: nothing was checked."),
        (Controller("aa:bb:cc:dd:ee:01", 0, 1, 0, 0), "Controllers that sent nothing: aa:bb:cc:dd:ee:01"),
    ],
)
def test_what_is_printed(controller: Controller, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(Verdict([controller], ["a", "b"][: controller.missing], dead_letters=2), Console(width=80))
    text = capsys.readouterr().out
    assert said in text
    assert "dead letters since the first frame: 2" in text
    assert f"{controller.expected - controller.missing:,}" in text
    assert ("and 3 more" in text) == (controller.missing == 5)
