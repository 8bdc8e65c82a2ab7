"""The benchmark's own native stack: its own folder, ports and settings, so that a running one is never touched."""

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psycopg2

from faces2.io import timescale
from faces2.service.settings import SECTIONS, StackSettings, TimescaleSettings, load, variable
from faces2.stack.environment import Folders
from faces2.stack.shell import die_with_parent
from faces2.stack.supervisor import Supervisor

FACES2 = str(Path(sys.executable).with_name("faces2"))
WITHOUT = "simulator,pipeline,bridge,waiting"
"""Parts that the measurements start themselves, with settings of their own, or not at all."""

_PORTS = (
    *("POSTGRES_PORT", "TIMESCALE_PORT", "REDIS_PORT", "MQTT_PORT", "MQTT_TLS_PORT", "CERTGEN_PORT"),
    *("BRIDGE_HTTP_PORT", "PIPELINE_HTTP_PORT", "SIMULATOR_HTTP_PORT", "FLINK_PORT"),
)


def enter(folder: Path, first_port: int, without: str = WITHOUT) -> Folders:
    """Makes `folder` the current one, with a `.env` of the benchmark's own, and forgets the environment's settings:
    what is measured are the defaults, not what somebody has set for their own stack."""
    kept = {name: os.environ[name] for name in ("FACES2_CACHE", "FACES2_TIMESCALE") if name in os.environ}
    for section in SECTIONS:
        for name in section.model_fields:
            os.environ.pop(variable(section, name), None)
    os.environ |= kept
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    folders = Folders(folder, folder / "stack", load(StackSettings).cache)
    settings = {name: str(first_port + index) for index, name in enumerate(_PORTS)} | {
        "KAFKA_BROKERS": f"127.0.0.1:{first_port + 20}",
        "FACES2_KAFKA_CONTROLLER_PORT": str(first_port + 21),
        "CERTGEN_URL": f"http://127.0.0.1:{first_port + _PORTS.index('CERTGEN_PORT')}",
        "CERTGEN_DIR": str(folders.data / "certs"),
        "FACES2_DATA": str(folders.data),
        "FACES2_WITHOUT": without,
        "FLINK_JARS": str(folders.beam_jars),
        "FLINK_WORK_DIR": str(folders.data / "flink"),
        "LOG_LEVEL": "WARNING",
    }
    for name in ("POSTGRES_PASSWORD", "TIMESCALE_PASSWORD"):
        settings[name] = _kept_password(folder, name)
    dotenv = folder / ".env"
    dotenv.touch(mode=0o600)
    dotenv.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return folders


def _kept_password(folder: Path, name: str) -> str:
    """The password of the last run, whose stack may still have to be stopped with it."""
    dotenv = folder / ".env"
    lines = dotenv.read_text().splitlines() if dotenv.exists() else []
    kept = (line.partition("=")[2] for line in lines if line.startswith(f"{name}="))
    return next(kept, "") or secrets.token_urlsafe(16)


def fresh(folders: Folders) -> None:
    """A stack with nothing in it, ready."""
    if folders.run.exists():
        down()
        shutil.rmtree(folders.data)
    subprocess.run([FACES2, "up"], check=True)


def up(folders: Folders) -> None:
    """A fresh stack; TimescaleDB records each transaction's commit time, from which latency is read."""
    fresh(folders)
    with closing(timescale.connect(load(TimescaleSettings))) as connection:
        connection.autocommit = True
        connection.cursor().execute("ALTER SYSTEM SET track_commit_timestamp = on")
    supervisor = Supervisor(folders)
    supervisor.stop("timescaledb")
    supervisor.start("timescaledb")
    _wait_for_database(30)


def down() -> None:
    """Stops the stack; its files stay until the next run."""
    subprocess.run([FACES2, "down"], check=True)


def pids(folders: Folders) -> dict[str, int]:
    """The process of each part."""
    return {name: state.pid for name, state in Supervisor(folders).states().items() if state.alive}


def start(*arguments: str, log: Path, **settings: object) -> subprocess.Popen[bytes]:
    """`faces2 …` in the background, with other settings than the stack's; it ends when we do."""
    return start_program([FACES2, *arguments], log, settings=settings)


def start_program(
    command: list[str], log: Path, *, settings: Mapping[str, object], stdout: int | None = None
) -> subprocess.Popen[bytes]:
    """A program in the background; what it says goes to `log`, or standard output to a pipe."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            die_with_parent(command),
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=file if stdout is None else stdout,
            stderr=file,
        )


def environment(**settings: object) -> dict[str, str]:
    """Ours, with these settings."""
    return {**os.environ, **{name: str(value) for name, value in settings.items()}}


def stop(process: subprocess.Popen[bytes], seconds: float = 40) -> None:
    """SIGTERM, and SIGKILL when that is not heard."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for_database(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            timescale.connect(load(TimescaleSettings)).close()
        except psycopg2.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
