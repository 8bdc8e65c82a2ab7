"""Whether every acknowledged frame's readings are in the table: the simulator's journal against decoded_data.

The journal goes through COPY into a temporary table, and the database takes out of it what it finds with the same
value; what is left when nothing more comes in is missing or different.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import psycopg2
from confluent_kafka import Consumer, KafkaException, TopicPartition
from psycopg2 import sql
from rich.console import Console

from faces2.service.settings import KafkaSettings, PostgresSettings, SimulatorSettings, TimescaleSettings, load
from faces2.stack.postgres import address
from faces2.stack.shell import StackError
from faces2.stack.verdict import NAMED, Controller, Verdict, show

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
SIMULATED = """
SELECT DISTINCT controller.macaddress
FROM {schema}.devices controller
JOIN {schema}.connectors ON connectors.controllerid = controller.deviceid
JOIN {schema}.pins ON pins.connectorid = connectors.connectorid AND pins.deviceid IS NOT NULL
WHERE controller.macaddress IS NOT NULL ORDER BY 1 LIMIT %s
"""
LEFT_NAMED = f"{LEFT} ORDER BY present, timestamp, device_id, datapoint_id LIMIT {NAMED}"


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

    StackError when the table or the metadata can not be read, or the journal is none.
    """
    console = Console(highlight=False)
    try:
        with (
            console.status("waiting until every acknowledged reading is in the table"),
            closing(psycopg2.connect(**address(load(TimescaleSettings)), connect_timeout=10)) as connection,
        ):
            verdict = compare(connection, journal, timeout, dead_letters_since, simulated())
    except psycopg2.Error as error:
        raise StackError(f"The rows can not be checked: {str(error).strip().splitlines()[0]}") from None
    show(verdict, console)
    return verdict


def simulated() -> list[str]:
    """The MACs of the controllers that the simulator plays: the metadata's first ones with sensors."""
    settings = load(PostgresSettings)
    with (
        closing(psycopg2.connect(**address(settings), connect_timeout=10)) as connection,
        connection.cursor() as cursor,
    ):
        query = sql.SQL(SIMULATED).format(schema=sql.Identifier(settings.schema_name))
        cursor.execute(query, (load(SimulatorSettings).controllers,))
        return [mac for (mac,) in cursor.fetchall()]


def compare(
    connection: Any,
    path: Path,
    timeout: float,
    dead_letters: Callable[[datetime], int | None],
    controllers: Iterable[str] = (),
) -> Verdict:
    """The journal against the table of this connection; `dead_letters` counts those since the first frame.

    Each of `controllers` must have sent something.
    """
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
    dead = dead_letters(journal.first) if journal.controllers else None
    counts = {mac: Controller(mac) for mac in controllers} | journal.controllers
    return Verdict([counts[mac] for mac in sorted(counts)], named, dead)


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
