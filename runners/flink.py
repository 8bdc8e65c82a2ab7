"""Flink: the embedded mini cluster of Beam's job server, with Python workers of their own beside it."""

import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import apache_beam as beam
import grpc
import requests
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult, PipelineState
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from faces2.io.kafka import read_records
from faces2.runners.base import Build
from faces2.runners.jvm import Jvm, free_ports
from faces2.service.health import Check
from faces2.service.logs import get_logger
from faces2.service.settings import FlinkSettings, KafkaSettings, PipelineSettings
from faces2.service.shutdown import on_signals

START_SECONDS = 60
STATE_SECONDS = 1.0
STUCK_SECONDS = 30

log = get_logger(__name__)


class JobError(RuntimeError):
    """The job ended, though a stream never should."""


class EmbeddedFlinkRunner:
    """Starts the JVMs, submits the graph and watches the job. When anything of it dies it raises: the supervisor starts
    the whole anew, and the job goes on from the consumer group's offsets."""

    streaming = True
    side_inputs = False  # Beam on Flink can not checkpoint a stage that takes one (decision 0005)

    def __init__(self, flink: FlinkSettings, kafka: KafkaSettings, pipeline: PipelineSettings) -> None:
        self._flink = flink
        self._kafka = kafka
        self._pipeline = pipeline
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
            workers = self._start_workers(worker_port)
            stack.callback(workers.stop, 0)
            expansion.wait_for_port(expansion_port, START_SECONDS)
            pipeline = beam.Pipeline(options=PipelineOptions(self._options(job_port, worker_port)))
            read = read_records(self._kafka, topic, f"localhost:{expansion_port}", self._pipeline.pipeline_start)
            build(pipeline, read)
            server.wait_for_port(job_port, START_SECONDS)
            result = pipeline.run()
            expansion.stop()
            self._watch(result, server, stop)

    def _watch(self, result: PipelineResult, server: Jvm, stop: threading.Event) -> None:
        """Until `stop`; JobError when the JVM or the job ended, or when Flink does not get its tasks to run: it would
        try for ever, also when no Python worker is left."""
        ran, patience = time.monotonic(), START_SECONDS * 2
        while not stop.wait(STATE_SECONDS):
            if failure := server.failure():
                raise JobError(failure)
            self._state = result.state
            if PipelineState.is_terminal(self._state):
                raise JobError(f"the job is {self._state}")
            if (waiting := self._check()) is None:
                ran, patience = time.monotonic(), STUCK_SECONDS
            elif time.monotonic() - ran > patience:
                raise JobError(waiting)
        self._state = PipelineState.STOPPED
        log.info("stopping the job")
        result.cancel()

    def _check(self) -> str | None:
        if self._state != PipelineState.RUNNING:
            return f"the job is {self._state}"
        try:
            answer = requests.get(f"http://127.0.0.1:{self._flink.port}/jobs/overview", timeout=2).json()
        except requests.RequestException as error:
            return f"Flink does not answer: {error}"
        # A job is RUNNING before its tasks are: those wait for the Python workers to connect.
        tasks = [job["tasks"] for job in answer["jobs"] if job["state"] == "RUNNING"]
        if any(each["running"] == each["total"] for each in tasks):
            return None
        return f"Flink's tasks, running of all: {[(each['running'], each['total']) for each in tasks]}"

    def _start_job_server(self, port: int, artifact_port: int) -> Jvm:
        config = {
            "rest.bind-port": self._flink.port,
            "rest.port": self._flink.port,
            "rest.bind-address": "127.0.0.1",
            "rest.address": "127.0.0.1",
            "taskmanager.memory.network.min": "64mb",
            "taskmanager.memory.network.max": "64mb",
            "taskmanager.numberOfTaskSlots": self._flink.parallelism,
            "restart-strategy.type": "exponential-delay",
            "restart-strategy.exponential-delay.initial-backoff": "500 ms",
            "restart-strategy.exponential-delay.max-backoff": "10 s",
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
        return Jvm("flink", self._flink.jars, [f"-Xmx{self._flink.heap}"], main_class, arguments)

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

    def _start_workers(self, port: int) -> grpc.Server:
        # Beam's pool starts whatever `python` is.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        _, server = BeamFnExternalWorkerPoolServicer.start(use_process=True, port=port)
        return server

    def _options(self, job_port: int, worker_port: int) -> list[str]:
        interval_ms = self._pipeline.processing_interval * 1000
        return [
            "--runner=PortableRunner",
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
