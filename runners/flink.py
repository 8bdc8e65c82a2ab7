"""Flink: the embedded mini cluster of Beam's job server, with Python workers of their own beside it."""

import threading
from collections.abc import Mapping
from contextlib import ExitStack

import apache_beam as beam
import requests
from apache_beam.runners.runner import PipelineResult, PipelineState
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from faces2.io.kafka import read_records
from faces2.runners.base import Build
from faces2.runners.flink_job import START_SECONDS, STATE_SECONDS, JobError, Patience, job_options
from faces2.runners.flink_rest import Checkpoints, FlinkRest
from faces2.runners.graph_cut import CutPortableRunner
from faces2.runners.jvm import Jvm, free_ports
from faces2.runners.workers import WORKER_SECONDS, WorkerPool
from faces2.service.health import Check
from faces2.service.logs import get_logger
from faces2.service.settings import FlinkSettings, KafkaSettings, PipelineSettings
from faces2.service.shutdown import on_signals

JVM_OPTIONS = ["-XX:TieredStopAtLevel=1", "-XX:+UseParallelGC"]
"""What the JVM does for a frame is little: compiling it better takes the processors from the workers for a minute after
each start, and gives it back in hours."""

log = get_logger(__name__)


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
        self._patience = Patience(pipeline, dependencies)
        self._rest = FlinkRest("127.0.0.1", flink.port)
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
            options = job_options(
                self._pipeline,
                name="faces2",
                job_server=f"localhost:{job_port}",
                worker_port=worker_port,
                parallelism=self._flink.parallelism,
                workers=self._flink.parallelism,
            )
            pipeline = beam.Pipeline(runner=CutPortableRunner(), options=options)
            read = read_records(self._kafka, topic, f"localhost:{expansion_port}", self._pipeline.pipeline_start)
            build(pipeline, read)
            server.wait_for_port(job_port, START_SECONDS)
            result = pipeline.run()
            expansion.stop()
            self._watch(result, server, workers, stop)

    def _watch(self, result: PipelineResult, server: Jvm, workers: WorkerPool, stop: threading.Event) -> None:
        """Until `stop`; JobError when the JVM or the job ended, a worker is not replaced, or checkpoints stay out."""
        while not stop.wait(STATE_SECONDS):
            if failure := server.failure():
                raise JobError(failure)
            if late := [name for name, seconds in workers.missing().items() if seconds > WORKER_SECONDS]:
                raise JobError(f"Flink does not replace the workers {', '.join(late)}")
            checkpoints = self._checkpoints()
            if checkpoints:  # a JVM that hangs would not answer this, either
                self._state = result.state
                if PipelineState.is_terminal(self._state):
                    raise JobError(f"the job is {self._state}")
            self._patience.look(checkpoints)
        self._state = PipelineState.STOPPED
        log.info("stopping the job")
        result.cancel()

    def _check(self) -> str | None:
        if self._state != PipelineState.RUNNING:
            return f"the job is {self._state}"
        try:
            jobs = self._rest.jobs()
        except requests.RequestException as error:
            return f"Flink does not answer: {error}"
        return next((job.trouble for job in jobs), "Flink has no job")

    def _checkpoints(self) -> Checkpoints | None:
        """Those of the only job that there is; None when Flink does not answer."""
        try:
            jobs = self._rest.jobs()
            return self._rest.checkpoints(jobs[0].id) if jobs else Checkpoints()
        except requests.RequestException:
            return None

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
