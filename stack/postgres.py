"""The two PostgreSQL servers: which programs serve, how a data folder is made, which SQL it is given."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from faces2.service.settings import PostgresSettings, StackSettings, TimescaleSettings, load
from faces2.stack import debian, ready, timescaledb
from faces2.stack.environment import REPOSITORY, Folders
from faces2.stack.shell import StackError, die_with_parent, is_root, run

USER = "postgres"
"""The system's user that serves: PostgreSQL does not run as root."""
TOLD = "SELECT to_regclass('faces2_storage')"
LEFT_OUT = """
SELECT string_agg('no ' || feature, ', ' ORDER BY feature) FROM faces2_storage WHERE state ~ '^(left out|off)'
"""


@dataclass(frozen=True)
class Server:
    """A PostgreSQL: its programs' folder, and why it is without TimescaleDB (None: it has it)."""

    programs: Path
    plain: str | None = None

    def command(self, data: Path, config: Path) -> list[str]:
        """Serves the data folder in the foreground; SIGINT is PostgreSQL's fast shutdown."""
        serve = [str(self.programs / "postgres"), "-D", str(data), "-c", f"config_file={config}"]
        return die_with_parent(serve, USER, "INT")


def metadata_server(data: Path) -> Server:
    """Debian's server, of the version that made the data."""
    return Server(_debian_programs(data), "metadata")


def timescale_server(folders: Folders, data: Path) -> Server:
    """TimescaleDB's where it is to be had and fits the data, else Debian's."""
    made_by = _made_by(data)
    off = load(StackSettings).timescale == "off"
    if folders.timescale_tree.exists() and not off and made_by in (None, timescaledb.MAJOR):
        return Server(folders.timescale_tree / timescaledb.PROGRAMS)
    if off:
        why = "FACES2_TIMESCALE=off"
    elif not folders.timescale_tree.exists():
        missing = folders.cache / "timescaledb-missing"
        why = missing.read_text() if missing.exists() else "it is not installed"
    else:
        why = f"{data} was made by plain PostgreSQL {made_by}; move it away to begin anew with TimescaleDB"
    return Server(_debian_programs(data), why)


def make(server: Server, data: Path, settings: PostgresSettings | TimescaleSettings) -> None:
    """Makes the data folder, its user and its database; nothing if it is there."""
    if data.exists():
        return
    part = data.with_name(f".{data.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    if is_root():
        shutil.chown(part, USER)
    with _password_file(settings.password) as file:
        options = ["--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={file.name}"]
        initdb = [str(server.programs / "initdb"), "-D", str(part), "-U", settings.user, *options]
        run(initdb, f"The database folder {data} can not be made", user=USER)
    if settings.db != "postgres":
        single = [str(server.programs / "postgres"), "--single", "-D", str(part)]
        single += ["-c", "dynamic_shared_memory_type=mmap", "postgres"]
        name = settings.db.replace('"', '""')
        run(single, f"The database {settings.db} can not be made", user=USER, given=f'CREATE DATABASE "{name}"\n')
    part.rename(data)


def address(settings: PostgresSettings | TimescaleSettings) -> dict[str, Any]:
    """psycopg2's keywords."""
    return {
        "host": settings.host,
        "port": settings.port,
        "user": settings.user,
        "password": settings.password.get_secret_value(),
        "dbname": settings.db,
    }


def apply(script: str, settings: PostgresSettings | TimescaleSettings, env: dict[str, str]) -> str:
    """Runs a script of sql/ with psql, which reads settings from the environment; what it said."""
    target = ["-h", settings.host, "-p", str(settings.port), "-U", settings.user, "-d", settings.db]
    command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *target, "-f", str(REPOSITORY / "sql" / script)]
    secret = {"PGPASSWORD": settings.password.get_secret_value()}
    return run(command, f"sql/{script} failed", env={**env, **secret})


def storage(settings: TimescaleSettings) -> str:
    """What decoded_data is stored in and without what, by faces2_storage; raises when the server does not answer."""
    edition = ready.ask(
        address(settings),
        "SELECT 'TimescaleDB ' || extversion || ', ' || "
        "CASE current_setting('timescaledb.license', true) WHEN 'timescale' THEN 'community' ELSE 'Apache' END "
        "|| ' edition' FROM pg_extension WHERE extname = 'timescaledb'",
    )
    if not edition:
        return "plain PostgreSQL, no TimescaleDB"
    off = ready.ask(address(settings), LEFT_OUT) if ready.ask(address(settings), TOLD) else None
    return f"{edition}: {off}" if off else str(edition)


def _password_file(password: SecretStr) -> "tempfile._TemporaryFileWrapper[str]":
    file = tempfile.NamedTemporaryFile("w", prefix="faces2-")  # noqa: SIM115
    file.write(password.get_secret_value())
    file.flush()
    if is_root():
        shutil.chown(file.name, USER)
    return file


def _made_by(data: Path) -> int | None:
    version = data / "PG_VERSION"
    return int(version.read_text()) if version.exists() else None


def _debian_programs(data: Path) -> Path:
    servers, made_by = debian.postgres_folders(), _made_by(data)
    if not servers:
        raise StackError("PostgreSQL is missing: install the package postgresql.")
    if made_by is None:
        return servers[max(servers)]
    if made_by not in servers:
        raise StackError(
            f"{data} was made by PostgreSQL {made_by}, which can not be used here now: "
            f"install postgresql-{made_by}, unset FACES2_TIMESCALE if it was TimescaleDB, or move the folder away."
        )
    return servers[made_by]
