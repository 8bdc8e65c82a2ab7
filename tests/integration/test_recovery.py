"""Whatever one process is killed, rows flow again within 30 s, by themselves, and nothing is missing."""

import os
import signal
import subprocess
import time
from contextlib import closing

import orjson
import psycopg2
import pytest
from helpers import Stack, example, now, payload, topic_of, wait_for

from faces2.io import timescale
from faces2.io.kafka import producer
from faces2.models.clock import from_micros
from faces2.models.metadata import Snapshot
from faces2.service.settings import KafkaSettings, TimescaleSettings, load
from faces2.stack.environment import enter
from faces2.stack.supervisor import Supervisor

pytestmark = pytest.mark.stack

LIMIT = 30
"""Seconds from the kill until the rows of all frames are there that were sent in the second after it."""
BUSY = max(0.0, os.getloadavg()[0] - 2) * 3
"""Seconds more on a machine of two cores that others use at the same time."""

WORKER, JVM = "faces2.runners.workers", "FlinkJobServerDriver"


@pytest.mark.parametrize("victims", [WORKER, JVM, "pipeline", "timescaledb"])
def test_rows_flow_again(victims: str, stack: Stack, snapshot: Snapshot) -> None:
    """Frames go on all the while, ten a second: none is missing at the end."""
    frames, start = Frames(snapshot), now()
    sent = frames.send_for(3)
    wait_for(lambda: count(start), "traffic")
    pids = processes(victims)
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    killed, deadline = now(), time.monotonic() + LIMIT + BUSY
    first = frames.send_for(1)
    later = now()
    sent += first
    while count(killed, later) < first:
        assert time.monotonic() < deadline, f"not all rows {LIMIT + BUSY:.0f} s after {victims} was killed"
        sent += frames.send_for(0.5)
    wait_for(lambda: count(start) == sent, f"{sent} rows")
    wait_for(stack.ready, "all parts ready again")


def test_a_worker_is_replaced_without_traffic(stack: Stack, snapshot: Snapshot) -> None:
    workers = processes(WORKER)
    os.kill(workers[0], signal.SIGKILL)
    whole = len(workers)
    wait_for(lambda: len(set(processes(WORKER)) - {workers[0]}) == whole, "as many workers as before", LIMIT + BUSY)
    wait_for(stack.ready, "all parts ready again")
    start = now()
    sent = Frames(snapshot).send_for(1)
    wait_for(lambda: count(start) == sent, f"{sent} rows", LIMIT + BUSY)


def test_a_stopped_worker_goes_on(stack: Stack, snapshot: Snapshot) -> None:
    frames, start = Frames(snapshot), now()
    workers = processes(WORKER)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    sent = frames.send_for(20)
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: count(start) == sent, f"{sent} rows", LIMIT + BUSY)


class Frames:
    """Frames of one sensor with the time at which they are sent, straight into Kafka."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._pin, sensor = next(iter(snapshot.sensors.items()))
        self._data, values = example(sensor)
        self._each = len(values)
        self._settings = load(KafkaSettings)
        self._producer = producer(self._settings)

    def send_for(self, seconds: float) -> int:
        """Ten a second, over all partitions; how many rows they must give."""
        rows, ends = 0, time.monotonic() + seconds
        while time.monotonic() < ends:
            self._producer.produce(self._settings.raw_topic, self._record(), os.urandom(4))
            rows += self._each
            time.sleep(0.1)
        assert self._producer.flush(30) == 0
        return rows

    def _record(self) -> bytes:
        message = {"mode": "sensor-mode", "device_mac": self._pin.mac, "topic": topic_of(self._pin)}
        place = {"connector": f"J{self._pin.connector}", "component": f"sensor-{self._pin.position}"}
        return orjson.dumps({**message, **place, "payload": payload(now(), self._data)})


def count(start: int, stop: int | None = None) -> int:
    """The rows of frames sent from `start` up to `stop`, or now; 0 while the database is away."""
    times = from_micros(start), from_micros(stop or now())
    try:
        with closing(timescale.connect(load(TimescaleSettings))) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM decoded_data WHERE timestamp >= %s AND timestamp < %s", times)
            return int(cursor.fetchone()[0])
    except psycopg2.OperationalError:
        return 0


def processes(what: str) -> list[int]:
    """The pid of a part, or the pids of the pipeline's processes whose command holds `what`."""
    states = Supervisor(enter()).states()
    if what in states:
        return [states[what].pid]
    command = ["pgrep", "-P", str(states["pipeline"].pid), "-f", what]
    return [int(pid) for pid in subprocess.run(command, capture_output=True, check=False).stdout.split()]
