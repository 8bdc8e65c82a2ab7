"""The history of the metadata in PostgreSQL: what the triggers put down, whatever way a mapping ends."""

import itertools
import time
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from helpers import Stack
from psycopg2 import sql

from faces2.io.metadata import connect, load_snapshot
from faces2.models.metadata import Sensor, Snapshot
from faces2.service.settings import PostgresSettings, load
from faces2.stack import postgres

pytestmark = pytest.mark.stack

NAMES = ("aabbccddee01", "J1", "sensor-1")
numbers = itertools.count()


class Metadata:
    """A schema of its own with the sample fleet, mapped long ago."""

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings
        self.connection = connect(settings)
        self.apply()
        self("UPDATE {s}.pins SET mapped_at = 'epoch'; DELETE FROM {s}.past_templates")

    def __call__(self, query: str, *values: object) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql.SQL(query).format(s=sql.Identifier(self.settings.schema_name)), values)

    def apply(self) -> None:
        postgres.apply("init.sql", self.settings, {"SCHEMA_PARAMS": self.settings.schema_name})

    def rows(self, table: str) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("SELECT count(*) FROM {}.{}").format(
                    sql.Identifier(self.settings.schema_name), sql.Identifier(table)
                )
            )
            return int(cursor.fetchone()[0])

    def snapshot(self) -> Snapshot:
        return load_snapshot(self.connection, self.settings.schema_name)

    def before(self) -> Sensor | None:
        """Whose frame it is that arrived a minute ago."""
        return self.snapshot().find_at(*NAMES, round((time.time() - 60) * 1e6))

    def now(self) -> Sensor | None:
        return self.snapshot().find(*NAMES)


@pytest.fixture
def metadata(stack: Stack) -> Iterator[Metadata]:
    settings = load(PostgresSettings).model_copy(update={"schema_name": f"history_{next(numbers)}"})
    with closing(connect(settings)) as connection, connection.cursor() as cursor:
        drop = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(settings.schema_name))
        cursor.execute(drop)
        held = Metadata(settings)
        yield held
        held.connection.close()
        cursor.execute(drop)


ENDS = {
    "another device": "UPDATE {s}.pins SET deviceid = NULL WHERE deviceid = 7;"
    " UPDATE {s}.pins SET deviceid = 7 WHERE deviceid = 5",
    "pin removed": "DELETE FROM {s}.pins WHERE deviceid = 5",
    "pin moved": "UPDATE {s}.pins SET position = 6 WHERE deviceid = 5",
    "pin emptied": "UPDATE {s}.pins SET deviceid = NULL WHERE deviceid = 5",
    "sensor removed": "DELETE FROM {s}.devices WHERE deviceid = 5",
    "sensor of another template": "UPDATE {s}.devices SET devicetemplateid = 2 WHERE deviceid = 5",
    "connector removed": "DELETE FROM {s}.connectors WHERE connectorid = 1",
    "connector renumbered": "DELETE FROM {s}.connectors WHERE connectorid = 3;"
    " UPDATE {s}.connectors SET connectornumber = 3 WHERE connectorid = 1",
    "controller removed": "DELETE FROM {s}.devices WHERE deviceid = 1",
    "controller of another MAC": "UPDATE {s}.devices SET macaddress = 'aa:bb:cc:dd:ee:99' WHERE deviceid = 1",
    "all pins": "TRUNCATE {s}.pins",
    "all devices": "TRUNCATE {s}.devices CASCADE",
    "twice in one transaction": "BEGIN; UPDATE {s}.pins SET deviceid = NULL WHERE deviceid IN (5, 7); "
    "UPDATE {s}.pins SET deviceid = 7 WHERE pinid = 1; UPDATE {s}.pins SET deviceid = NULL WHERE pinid = 1; COMMIT",
}


@pytest.mark.parametrize("way", ENDS)
def test_what_was_on_a_pin_is_known_however_it_ended(way: str, metadata: Metadata) -> None:
    present = metadata.now()
    assert present is not None
    metadata(ENDS[way])
    assert metadata.now() != present
    assert metadata.before() == present
    assert Snapshot.from_json(metadata.snapshot().to_json()) == metadata.snapshot()


@pytest.mark.parametrize(
    "change",
    [
        'UPDATE {s}.datapoints SET "offset" = 4 WHERE datapointid = 1',
        "UPDATE {s}.datapoints SET decimals = NULL WHERE datapointid = 1",
        "UPDATE {s}.datapoints SET devicetemplateid = 2 WHERE datapointid = 1",
        "DELETE FROM {s}.datapoints WHERE datapointid = 1",
        "TRUNCATE {s}.datapoints",
        "BEGIN; DELETE FROM {s}.datapoints WHERE devicetemplateid = 1; INSERT INTO {s}.datapoints (devicetemplateid,"
        " label, \"offset\", length, dataencoding) VALUES (1, 'A', 3, 2, 'Int16'), (1, 'B', 5, 2, 'Int16'); COMMIT",
    ],
)
def test_a_template_is_known_as_it_was(change: str, metadata: Metadata) -> None:
    present = metadata.now()
    assert present is not None
    metadata(change)
    now, before = metadata.now(), metadata.before()
    assert now is not None
    assert now.template != present.template
    assert before == present


def test_changes_that_do_not_matter_leave_no_history(metadata: Metadata) -> None:
    metadata("UPDATE {s}.datapoints SET append = 'K', label = 'X' || label")
    metadata("UPDATE {s}.devices SET devicename = 'X' || devicename, ipaddress = NULL")
    metadata("UPDATE {s}.pins SET deviceid = deviceid; UPDATE {s}.connectors SET connectortypeid = 2")
    assert (metadata.rows("past_pins"), metadata.rows("past_templates"), metadata.snapshot().earlier) == (0, 0, {})


def test_a_sensor_built_up_step_by_step_is_read_as_it_was_when_it_was_mapped(metadata: Metadata) -> None:
    metadata("INSERT INTO {s}.devicetemplates VALUES (50, 2, 'new')")
    for number, label in enumerate("ABC"):
        point = 'INSERT INTO {s}.datapoints (devicetemplateid, label, "offset", length, dataencoding)'
        metadata(point + " VALUES (50, %s, %s, 2, 'Int16')", label, 2 * number)
    metadata("INSERT INTO {s}.devices (deviceid, devicename, devicetemplateid) VALUES (500, 'new', 50)")
    metadata("INSERT INTO {s}.pins (connectorid, position, deviceid) VALUES (1, 6, 500)")
    snapshot = metadata.snapshot()
    waited = snapshot.find_at("aabbccddee01", "J1", "sensor-6", 0)
    assert waited is not None
    assert [point.label for point in waited.template.datapoints] == ["A", "B", "C"]
    assert snapshot.earlier == {}


def test_what_ended_long_ago_is_forgotten(metadata: Metadata) -> None:
    metadata("DELETE FROM {s}.pins WHERE deviceid = 5")
    metadata("UPDATE {s}.past_pins SET held_until = now() - interval '30 days'")
    metadata("UPDATE {s}.devices SET devicename = devicename")
    assert metadata.rows("past_pins") == 1
    metadata("UPDATE {s}.past_pins SET held_until = now() - interval '32 days'")
    metadata("UPDATE {s}.devices SET devicename = devicename")
    assert metadata.rows("past_pins") == 0


def test_a_schema_without_history_works_and_gets_one(metadata: Metadata) -> None:
    """As an earlier release made it, and as a database that is not ours is."""
    for table in ("pins", "connectors", "devices", "datapoints"):
        for event in ("update", "delete", "truncate", "change", "template"):
            metadata(f"DROP TRIGGER IF EXISTS remember_{event} ON {{s}}.{table}")
    metadata("DROP TABLE {s}.past_pins, {s}.past_templates; ALTER TABLE {s}.pins DROP COLUMN mapped_at")
    present = metadata.now()
    assert present is not None
    assert metadata.before() == present
    metadata.apply()
    metadata.apply()
    assert metadata.snapshot().earlier == {}
    metadata("UPDATE {s}.devices SET devicetemplateid = 2 WHERE deviceid = 5")
    assert metadata.before() == present


def test_rows_that_nobody_understands_stop_no_worker(metadata: Metadata) -> None:
    for column in ("dataencoding", "length", '"offset"', "label"):
        metadata(f"ALTER TABLE {{s}}.datapoints ALTER COLUMN {column} DROP NOT NULL")
        metadata(f"UPDATE {{s}}.datapoints SET {column} = NULL WHERE datapointid = 1")
    sensor = metadata.now()
    assert sensor is not None
    assert [bool(point.problem) for point in sensor.template.datapoints] == [False, False, True]
    assert metadata.before() is not None


def test_a_template_in_use_may_not_be_removed(metadata: Metadata) -> None:
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        metadata("DELETE FROM {s}.devicetemplates WHERE devicetemplateid = 1")
    assert metadata.rows("past_templates") == 0
