"""One look at everything that may grow: memory, handles, lag, checkpoints, latency, rows."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import requests
from confluent_kafka import KafkaException

from benchmarks import processes, stack
from faces2.service.settings import FlinkSettings, KafkaSettings, PipelineSettings, SimulatorSettings, load
from faces2.stack.environment import Folders
from faces2.stack.series import Window
from faces2.stack.sources import LAG, Page, RawTopic

LATENCY_SECONDS = 30.0
"""Over which a latency is taken."""
TIMEOUT_SECONDS = 3

Sample = dict[str, Any]
"""`at` (seconds since the load began), `memory` (MB) and `handles` by process, and single figures; what could not be
read is not there."""


class Sampler:
    """Looks at the stack in `folders` and the simulator."""

    def __init__(self, folders: Folders, simulator: int, every: float) -> None:
        pipeline = load(PipelineSettings).pipeline_http_port
        self._folders = folders
        self._simulator = simulator
        self._began = time.monotonic()
        self._pipeline = Page("127.0.0.1", pipeline)
        self._simulated = Page("127.0.0.1", load(SimulatorSettings).http_port)
        self._windows = [Window(max(LATENCY_SECONDS, 2 * every)), Window(max(LATENCY_SECONDS, 2 * every))]
        self._topic = RawTopic(load(KafkaSettings))
        self._flink = f"http://127.0.0.1:{load(FlinkSettings).port}"
        self._session = requests.Session()
        self._session.trust_env = False

    def __call__(self) -> Sample:
        """One sample; a part that does not answer leaves its figures out."""
        sample: Sample = {"at": round(time.monotonic() - self._began, 1), "memory": {}, "handles": {}}
        for name, pids in self.processes().items():
            sample["memory"][name] = round(sum(map(own_megabytes, pids)), 2)
            sample["handles"][name] = sum(map(handles, pids))
        for look in (self._from_pipeline, self._from_simulator, self._lag, self._checkpoints):
            sample |= _tried(look)
        return sample

    def processes(self) -> dict[str, list[int]]:
        """Pids by what they are: each part with its children, the pipeline's JVM and workers apart."""
        parts = stack.pids(self._folders) | {"simulator": self._simulator}
        found = {name: processes.tree(pid) for name, pid in sorted(parts.items()) if name != "pipeline"}
        if "pipeline" in parts:
            kinds = processes.kinds(parts["pipeline"])
            found |= {f"pipeline {kind}": pids for kind, pids in kinds.items() if kind != "gone"}
        return found

    def _from_pipeline(self) -> Sample:
        window = self._windows[0] = self._windows[0].add(time.monotonic(), self._pipeline())
        figures = {
            "rows_per_s": window.rate("faces2_rows_total"),
            "rows": window.total("faces2_rows_total"),
            "dead_letters": window.total("faces2_dead_letters_total"),
            "p50_s": window.quantile("faces2_end_to_end_seconds", 0.5),
            "p99_s": window.quantile("faces2_end_to_end_seconds", 0.99),
        }
        return {name: figure for name, figure in figures.items() if figure is not None}

    def _from_simulator(self) -> Sample:
        window = self._windows[1] = self._windows[1].add(time.monotonic(), self._simulated())
        rate = window.rate("faces2_messages_out_total")
        return {} if rate is None else {"messages_per_s": rate}

    def _lag(self) -> Sample:
        return {"lag": next(value for (name, _), value in self._topic().items() if name == LAG)}

    def _checkpoints(self) -> Sample:
        jobs = self._ask("/jobs/overview")["jobs"]
        job = next(job["jid"] for job in jobs if job["state"] == "RUNNING")
        found = self._ask(f"/jobs/{job}/checkpoints")
        counts = found["counts"]
        sample = {"checkpoints": counts["completed"], "checkpoints_failed": counts["failed"]}
        if last := found["latest"]["completed"]:
            sample |= {"checkpoint_kb": last["state_size"] / 1000, "checkpoint_s": last["end_to_end_duration"] / 1000}
        return sample

    def _ask(self, path: str) -> Any:
        return self._session.get(self._flink + path, timeout=TIMEOUT_SECONDS).json()


def own_megabytes(pid: int) -> float:
    """Memory that is the process's own: no files, no buffers that PostgreSQL's processes share, which are bounded."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss_Anon:")), 0.0)


def handles(pid: int) -> int:
    """Open files and sockets."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _tried(look: Callable[[], Sample]) -> Sample:
    try:
        return look()
    except (OSError, KeyError, StopIteration, ValueError, requests.RequestException, KafkaException):
        return {}


def names(samples: Iterable[Sample]) -> list[str]:
    """The processes, in the order in which they were first seen."""
    return list(dict.fromkeys(name for sample in samples for name in sample["memory"]))
