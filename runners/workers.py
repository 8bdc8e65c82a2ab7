"""The Python workers beside Flink: a process each, started and stopped as Flink asks, and watched."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker.sdk_worker import SdkHarness

from faces2.service import logs
from faces2.service.settings import ServiceSettings, load

STOP_SECONDS = 3
WORKER_SECONDS = 10
"""Flink replaces a dead worker when a bundle fails; without traffic none does."""
_NO_TIME_LIMIT = -1

log = logs.get_logger(__name__)


class Worker(NamedTuple):
    """A worker's name. Two TaskManagers that share a pool give the same ids; the endpoint tells them apart."""

    id: str
    serves: str
    """The control endpoint of the TaskManager that asked for it."""


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Beam's pool leaves a worker that died alone, takes workers of two TaskManagers for one, and starts them with a
    standard output that nobody reads: one that says more than a pipe holds would stand still for ever."""

    def __init__(self, port: int, size: int) -> None:
        self._workers: dict[Worker, subprocess.Popen[bytes]] = {}
        self._missed: dict[Worker, float] = {}
        self._lock = threading.Lock()
        # Its threads stay until the end: the kernel's death signal follows the thread that started a process.
        self._server = grpc.server(ThreadPoolExecutor(max(2, size), "workers"))
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    def StartWorker(self, request: Any, _: Any) -> Any:  # noqa: N802 - gRPC's name
        """Called by Flink."""
        worker = Worker(request.worker_id, request.control_endpoint.url)
        command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", __name__, worker.serves, worker.id]
        with self._lock:
            self._workers[worker] = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, _: Any) -> Any:  # noqa: N802
        """Called by Flink, also for a worker that died."""
        with self._lock:
            meant = {worker: process for worker, process in self._workers.items() if worker.id == request.worker_id}
        if len(meant) == 1:
            _end(*meant.values())
        elif meant:  # the one that is meant ends by itself: its TaskManager has closed the connection
            _wait_for_any(meant.values())
        for worker, process in meant.items():
            if process.poll() is not None:
                self._forget(worker)
        return beam_fn_api_pb2.StopWorkerResponse()

    def missing(self) -> dict[str, float]:
        """The workers that ended though Flink still counts on them: their ids, and for how many seconds it does."""
        now = time.monotonic()
        with self._lock:
            ended = [worker for worker, process in self._workers.items() if process.poll() is not None]
        for worker in ended:
            if worker in self._missed:
                continue
            if _listens(worker.serves):
                log.warning("a worker ended", worker=worker.id)
                self._missed[worker] = now
            else:  # with its TaskManager, which says no more to us
                self._forget(worker)
        with self._lock:
            return {worker.id: now - since for worker, since in self._missed.items()}

    def stop(self) -> None:
        """Ends all; what they were at will be done again."""
        self._server.stop(0)
        with self._lock:
            for process in self._workers.values():
                process.kill()
            for process in self._workers.values():
                process.wait()

    def _forget(self, worker: Worker) -> None:
        with self._lock:
            self._missed.pop(worker, None)
            self._workers.pop(worker, None)


def _listens(address: str) -> bool:
    """Whether somebody takes connections at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def _wait_for_any(processes: Iterable["subprocess.Popen[bytes]"]) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while all(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)


def _end(worker: "subprocess.Popen[bytes]") -> None:
    worker.terminate()
    try:
        worker.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def main(control: str, worker_id: str) -> None:
    """A worker's process, until Flink closes the connection."""
    logs.configure("pipeline", load(ServiceSettings).log_level)
    SdkHarness(control, worker_id=worker_id, data_buffer_time_limit_ms=_NO_TIME_LIMIT).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
