"""Flink: the embedded mini cluster of Beam's job server, with Python workers of their own beside it."""

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import apache_beam as beam
import requests
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult, PipelineState
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from faces2.io.kafka import read_records
from faces2.runners.base import Build
from faces2.runners.graph_cut import CutPortableRunner
from faces2.runners.jvm import Jvm, free_ports
from faces2.runners.progress import Progress
from faces2.runners.workers import WorkerPool
from faces2.service.health import Check, failures
from faces2.service.logs import get_logger
from faces2.service.settings import FlinkSettings, KafkaSettings, PipelineSettings
from faces2.service.shutdown import on_signals

START_SECONDS = 60
STATE_SECONDS = 1.0
JVM_OPTIONS = ["-XX:TieredStopAtLevel=1", "-XX:+UseParallelGC"]
"""What the JVM does for a frame is little: compiling it better takes the processors from the workers for a minute after
each start, and gives it back in hours."""
STALL_SECONDS = 60
"""Without a completed checkpoint, beyond two intervals: a worker, the JVM or a connection hangs."""
WORKER_SECONDS = 10
"""Flink replaces a dead worker when a bundle fails; without traffic none does."""

log = get_logger(__name__)


class JobError(RuntimeError):
    """The job ended, though a stream never should."""


class EmbeddedFlinkRunner:
    """Starts the JVMs, submits the graph and watches the job. When anything of it dies it raises: the supervisor starts
    the whole anew, and the job goes on from the consumer group's offsets. `dependencies` are what the job can not go on
    without: while one of them is away there is nothing to be mended here."""

    streaming = True
    side_inputs = False  # Beam on Flink can not checkpoint a stage that takes one (decision 0005)

    def __init__(
        self,
        flink: FlinkSettings,
        kafka: KafkaSettings,
        pipeline: PipelineSettings,
        dependencies: Mapping[str, Check],
    ) -> None:
        self._flink = flink
        self._kafka = kafka
        self._pipeline = pipeline
        self._dependencies = dependencies
        self._state = PipelineState.UNKNOWN
        self._work = flink.work_dir
        self._work.mkdir(parents=True, exist_ok=True)
        self.registry = CollectorRegistry()
        MultiProcessCollector(self.registry)
        self.checks: Mapping[str, Check] = {"flink": self._check}

    def run(self, build: Build, topic: str) -> None:
        """Streams until SIGTERM or SIGINT."""
        stop = on_signals()
        with ExitStack() as stack:
            job_port, artifact_port, expansion_port, worker_port = free_ports(4)
            server = self._start_job_server(job_port, artifact_port)
            stack.callback(server.stop)
            expansion = self._start_expansion(expansion_port)
            stack.callback(expansion.stop)
            workers = WorkerPool(worker_port, self._flink.parallelism)
            stack.callback(workers.stop)
            expansion.wait_for_port(expansion_port, START_SECONDS)
            options = PipelineOptions(self._options(job_port, worker_port))
            pipeline = beam.Pipeline(runner=CutPortableRunner(), options=options)
            read = read_records(self._kafka, topic, f"localhost:{expansion_port}", self._pipeline.pipeline_start)
            build(pipeline, read)
            server.wait_for_port(job_port, START_SECONDS)
            result = pipeline.run()
            expansion.stop()
            self._watch(result, server, workers, stop)

    def _watch(self, result: PipelineResult, server: Jvm, workers: WorkerPool, stop: threading.Event) -> None:
        """Until `stop`; JobError when the JVM or the job ended, a worker is not replaced, or checkpoints stay out."""
        progress = Progress(START_SECONDS * 2, STALL_SECONDS + 2 * self._pipeline.processing_interval)
        while not stop.wait(STATE_SECONDS):
            if failure := server.failure():
                raise JobError(failure)
            if late := [name for name, seconds in workers.missing().items() if seconds > WORKER_SECONDS]:
                raise JobError(f"Flink does not replace the workers {', '.join(late)}")
            count = self._checkpoints()
            if count is not None:  # a JVM that hangs would not answer this, either
                self._state = result.state
                if PipelineState.is_terminal(self._state):
                    raise JobError(f"the job is {self._state}")
            progress.note(count)
            if progress.late and any(failures(self._dependencies).values()):
                progress.excuse()
            elif progress.stalled:
                raise JobError("its checkpoints stay out")
        self._state = PipelineState.STOPPED
        log.info("stopping the job")
        result.cancel()

    def _check(self) -> str | None:
        if self._state != PipelineState.RUNNING:
            return f"the job is {self._state}"
        try:
            jobs = self._ask("jobs/overview")["jobs"]
        except requests.RequestException as error:
            return f"Flink does not answer: {error}"
        # A job is RUNNING before its tasks are: those wait for the Python workers to connect.
        tasks = [job["tasks"] for job in jobs if job["state"] == "RUNNING"]
        if any(each["running"] == each["total"] for each in tasks):
            return None
        return f"Flink's tasks, running of all: {[(each['running'], each['total']) for each in tasks]}"

    def _checkpoints(self) -> int | None:
        """How many checkpoints were completed; None when Flink does not answer."""
        try:
            jobs = self._ask("jobs")["jobs"]
            return sum(int(self._ask(f"jobs/{job['id']}/checkpoints")["counts"]["completed"]) for job in jobs)
        except requests.RequestException:
            return None

    def _ask(self, path: str) -> Any:
        answer = requests.get(f"http://127.0.0.1:{self._flink.port}/{path}", timeout=2)
        answer.raise_for_status()
        return answer.json()

    def _start_job_server(self, port: int, artifact_port: int) -> Jvm:
        config = {
            "rest.bind-port": self._flink.port,
            "rest.port": self._flink.port,
            "rest.bind-address": "127.0.0.1",
            "rest.address": "127.0.0.1",
            "taskmanager.memory.network.min": "64mb",
            "taskmanager.memory.network.max": "64mb",
            "taskmanager.numberOfTaskSlots": self._flink.parallelism,
            # All tasks start anew when one fails, and all workers with them: some of the tasks would get the dead ones.
            "jobmanager.execution.failover-strategy": "full",
            # Its managers are one process: a JVM that stood still and goes on must not take itself for lost.
            "heartbeat.timeout": 600_000,
            "restart-strategy.type": "exponential-delay",
            "restart-strategy.exponential-delay.initial-backoff": "500 ms",
            "restart-strategy.exponential-delay.max-backoff": "5 s",
            "restart-strategy.exponential-delay.jitter-factor": 0.1,
            "restart-strategy.exponential-delay.reset-backoff-threshold": "1 min",
            "execution.checkpointing.tolerable-failed-checkpoints": 100,
        }
        (self._work / "flink-conf.yaml").write_text("".join(f"{key}: {value}\n" for key, value in config.items()))
        arguments = [
            "--flink-master=[local]",
            f"--flink-conf-dir={self._work}",
            "--job-host=localhost",
            f"--job-port={port}",
            f"--artifact-port={artifact_port}",
            "--expansion-port=-1",
            f"--artifacts-dir={self._work}/artifacts",
            "--clean-artifacts-per-job",
        ]
        main_class = "org.apache.beam.runners.flink.FlinkJobServerDriver"
        return Jvm("flink", self._flink.jars, [f"-Xmx{self._flink.heap}", *JVM_OPTIONS], main_class, arguments)

    def _start_expansion(self, port: int) -> Jvm:
        staged = self._work / "staged"  # the job server has all jars on its class path: nothing is to be uploaded
        staged.write_text("")
        arguments = [
            str(port),
            "--defaultEnvironmentType=EMBEDDED",
            "--experiments=use_deprecated_read",
            f"--filesToStage={staged}",
        ]
        main_class = "org.apache.beam.sdk.expansion.service.ExpansionService"
        # It lives for some seconds: what counts is how soon it is there.
        options = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        return Jvm("expansion", self._flink.jars, options, main_class, arguments)

    def _options(self, job_port: int, worker_port: int) -> list[str]:
        interval_ms = self._pipeline.processing_interval * 1000
        return [
            f"--job_endpoint=localhost:{job_port}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{worker_port}",
            f"--sdk_worker_parallelism={self._flink.parallelism}",
            "--job_name=faces2",
            "--streaming",
            "--experiments=use_deprecated_read",
            f"--parallelism={self._flink.parallelism}",
            f"--checkpointing_interval={interval_ms}",
            "--finish_bundle_before_checkpointing",
            # Updating Beam's metrics at each record and copying it between operators took half of the JVM's time.
            "--disable_metrics",
            "--object_reuse",
            "--faster_copy",
            f"--max_bundle_size={self._pipeline.bundle_size}",
            # A bundle was seen to grow up to twice as old as this.
            f"--max_bundle_time_mills={self._pipeline.max_batch_wait_ms // 2}",
        ]
