"""The parts that hold data: PostgreSQL with the metadata, TimescaleDB with the readings."""

from collections.abc import Callable

from faces2.service.settings import PostgresSettings, TimescaleSettings, load, variable
from faces2.stack import postgres, ready
from faces2.stack.environment import DEPLOY, Folders, fill, write
from faces2.stack.program import Program, port


def metadata(folders: Folders) -> Program:
    """PostgreSQL with the tables of sql/init.sql."""
    settings, data = load(PostgresSettings), folders.data / "postgresql"
    config = folders.run / "postgresql.conf"
    server = postgres.metadata_server(data)

    def before() -> None:
        fill(DEPLOY / "postgresql" / "metadata.conf", config, {"HOST": settings.host, "PORT": settings.port})
        postgres.make(server, data, settings)

    def after() -> None:
        said = postgres.apply("init.sql", settings, {"SCHEMA_PARAMS": settings.schema_name})
        write(folders.logs / "postgresql-init.log", said)

    return _program("postgresql", server.command(data, config), settings, before, after)


def timescale(folders: Folders) -> Program:
    """TimescaleDB, or plain PostgreSQL in its place, with the tables of sql/timescale_init.sql."""
    settings, data = load(TimescaleSettings), folders.data / "timescaledb"
    config = folders.run / "timescaledb.conf"
    server = postgres.timescale_server(folders, data)
    preload = "" if server.plain else "timescaledb"

    def before() -> None:
        values = {"HOST": settings.host, "PORT": settings.port, "PRELOAD": preload}
        fill(DEPLOY / "postgresql" / "timescaledb.conf", config, values)
        postgres.make(server, data, settings)

    def after() -> None:
        said = postgres.apply("timescale_init.sql", settings, _for_sql(settings))
        write(folders.logs / "timescaledb-init.log", said)

    return _program("timescaledb", server.command(data, config), settings, before, after)


def _program(
    name: str,
    command: list[str],
    settings: PostgresSettings | TimescaleSettings,
    before: Callable[[], None],
    after: Callable[[], None],
) -> Program:
    """A PostgreSQL server, with what is to be done before it starts and once it answers."""
    return Program(
        name,
        command,
        lambda: ready.ask(postgres.address(settings)),
        f"{settings.host}:{settings.port}",
        ports=(port(settings, "port"),),
        before=before,
        after=after,
        stop_signal="INT",
        stop_seconds=60,
        alive=lambda: ready.ask(postgres.address(settings), seconds=ready.PATIENT),
    )


def _for_sql(settings: TimescaleSettings) -> dict[str, str]:
    """Every plain setting as the variable that the script reads."""
    return {variable(TimescaleSettings, name): str(value) for name, value in settings if name != "password"}
