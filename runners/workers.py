"""The Python workers beside Flink: a process each, started and stopped as Flink asks, and watched."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker.sdk_worker import SdkHarness

from faces2.service import logs
from faces2.service.settings import ServiceSettings, load

STOP_SECONDS = 3
_NO_TIME_LIMIT = -1

log = logs.get_logger(__name__)


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Beam's pool leaves a worker that died alone, and starts them with a standard output that nobody reads: one that
    says more than a pipe holds would stand still for ever."""

    def __init__(self, port: int, size: int) -> None:
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._missed: dict[str, float] = {}
        self._lock = threading.Lock()
        # Its threads stay until the end: the kernel's death signal follows the thread that started a process.
        self._server = grpc.server(ThreadPoolExecutor(max(2, size), "workers"))
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    def StartWorker(self, request: Any, _: Any) -> Any:  # noqa: N802 - gRPC's name
        """Called by Flink."""
        arguments = [request.control_endpoint.url, request.worker_id]
        command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", __name__, *arguments]
        with self._lock:
            self._workers[request.worker_id] = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, _: Any) -> Any:  # noqa: N802
        """Called by Flink, also for a worker that died."""
        with self._lock:
            worker = self._workers.pop(request.worker_id, None)
            self._missed.pop(request.worker_id, None)
        if worker is not None:
            _end(worker)
        return beam_fn_api_pb2.StopWorkerResponse()

    def missing(self) -> dict[str, float]:
        """The workers that ended though Flink still counts on them: their ids, and for how many seconds it does."""
        now = time.monotonic()
        with self._lock:
            for name, worker in self._workers.items():
                if name not in self._missed and (status := worker.poll()) is not None:
                    log.warning("a worker ended", worker=name, status=status)
                    self._missed[name] = now
            return {name: now - since for name, since in self._missed.items()}

    def stop(self) -> None:
        """Ends all; what they were at will be done again."""
        self._server.stop(0)
        with self._lock:
            for worker in self._workers.values():
                worker.kill()
            for worker in self._workers.values():
                worker.wait()


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
