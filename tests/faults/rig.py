"""The stack that the faults hit: the native one, with proxies between its parts and its database on a small disk."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from tenacity import Retrying, retry_if_exception_type, stop_after_delay

from benchmarks.processes import tree
from faces2.service.settings import FlinkSettings, KafkaSettings, RedisSettings, TimescaleSettings, load
from faces2.stack import environment, overview
from faces2.stack.install import install
from faces2.stack.program import Program
from faces2.stack.programs import programs
from faces2.stack.report import Report
from faces2.stack.starting import Starting
from faces2.stack.supervisor import Supervisor
from tests.faults.proxy import Proxy
from tests.integration.own_stack import KAFKA_PORT, ROOT, variables

FOLDER = ROOT / "out" / "faults" / "stack"
DISK = "2g"
BRIDGE_LISTENER = KAFKA_PORT + 2
PROXY = 100
"""A proxy's port is so much above the port that it leads to."""


class SkippedError(Exception):
    """The fault can not be injected now, and why."""


class Rig:
    """The running stack, by its processes."""

    def __init__(self, folders: environment.Folders) -> None:
        self.folders = folders
        self.supervisor = Supervisor(folders)
        timescale, redis = load(TimescaleSettings).port, load(RedisSettings).port
        self.bridge_kafka = Proxy(BRIDGE_LISTENER + PROXY, BRIDGE_LISTENER)
        self.writer_database = Proxy(timescale + PROXY, timescale)
        self.pipeline_redis = Proxy(redis + PROXY, redis)
        self.parts = [self._through_proxies(part) for part in programs(folders)]
        self.disk = folders.data / "timescaledb"
        self._resting: set[int] = set()

    # --- processes

    def pid(self, part: str) -> int:
        """The part's process."""
        state = self.supervisor.states().get(part)
        if state is None or not state.pid:
            raise SkippedError(f"{part} is not running")
        return state.pid

    def whole(self, part: str) -> list[int]:
        """The part's process and all that descend from it."""
        return tree(self.pid(part))

    def flink(self) -> list[int]:
        """The pipeline's JVM: Beam's job server with the embedded Flink."""
        return self._children("pipeline", b"FlinkJobServerDriver")

    def workers(self) -> list[int]:
        """The pipeline's Python workers."""
        part = "pipeline" if load(FlinkSettings).mode == "embedded" else "workers"
        return self._children(part, b"faces2.runners.workers")

    def _children(self, part: str, word: bytes) -> list[int]:
        found = [pid for pid in self.whole(part) if word in _command(pid)]
        if not found:
            raise SkippedError(f"{part} has no {word.decode()}")
        return found

    def signal(self, pids: Iterable[int], number: signal.Signals) -> None:
        """Sends it to those that are still there."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def rest(self, pids: list[int], seconds: float) -> None:
        """SIGSTOP for so long."""
        self._resting.update(pids)
        try:
            self.signal(pids, signal.SIGSTOP)
            time.sleep(seconds)
        finally:
            self.signal(pids, signal.SIGCONT)
            self._resting.difference_update(pids)

    def wake(self) -> None:
        """Nothing stays stopped when the suite ends in the middle of a fault."""
        self.signal(list(self._resting), signal.SIGCONT)

    def troubles(self) -> list[str]:
        """What keeps the stack from being ready."""
        lines = overview.look(self.parts, self.supervisor.states())
        return [f"{line.part} {line.state.name}: {line.trouble}" for line in lines if not line.good]

    # --- the database's disk

    def fill_disk(self) -> None:
        """The disk's size becomes what is used of it."""
        if not self.disk.is_mount():
            raise SkippedError("no small disk can be mounted here")
        # What is written between the two calls makes the second fail.
        for attempt in Retrying(retry=retry_if_exception_type(subprocess.CalledProcessError), stop=stop_after_delay(5)):
            with attempt:
                self._resize(str(shutil.disk_usage(self.disk).used + 65_536))

    def free_disk(self) -> None:
        """There is room again."""
        self._resize(DISK)

    def _resize(self, size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", self.disk], check=True)

    def mount_disk(self) -> None:
        """The database's folder, made and moved to a file system of its own; it stays where it is if we may not."""
        part = next(part for part in self.parts if part.name == "timescaledb")
        assert part.before is not None
        part.before()
        aside = self.disk.with_name("timescaledb-made")
        self.disk.rename(aside)
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "faces2-faults", self.disk], check=False)
        subprocess.run(["cp", "-a", f"{aside}/.", self.disk], check=True)
        shutil.rmtree(aside)

    # --- proxies

    def _through_proxies(self, part: Program) -> Program:
        if part.name == "kafka":
            return replace(part, command=[*part.command, *_second_listener(self.bridge_kafka.port)])
        if part.name == "bridge":
            return _with(part, KAFKA_BROKERS=f"127.0.0.1:{self.bridge_kafka.port}")
        if part.name == "pipeline":
            return _with(part, TIMESCALE_PORT=self.writer_database.port, REDIS_PORT=self.pipeline_redis.port)
        return part


@contextmanager
def running(console: Console, flink: str) -> Iterator[Rig]:
    """A fresh stack with this FLINK_MODE, ready; it is stopped at the end, and its logs stay."""
    unmount()
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.environ |= variables(FOLDER) | {"FLINK_MODE": flink}
    rig = Rig(environment.enter())
    try:
        with Report(console) as report:
            install(rig.folders, report)
            rig.mount_disk()
            rig.supervisor.launch(rig.parts, dies_with_us=True)
            with report.step("all parts"):
                Starting(rig.parts, rig.supervisor, rig.folders, report).run()
        yield rig
    finally:
        rig.wake()
        rig.supervisor.shut_down()
        unmount()


def unmount() -> None:
    """Takes the small disk away, also one that a run before this left."""
    disk = FOLDER / "timescaledb"
    if disk.is_mount():
        subprocess.run(["umount", disk], check=True)


def _with(part: Program, **settings: object) -> Program:
    """The part with settings of its own."""
    return replace(part, command=["env", *(f"{name}={value}" for name, value in settings.items()), *part.command])


def _second_listener(advertised: int) -> list[str]:
    """Kafka's options for one more listener, whose clients are told to come through the proxy."""
    host, _, port = load(KafkaSettings).brokers.partition(":")
    values = {
        "listeners": f"PLAINTEXT://{host}:{port},BRIDGE://{host}:{BRIDGE_LISTENER},CONTROLLER://{host}:{int(port) + 1}",
        "advertised.listeners": f"PLAINTEXT://{host}:{port},BRIDGE://{host}:{advertised}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,BRIDGE:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }
    return [word for name, value in values.items() for word in ("--override", f"{name}={value}")]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
