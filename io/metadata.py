"""The metadata database (PostgreSQL): one consistent snapshot of all mappings, and the version they stand at."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import numpy as np
import psycopg2
import psycopg2.extensions
from numpy.typing import NDArray
from psycopg2 import sql

from faces2.models.metadata import Snapshot
from faces2.models.metadata_rows import build_snapshot
from faces2.service.logs import get_logger
from faces2.service.settings import PostgresSettings

CHANNEL = "faces2_metadata"
"""Each change of a metadata table is NOTIFYed here with the new version."""

Connection = psycopg2.extensions.connection
T = TypeVar("T")

VERSION_SECONDS = 1.0
SNAPSHOT_SECONDS = 10.0

log = get_logger(__name__)

_VERSION = "SELECT version FROM {schema}.metadata_version"
_DATAPOINTS = """
    SELECT devicetemplateid, datapointid, label, "offset", length, dataencoding, decimals, append
    FROM {schema}.datapoints
    ORDER BY devicetemplateid, "offset", datapointid"""
_PINS = """
    SELECT lower(replace(controller.macaddress::text, ':', '')), connectors.connectornumber, pins.position,
           sensor.deviceid, sensor.devicename, sensor.devicetemplateid, {since}
    FROM {schema}.pins AS pins
    JOIN {schema}.connectors AS connectors USING (connectorid)
    JOIN {schema}.devices AS controller ON controller.deviceid = connectors.controllerid
    JOIN {schema}.devices AS sensor ON sensor.deviceid = pins.deviceid
    WHERE controller.macaddress IS NOT NULL
    ORDER BY 1, 2, 3"""
_CONTROLLERS = """
    SELECT DISTINCT lower(replace(controller.macaddress::text, ':', '')) AS mac
    FROM {schema}.devices AS controller
    JOIN {schema}.connectors AS connectors ON connectors.controllerid = controller.deviceid
    JOIN {schema}.pins AS pins USING (connectorid)
    WHERE pins.deviceid IS NOT NULL AND controller.macaddress::text ~* '^([0-9a-f]{{2}}:?){{6}}$'"""

# A database that is not ours has no history: there the present mapping holds for all frames.
_HAS_HISTORY = """
    SELECT EXISTS (SELECT FROM information_schema.columns
                   WHERE (table_schema, table_name, column_name) = ({name}, 'pins', 'mapped_at'))"""
_NEVER = sql.SQL("0")
_SINCE = sql.SQL("(extract(epoch FROM pins.mapped_at) * 1000000)::bigint")
_PAST_TEMPLATES = """
    SELECT devicetemplateid, datapoints, (extract(epoch FROM held_until) * 1000000)::bigint
    FROM {schema}.past_templates
    ORDER BY held_until"""
_PAST_PINS = """
    SELECT macaddress, connectornumber, position, deviceid, devicename, devicetemplateid,
           (extract(epoch FROM held_from) * 1000000)::bigint, (extract(epoch FROM held_until) * 1000000)::bigint
    FROM {schema}.past_pins
    ORDER BY held_until"""


def connect(settings: PostgresSettings) -> Connection:
    """An autocommit connection whose waits are short: nobody stands still for long when the database does."""
    connection = psycopg2.connect(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        password=settings.password.get_secret_value(),
        dbname=settings.db,
        application_name="faces2-metadata",
        connect_timeout=2,
        tcp_user_timeout=3000,
        options="-c statement_timeout=5000",
    )
    connection.autocommit = True
    return connection


@contextmanager
def answers_within(connection: Connection, seconds: float) -> Iterator[None]:
    """Cuts a connection that does not answer in time. A frozen server, or a network that swallows all, keeps to no
    timeout of its own, and a query would wait for it for ever."""
    with socket.socket(fileno=os.dup(connection.fileno())) as wire:
        timer = threading.Timer(seconds, wire.shutdown, [socket.SHUT_RDWR])
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def read_version(connection: Connection, schema: str) -> int:
    """The metadata's version: it grows with every change."""
    with answers_within(connection, VERSION_SECONDS):
        ((version,),) = _rows(connection, _VERSION, schema)
    return int(version)


def load_snapshot(connection: Connection, schema: str) -> Snapshot:
    """All mappings and their version, as of one moment."""
    with answers_within(connection, SNAPSHOT_SECONDS), connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            version = read_version(connection, schema)
            ((has_history,),) = _rows(connection, _HAS_HISTORY, schema)
            pins = _rows(connection, _PINS, schema, _SINCE if has_history else _NEVER)
            snapshot = build_snapshot(
                version,
                _rows(connection, _DATAPOINTS, schema),
                pins,
                _rows(connection, _PAST_TEMPLATES, schema) if has_history else (),
                _rows(connection, _PAST_PINS, schema) if has_history else (),
            )
        finally:
            if not connection.closed:
                cursor.execute("ROLLBACK")
    if len(snapshot.sensors) < len(pins):
        log.warning("pins of the metadata left out", left_out=len(pins) - len(snapshot.sensors))
    return snapshot


def load_controllers(connection: Connection, schema: str) -> NDArray[np.int64]:
    """The MACs of all controllers with sensors, as numbers and sorted: eight bytes each, for fleets are large."""
    query = sql.SQL(_CONTROLLERS).format(schema=sql.Identifier(schema))
    with answers_within(connection, SNAPSHOT_SECONDS), connection.cursor("controllers", withhold=True) as cursor:
        cursor.itersize = 50_000
        cursor.execute(query)
        return np.sort(np.fromiter((int(mac, 16) for (mac,) in cursor), np.int64))


def _rows(connection: Connection, query: str, schema: str, since: sql.SQL = _NEVER) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        named = sql.SQL(query).format(schema=sql.Identifier(schema), name=sql.Literal(schema), since=since)
        cursor.execute(named)
        return cursor.fetchall()


class MetadataDatabase:
    """Reads the metadata over a connection that is opened when it is needed, and anew after an error."""

    def __init__(
        self, settings: PostgresSettings, connector: Callable[[PostgresSettings], Connection] = connect
    ) -> None:
        self._settings = settings
        self._connector = connector
        self._connection: Connection | None = None

    def version(self) -> int:
        """The version; psycopg2.Error when the database can not be asked."""
        return self._ask(read_version)

    def snapshot(self) -> Snapshot:
        """All mappings; psycopg2.Error when the database can not be asked."""
        return self._ask(load_snapshot)

    def controllers(self) -> NDArray[np.int64]:
        """The controllers' MACs; psycopg2.Error when the database can not be asked."""
        return self._ask(load_controllers)

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._connection is not None:
            with suppress(psycopg2.Error):
                self._connection.close()
        self._connection = None

    def _ask(self, read: Callable[[Connection, str], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._connector(self._settings)
            return read(self._connection, self._settings.schema_name)
        except psycopg2.Error:
            self.close()
            raise
