"""Whether every acknowledged frame's readings are in the table: the simulator's journal against decoded_data.

The journal goes through COPY into a temporary table, and the database takes out of it what it finds with the same
value; what is left when nothing more comes in is missing or different.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import psycopg2
from confluent_kafka import Consumer, KafkaException, TopicPartition
from rich.console import Console
from rich.table import Table

from faces2.service.settings import KafkaSettings, TimescaleSettings, load
from faces2.stack.postgres import address
from faces2.stack.shell import StackError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAMED = 10
"""Readings that are named when they are missing or different."""
PAUSE = 1.0
"""Least seconds between two looks at the table."""

EXPECTED = """
CREATE TEMPORARY TABLE expected (timestamp timestamptz, device_id integer, datapoint_id integer, value float8, mac text)
"""
COPY = "COPY expected FROM STDIN"
TAKE_OUT_FOUND = """
DELETE FROM expected USING decoded_data found
WHERE (found.timestamp, found.device_id, found.datapoint_id)
    = (expected.timestamp, expected.device_id, expected.datapoint_id)
AND found.value IS NOT DISTINCT FROM expected.value AND found.timestamp BETWEEN %s AND %s
"""
LEFT = """
SELECT expected.*, found.timestamp IS NOT NULL AS present, found.value
FROM expected LEFT JOIN (SELECT * FROM decoded_data WHERE timestamp BETWEEN %s AND %s) found
USING (timestamp, device_id, datapoint_id)
"""
LEFT_BY_CONTROLLER = f"SELECT mac, present, count(*) FROM ({LEFT}) AS l (t, d, p, v, mac, present) GROUP BY 1, 2"  # noqa: S608
LEFT_NAMED = f"{LEFT} ORDER BY present, timestamp, device_id, datapoint_id LIMIT {NAMED}"


@dataclass
class Controller:
    """One controller's counts: frames of the journal, their readings, and those without a row or with another value."""

    mac: str
    frames: int = 0
    expected: int = 0
    missing: int = 0
    different: int = 0


@dataclass
class Verdict:
    """What was found; true when there are rows and none is missing or different."""

    controllers: Sequence[Controller]
    named: Sequence[str] = ()
    """The first readings that are missing or different."""
    dead_letters: int | None = None
    """Since the first frame; None if Kafka does not say."""
    total: Controller = field(init=False)

    def __post_init__(self) -> None:
        columns = ("frames", "expected", "missing", "different")
        self.total = Controller("all", *(sum(getattr(c, name) for c in self.controllers) for name in columns))

    @property
    def ok(self) -> bool:
        """Whether the run may count as good."""
        return self.total.expected > 0 and not self.total.missing and not self.total.different

    def __bool__(self) -> bool:
        return self.ok


class Journal:
    """The journal as a file of COPY's lines, read a frame at a time; it counts what was read."""

    def __init__(self, path: Path) -> None:
        self.controllers: dict[str, Controller] = {}
        self.first, self.last = datetime.max.replace(tzinfo=UTC), EPOCH
        self._path = path
        self._lines = self._read()

    def read(self, _size: int = -1) -> str:
        """The next frame's lines, empty at the end."""
        return next(self._lines, "")

    def _read(self) -> Iterator[str]:
        if not self._path.exists():
            return
        with self._path.open() as file:
            for number, text in enumerate(file, start=1):
                try:
                    lines = self._frame(orjson.loads(text))
                except (ValueError, KeyError, IndexError, TypeError, AttributeError):
                    raise StackError(f"{self._path}, line {number} is no line of a journal: {text[:80]!r}") from None
                if lines:
                    yield lines

    def _frame(self, frame: dict[str, Any]) -> str:
        mac = ":".join(re.findall("..", frame["topic"].split("/")[1].removeprefix("f2-")))
        at = EPOCH + timedelta(microseconds=frame["timestamp"])
        head, values = f"{at.isoformat()}\t{int(frame['device_id'])}", frame["values"]
        lines = "".join(f"{head}\t{int(point)}\t{_copied(value)}\t{mac}\n" for point, value in values.items())
        counts = self.controllers.setdefault(mac, Controller(mac))
        counts.frames += 1
        counts.expected += len(values)
        self.first, self.last = min(self.first, at), max(self.last, at)
        return lines


def _copied(value: float | None) -> str:
    return r"\N" if value is None else repr(float(value))


def verify(journal: Path, timeout: float) -> Verdict:
    """Waits until every reading is in the table or `timeout` seconds bring no more; prints the counts.

    StackError when the table can not be read or the journal is none.
    """
    console = Console(highlight=False)
    try:
        with (
            console.status("waiting until every acknowledged reading is in the table"),
            closing(psycopg2.connect(**address(load(TimescaleSettings)), connect_timeout=10)) as connection,
        ):
            verdict = compare(connection, journal, timeout, dead_letters_since)
    except psycopg2.Error as error:
        raise StackError(f"The rows can not be checked: {str(error).strip().splitlines()[0]}") from None
    show(verdict, console)
    return verdict


def compare(connection: Any, path: Path, timeout: float, dead_letters: Callable[[datetime], int | None]) -> Verdict:
    """The journal against the table of this connection; `dead_letters` counts those since the first frame."""
    connection.autocommit = True
    journal = Journal(path)
    with connection.cursor() as cursor:
        # The table grew just now: by its old statistics a loop over all pairs can look cheap.
        cursor.execute("SET work_mem = '64MB'; SET enable_nestloop = off")
        cursor.execute(EXPECTED)
        cursor.copy_expert(COPY, journal)
        cursor.execute("ANALYZE expected")
        left = sum(controller.expected for controller in journal.controllers.values())
        span = (journal.first, journal.last)
        _wait(cursor, left, span, timeout)
        cursor.execute(LEFT_BY_CONTROLLER, span)
        for mac, present, count in cursor.fetchall():
            if present:
                journal.controllers[mac].different = count
            else:
                journal.controllers[mac].missing = count
        cursor.execute(LEFT_NAMED, span)
        named = [_named(row) for row in cursor.fetchall()]
    controllers = [journal.controllers[mac] for mac in sorted(journal.controllers)]
    return Verdict(controllers, named, dead_letters(journal.first) if controllers else None)


def _wait(cursor: Any, left: int, span: tuple[datetime, datetime], timeout: float) -> None:
    """Takes out what is found until nothing is left, or nothing was found for `timeout` seconds."""
    moved = time.monotonic()
    while left:
        began = time.monotonic()
        cursor.execute(TAKE_OUT_FOUND, span)
        left -= cursor.rowcount
        now = time.monotonic()
        if cursor.rowcount:
            moved = now
        if not left or now - moved >= timeout:
            return
        time.sleep(max(PAUSE, now - began))


def _named(row: tuple[Any, ...]) -> str:
    at, device, datapoint, value, mac, present, found = row
    what = f"is {found!r}, not {value!r}" if present else "is missing"
    return f"{mac} at {at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}: device {device}, datapoint {datapoint} {what}"


def dead_letters_since(first: datetime) -> int | None:
    """Records of the dead letter topic since then; None if Kafka does not answer."""
    settings = load(KafkaSettings)
    consumer = Consumer({"bootstrap.servers": settings.brokers, "group.id": "faces2-verify", "log_level": 0})
    try:
        topic, millis = settings.dead_letter_topic, int(first.timestamp() * 1000)
        numbers = consumer.list_topics(timeout=5).topics[topic].partitions
        begun = consumer.offsets_for_times([TopicPartition(topic, number, millis) for number in numbers], timeout=5)
        ends = (consumer.get_watermark_offsets(part, timeout=5)[1] for part in begun)
        return sum(end - part.offset for part, end in zip(begun, ends, strict=True) if part.offset >= 0)
    except (KafkaException, KeyError):
        return None
    finally:
        consumer.close()


def show(verdict: Verdict, console: Console) -> None:
    """The counts for each controller, what is missing or different, and the verdict."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("controller", "frames", "readings", "rows", "missing", "different"):
        table.add_column(heading, justify="left" if heading == "controller" else "right")
    for counts in (*verdict.controllers, verdict.total):
        numbers = (counts.frames, counts.expected, counts.expected - counts.missing, counts.missing, counts.different)
        table.add_row(counts.mac, *(f"{number:,}" for number in numbers), style="bold" if counts.mac == "all" else "")
    console.print(table)
    for line in verdict.named:
        console.print(f"  {line}", markup=False, soft_wrap=True)
    left = verdict.total.missing + verdict.total.different - len(verdict.named)
    if left:
        console.print(f"  and {left:,} more")
    if verdict.dead_letters is not None:
        console.print(f"dead letters since the first frame: {verdict.dead_letters:,}")
    console.print(_sentence(verdict))


def _sentence(verdict: Verdict) -> str:
    if verdict.ok:
        return "[green]Every acknowledged reading is in the table.[/]"
    if not verdict.total.expected:
        return "[red]No frame was acknowledged: nothing was checked.[/]"
    return "[red]The table is not what the controllers sent.[/]"
