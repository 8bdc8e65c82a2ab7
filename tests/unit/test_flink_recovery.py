"""What the Flink runner watches: its workers' processes, and whether the job moves."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
from apache_beam.portability.api import beam_fn_api_pb2

from faces2.runners.jvm import free_ports
from faces2.runners.progress import Progress
from faces2.runners.workers import WorkerPool


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_job_that_moves() -> None:
    clock = Clock()
    progress = Progress(120, 70, clock)
    for count in range(100):
        clock.now += 5
        progress.note(count)
        assert not progress.late


@pytest.mark.parametrize("count", [0, None])
def test_a_job_that_never_begins(count: int | None) -> None:
    clock = Clock()
    progress = Progress(120, 70, clock)
    clock.now = 120
    progress.note(count)
    assert progress.late and not progress.stalled
    clock.now = 121
    assert progress.stalled


@pytest.mark.parametrize("count", [3, None])
def test_a_job_that_stands_still(count: int | None) -> None:
    clock = Clock()
    progress = Progress(120, 70, clock)
    progress.note(3)
    clock.now = 18
    progress.note(count)
    assert progress.late and not progress.stalled
    clock.now = 71
    assert progress.stalled
    progress.excuse()  # the database was away
    assert not progress.late


def test_a_job_that_counts_anew_moves() -> None:
    clock = Clock()
    progress = Progress(120, 70, clock)
    progress.note(9)
    clock.now = 100
    progress.note(1)
    assert not progress.late


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    (port,) = free_ports(1)
    pool = WorkerPool(port, 2)
    yield pool
    pool.stop()


def start(pool: WorkerPool, name: str) -> int:
    request = beam_fn_api_pb2.StartWorkerRequest(worker_id=name)
    request.control_endpoint.url = "127.0.0.1:1"  # where nobody listens: it waits for a minute
    pool.StartWorker(request, None)
    return pool._workers[name].pid


def test_a_worker_that_dies_is_missed_until_flink_lets_it_go(pool: WorkerPool) -> None:
    pid = start(pool, "1-1")
    start(pool, "1-2")
    assert pool.missing() == {}
    os.kill(pid, signal.SIGKILL)
    while not (missing := pool.missing()):
        time.sleep(0.01)
    assert missing == {"1-1": 0.0}
    assert pool.missing()["1-1"] > 0.0
    pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1-1"), None)
    assert pool.missing() == {}


def test_a_worker_that_hangs_can_be_stopped(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faces2.runners.workers.STOP_SECONDS", 0.1)
    pid = start(pool, "1-1")
    os.kill(pid, signal.SIGSTOP)
    pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1-1"), None)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="never started"), None)
