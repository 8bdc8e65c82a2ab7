"""What the Flink runner watches: its workers' processes, and whether the job moves."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from apache_beam.portability.api import beam_fn_api_pb2
from prometheus_client import REGISTRY

from faces2.runners.flink_job import Patience
from faces2.runners.flink_rest import Checkpoints, FlinkRest
from faces2.runners.jvm import free_ports
from faces2.runners.progress import Progress
from faces2.runners.workers import Worker, WorkerPool
from faces2.service.settings import PipelineSettings


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


@pytest.mark.parametrize(("last", "seconds"), [({"latest_ack_timestamp": 1_700_000_000_500}, 1.7e9 + 0.5), (None, 0)])
def test_checkpoints_as_flink_tells_them_are_metrics(
    last: dict[str, int] | None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"counts": {"completed": 7, "failed": 2, "total": 9}, "latest": {"completed": last, "failed": None}}
    monkeypatch.setattr(FlinkRest, "_get", lambda _, path: {"jobs/a/checkpoints": told}[path])
    checkpoints = FlinkRest("127.0.0.1", 1).checkpoints("a")
    assert checkpoints == Checkpoints(7, 2, seconds)
    patience = Patience(PipelineSettings(), {})
    patience.look(checkpoints)
    patience.look(None)  # Flink does not answer: what it said last stays
    names = ("checkpoints_completed", "checkpoints_failed", "checkpoint_last_timestamp_seconds")
    assert [REGISTRY.get_sample_value(f"faces2_{name}") for name in names] == [7, 2, seconds]


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    (port,) = free_ports(1)
    pool = WorkerPool(port, 2)
    yield pool
    pool.stop()


@pytest.fixture
def endpoints() -> Iterator[list[str]]:
    """Two TaskManagers, which listen and say nothing: a worker waits for a minute."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        yield [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


def start(pool: WorkerPool, name: str, endpoint: str) -> int:
    request = beam_fn_api_pb2.StartWorkerRequest(worker_id=name)
    request.control_endpoint.url = endpoint
    pool.StartWorker(request, None)
    return pool._workers[Worker(name, endpoint)].pid


def stop(pool: WorkerPool, name: str) -> None:
    pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id=name), None)


def test_a_worker_that_dies_is_missed_until_flink_lets_it_go(pool: WorkerPool, endpoints: list[str]) -> None:
    pid = start(pool, "1-1", endpoints[0])
    start(pool, "1-2", endpoints[0])
    assert pool.missing() == {}
    os.kill(pid, signal.SIGKILL)
    while not (missing := pool.missing()):
        time.sleep(0.01)
    assert missing == {"1-1": 0.0}
    assert pool.missing()["1-1"] > 0.0
    stop(pool, "1-1")
    assert pool.missing() == {}


def test_a_worker_that_ended_with_its_taskmanager_is_not_missed(pool: WorkerPool) -> None:
    pid = start(pool, "1-1", "127.0.0.1:1")
    os.kill(pid, signal.SIGKILL)
    while pool._workers:
        assert pool.missing() == {}
        time.sleep(0.01)


def test_two_taskmanagers_give_the_same_ids(pool: WorkerPool, endpoints: list[str]) -> None:
    first, second = (start(pool, "1-1", endpoint) for endpoint in endpoints)
    os.kill(first, signal.SIGKILL)  # as if its connection had been closed
    stop(pool, "1-1")
    assert [process.pid for process in pool._workers.values()] == [second]
    stop(pool, "1-1")
    assert not pool._workers


def test_a_worker_that_hangs_can_be_stopped(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faces2.runners.workers.STOP_SECONDS", 0.1)
    pid = start(pool, "1-1", "127.0.0.1:1")
    os.kill(pid, signal.SIGSTOP)
    stop(pool, "1-1")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    stop(pool, "never started")
