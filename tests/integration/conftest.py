"""A native stack of the tests' own, on other ports and in another folder, so that a running one is not disturbed."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from helpers import Controller, DeadLetters, Rows, Stack
from pydantic_core import PydanticUndefined

from faces2.io import timescale
from faces2.io.metadata import MetadataDatabase
from faces2.models.metadata import Snapshot
from faces2.service.settings import SECTIONS, KafkaSettings, PostgresSettings, TimescaleSettings, load, variable

ROOT = Path(__file__).parents[2]
PORTS = {
    "POSTGRES_PORT": 15432,
    "TIMESCALE_PORT": 15433,
    "REDIS_PORT": 16379,
    "MQTT_PORT": 11883,
    "MQTT_TLS_PORT": 18883,
    "CERTGEN_PORT": 18080,
    "BRIDGE_HTTP_PORT": 19101,
    "PIPELINE_HTTP_PORT": 19102,
    "SIMULATOR_HTTP_PORT": 19103,
    "FLINK_PORT": 18081,
    "FACES2_KAFKA_CONTROLLER_PORT": 19093,
}
"""Every port is moved by 10,000."""
NOT_OURS = ("FACES2_CACHE", "FACES2_TIMESCALE", "FLINK_JARS")
"""Settings of the machine, which the tests leave as they are."""


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """All parts but the simulator, ready; stopped at the end."""
    folder = ROOT / "out" / "test-stack"
    os.environ |= defaults() | {name: str(port) for name, port in PORTS.items()}
    os.environ |= {
        "KAFKA_BROKERS": "127.0.0.1:19092",
        "CERTGEN_URL": "http://127.0.0.1:18080",
        "CERTGEN_DIR": str(folder / "certs"),
        "FLINK_WORK_DIR": str(folder / "flink"),
        "FACES2_DATA": str(folder),
        "FACES2_WITHOUT": "simulator",
        "POSTGRES_PASSWORD": _password(folder / "postgres.password"),
        "TIMESCALE_PASSWORD": _password(folder / "timescale.password"),
    }
    running = Stack(Path(sys.executable).with_name("faces2"), ROOT)
    subprocess.run([running.faces2, "up"], check=True, cwd=ROOT)
    try:
        yield running
    finally:
        subprocess.run([running.faces2, "down"], check=True, cwd=ROOT)


def defaults() -> dict[str, str]:
    """Every setting that has a default: in the environment they win over what the user's `.env` says."""
    fields = {variable(section, name): field for section in SECTIONS for name, field in section.model_fields.items()}
    return {
        name: str(field.default)
        for name, field in fields.items()
        if name not in NOT_OURS and field.default not in (None, PydanticUndefined)
    }


def _password(file: Path) -> str:
    """The same one as long as the folder's databases live."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(secrets.token_urlsafe(16))
        file.chmod(0o600)
    return file.read_text()


@pytest.fixture
def snapshot(stack: Stack) -> Snapshot:
    """The metadata of the sample fleet."""
    with closing(MetadataDatabase(load(PostgresSettings))) as database:
        return database.snapshot()


@pytest.fixture
def rows(stack: Stack) -> Iterator[Rows]:
    """What decoded_data holds."""
    with closing(timescale.connect(load(TimescaleSettings))) as connection:
        connection.autocommit = True
        yield Rows(connection)


@pytest.fixture
def dead_letters(stack: Stack) -> Iterator[DeadLetters]:
    """The dead letters that come in from now on."""
    with closing(DeadLetters(load(KafkaSettings))) as letters:
        yield letters


@pytest.fixture
def controller(stack: Stack, tmp_path: Path) -> Iterator[Controller]:
    """The first controller of the sample fleet, connected with mTLS."""
    with closing(Controller("aabbccddee01", tmp_path)) as connected:
        yield connected
