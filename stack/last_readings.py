"""The last readings with the names that the metadata has for them, one line a frame."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg2
from psycopg2 import sql

from faces2.service.settings import PostgresSettings, TimescaleSettings
from faces2.stack.postgres import address
from faces2.stack.sources import Database

FRAMES = 40
ROWS = 200
"""More than the frames of any screen have."""

# A controller whose clock is ahead shall not hold the top for ever.
READINGS = """
SELECT timestamp, device_id, datapoint_id, value FROM decoded_data
WHERE timestamp <= now() + interval '1 minute' ORDER BY timestamp DESC LIMIT %s
"""
NAMES = """
SELECT sensor.deviceid, point.datapointid, sensor.devicename, controller.macaddress, connector.connectornumber,
       pin.position, point.label, point.prepend, point.append, point.dataformat, point.decimals
FROM {schema}.devices sensor
JOIN {schema}.datapoints point USING (devicetemplateid)
LEFT JOIN {schema}.pins pin ON pin.deviceid = sensor.deviceid
LEFT JOIN {schema}.connectors connector USING (connectorid)
LEFT JOIN {schema}.devices controller ON controller.deviceid = connector.controllerid
WHERE sensor.deviceid = ANY(%s)
"""

Row = tuple[datetime, int, int, float | None]
"""Of decoded_data: timestamp, device, datapoint, value."""


@dataclass(frozen=True)
class Name:
    """What the metadata says of a sensor's datapoint; `mac`, connector and position are empty off a pin."""

    sensor: str
    mac: str
    connector: int | None
    position: int | None
    label: str
    prepend: str
    unit: str
    digits: int | None
    """Behind the point; None: as many as the value has."""


@dataclass(frozen=True)
class Reading:
    """One value of a frame, as text with its unit."""

    label: str
    value: str


@dataclass(frozen=True)
class Frame:
    """A sensor's readings of one moment."""

    at: datetime
    mac: str
    pin: str
    sensor: str
    readings: tuple[Reading, ...]


class LastReadings:
    """Asks both databases; without the metadata the ids serve as names."""

    def __init__(self, timescale: TimescaleSettings, metadata: PostgresSettings) -> None:
        self._timescale = Database(address(timescale))
        self._metadata = Database(address(metadata))
        self._query = sql.SQL(NAMES).format(schema=sql.Identifier(metadata.schema_name))

    def __call__(self) -> list[Frame]:
        """The newest first; psycopg2.Error when the table can not be read."""
        rows = self._timescale.rows(READINGS, (ROWS,))
        return frames(rows, self._names(sorted({row[1] for row in rows})))[:FRAMES]

    def _names(self, devices: list[int]) -> Mapping[tuple[int, int], Name]:
        try:
            rows = self._metadata.rows(self._query, (devices,)) if devices else []
        except psycopg2.Error:
            return {}
        return {(row[0], row[1]): named(row[2:]) for row in rows}


def named(row: tuple[Any, ...]) -> Name:
    """A row of NAMES, without its two ids."""
    sensor, mac, connector, position, label, prepend, append, dataformat, decimals = row
    digits = len(dataformat.partition(".")[2]) if dataformat else decimals
    return Name(sensor, mac or "", connector, position, label, prepend or "", append or "", digits)


def frames(rows: Iterable[Row], names: Mapping[tuple[int, int], Name]) -> list[Frame]:
    """The rows, newest first, put together by sensor and moment; datapoints in the order of their ids."""
    grouped: dict[tuple[datetime, int], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row[0], row[1]), []).append(row)
    return [_frame(at, device, sorted(held, key=lambda row: row[2]), names) for (at, device), held in grouped.items()]


def _frame(at: datetime, device: int, rows: list[Row], names: Mapping[tuple[int, int], Name]) -> Frame:
    readings = tuple(_reading(names.get((device, point)), point, value) for _, _, point, value in rows)
    name = next((names[device, point] for _, _, point, _ in rows if (device, point) in names), None)
    if name is None:
        return Frame(at, "", "", f"device {device}", readings)
    pin = "" if name.connector is None else f"J{name.connector}/{name.position}"
    return Frame(at, name.mac, pin, name.sensor, readings)


def _reading(name: Name | None, point: int, value: float | None) -> Reading:
    if name is None:
        return Reading(f"datapoint {point}", "–" if value is None else f"{value:g}")
    return Reading(name.label, shown(value, name))


def shown(value: float | None, name: Name) -> str:
    """The value with its digits and its unit."""
    if value is None:
        return "–"
    digits = name.digits if name.digits is not None and name.digits >= 0 else None
    number = f"{value:g}" if digits is None else f"{value:.{digits}f}"
    return f"{name.prepend}{number} {name.unit}".rstrip()
