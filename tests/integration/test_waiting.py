"""Frames of an unknown controller come in by themselves when the metadata knows it: all, once, also over restarts."""

import secrets
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import requests
from helpers import Rows, Stack, now, payload, raw_value, send, wait_for
from psycopg2 import sql

from faces2.io.metadata import connect
from faces2.service.settings import PostgresSettings, WaitingSettings, load

pytestmark = pytest.mark.stack

FRAME = "01 03 0C 32 30 32 30 36 32 38 30 31 30 31 5B 18 28 01"
WITHIN_SECONDS = 60
FRAMES = 6000


class Fleet:
    """Adds a controller with sensors to the metadata, and takes it out at the end."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._schema = settings.schema_name
        self._connection = connect(settings)
        self._added: list[str] = []

    def add(self, mac: str, position: int) -> tuple[int, int]:
        """A sensor at J1; its device id and how many datapoints its frames have."""
        name = ":".join(mac[i : i + 2] for i in range(0, 12, 2))
        serial = f"{mac}-{position}"
        self._added += [name, serial]
        self._execute(
            "INSERT INTO {s}.devices (devicename, devicetemplateid, macaddress) SELECT 'Waiting', devicetemplateid, %s"
            " FROM {s}.devicetemplates WHERE devicetemplatename = 'F2 Smart Controller' ON CONFLICT DO NOTHING",
            name,
        )
        self._execute(
            "INSERT INTO {s}.devices (devicename, devicetemplateid, serialnumber) SELECT 'Air', devicetemplateid, %s"
            " FROM {s}.devicetemplates WHERE devicetemplatename = 'environment'",
            serial,
        )
        self._execute(
            "INSERT INTO {s}.connectors (controllerid, connectornumber, connectortypeid)"
            " SELECT deviceid, 1, connectortypeid FROM {s}.devices, {s}.connectortypes"
            " WHERE macaddress = %s AND connectortypename = 'sensor-mode' ON CONFLICT DO NOTHING",
            name,
        )
        self._execute(
            "INSERT INTO {s}.pins (connectorid, position, deviceid) SELECT connectorid, %s, sensor.deviceid"
            " FROM {s}.connectors JOIN {s}.devices controller ON controller.deviceid = controllerid,"
            " {s}.devices sensor WHERE controller.macaddress = %s AND sensor.serialnumber = %s",
            position,
            name,
            serial,
        )
        ((device, points),) = self._rows(
            "SELECT deviceid, count(*) FROM {s}.devices JOIN {s}.datapoints USING (devicetemplateid)"
            " WHERE serialnumber = %s GROUP BY 1",
            serial,
        )
        return device, points

    def close(self) -> None:
        """Takes out what was added."""
        of = "{s}.devices WHERE macaddress = ANY(%s) OR serialnumber = ANY(%s)"
        pins = "connectorid IN (SELECT connectorid FROM {s}.connectors JOIN {s}.devices ON deviceid = controllerid"
        self._execute(f"DELETE FROM {{s}}.pins WHERE {pins} WHERE macaddress = ANY(%s))", self._added)
        self._execute(
            "DELETE FROM {s}.connectors USING {s}.devices WHERE deviceid = controllerid AND macaddress = ANY(%s)",
            self._added,
        )
        self._execute(f"DELETE FROM {of}", self._added, self._added)
        self._connection.close()

    def _execute(self, query: str, *values: object) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql.SQL(query).format(s=sql.Identifier(self._schema)), values)

    def _rows(self, query: str, *values: object) -> list[tuple[int, int]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql.SQL(query).format(s=sql.Identifier(self._schema)), values)
            return list(cursor.fetchall())


@pytest.fixture
def fleet(stack: Stack) -> Iterator[Fleet]:
    with closing(Fleet(load(PostgresSettings))) as added:
        yield added


def metric(name: str, **labels: str) -> float | None:
    """A metric of the part `waiting`; None while it does not answer."""
    wanted = name + ("{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else "")
    try:
        text = requests.get(f"http://127.0.0.1:{load(WaitingSettings).http_port}/metrics", timeout=5).text
    except requests.RequestException:
        return None
    return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{wanted} ")), 0.0)


def test_an_unknown_controller_s_frames_come_in_when_it_is_known(stack: Stack, fleet: Fleet, rows: Rows) -> None:
    mac, start = secrets.token_hex(6), now() - 3600 * 1_000_000
    waited = wait_for(lambda: metric("faces2_waiting_frames") is not None, "the part waiting") and (
        metric("faces2_waiting_frames") or 0
    )
    send([(mac, raw_value(mac, n % 2 + 1, payload(start + n, FRAME))) for n in range(FRAMES)])
    wait_for(lambda: metric("faces2_waiting_frames") == waited + FRAMES, "all frames waiting")
    stack.kill("waiting")
    wait_for(lambda: metric("faces2_waiting_frames") == waited + FRAMES, "all frames waiting after a restart")

    began = time.monotonic()
    device, points = fleet.add(mac, 1)
    wait_for(lambda: metric("faces2_replayed_total"), "the first frames replayed", WITHIN_SECONDS)
    stack.kill("waiting")

    def there() -> int:
        text = "SELECT count(*) FROM decoded_data WHERE device_id = %s"
        return int(rows.query(text, device)[0][0])

    wait_for(lambda: there() == FRAMES // 2 * points, "all rows", WITHIN_SECONDS - (time.monotonic() - began))
    wait_for(lambda: metric("faces2_waiting_frames") == waited + FRAMES // 2, "the other pin's frames still waiting")

    device, points = fleet.add(mac, 2)
    wait_for(lambda: there() == FRAMES // 2 * points, "the other pin's rows", WITHIN_SECONDS)
    wait_for(lambda: metric("faces2_waiting_frames") == waited, "nothing of it waiting")
    listed = stack.run("dead-letters", "stats", "--json", "--device", mac)
    assert f'"letters":{FRAMES},"replayed":{FRAMES}' in listed
    said = stack.run("dead-letters", "replay", "--device", mac)
    assert "0 sent" in said
    assert f"{FRAMES:,} replayed before" in said


def test_a_restart_with_nothing_new_replays_nothing(stack: Stack, fleet: Fleet, rows: Rows) -> None:
    mac = secrets.token_hex(6)
    device, points = fleet.add(mac, 1)
    time.sleep(3)
    send([(mac, raw_value(mac, 1, payload(now(), FRAME)))])
    text = "SELECT count(*) FROM decoded_data WHERE device_id = %s"
    wait_for(lambda: rows.query(text, device) == [(points,)], "the frame's rows")
    stack.kill("waiting")
    wait_for(lambda: metric("faces2_connected", to="kafka") == 1, "the part waiting")
    time.sleep(10)
    assert metric("faces2_replayed_total") == 0
