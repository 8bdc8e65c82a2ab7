"""The metadata database (PostgreSQL): one consistent snapshot of all mappings, and the version they stand at."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from faces2.models.metadata import Snapshot, build_snapshot
from faces2.service.settings import PostgresSettings

CHANNEL = "faces2_metadata"
"""Each change of a metadata table is NOTIFYed here with the new version."""

Connection = psycopg2.extensions.connection
T = TypeVar("T")

_VERSION = "SELECT version FROM {schema}.metadata_version"
_DATAPOINTS = """
    SELECT devicetemplateid, datapointid, label, "offset", length, dataencoding, coalesce(decimals, 0),
           coalesce(append, '')
    FROM {schema}.datapoints
    ORDER BY devicetemplateid, "offset", datapointid"""
_PINS = """
    SELECT replace(controller.macaddress, ':', ''), connectors.connectornumber, pins.position,
           sensor.deviceid, sensor.devicename, sensor.devicetemplateid
    FROM {schema}.pins AS pins
    JOIN {schema}.connectors AS connectors USING (connectorid)
    JOIN {schema}.devices AS controller ON controller.deviceid = connectors.controllerid
    JOIN {schema}.devices AS sensor ON sensor.deviceid = pins.deviceid
    WHERE controller.macaddress IS NOT NULL
    ORDER BY 1, 2, 3"""


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


def read_version(connection: Connection, schema: str) -> int:
    """The metadata's version: it grows with every change."""
    ((version,),) = _rows(connection, _VERSION, schema)
    return int(version)


def load_snapshot(connection: Connection, schema: str) -> Snapshot:
    """All mappings and their version, as of one moment."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            return build_snapshot(
                read_version(connection, schema),
                _rows(connection, _DATAPOINTS, schema),
                _rows(connection, _PINS, schema),
            )
        finally:
            if not connection.closed:
                cursor.execute("ROLLBACK")


def _rows(connection: Connection, query: str, schema: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(query).format(schema=sql.Identifier(schema)))
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
