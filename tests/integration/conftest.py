"""A native stack of the tests' own, on other ports and in another folder, so that a running one is not disturbed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from helpers import Controller, DeadLetters, Rows, Stack
from own_stack import ROOT, variables

from faces2.io import timescale
from faces2.io.metadata import MetadataDatabase
from faces2.models.metadata import Snapshot
from faces2.service.settings import KafkaSettings, PostgresSettings, TimescaleSettings, load


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """All parts but the simulator, ready; stopped at the end."""
    folder = ROOT / "out" / "test-stack"
    os.environ |= variables(folder)
    running = Stack(Path(sys.executable).with_name("faces2"), ROOT)
    subprocess.run([running.faces2, "up"], check=True, cwd=ROOT)
    try:
        yield running
    finally:
        subprocess.run([running.faces2, "down"], check=True, cwd=ROOT)


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
