"""Flink as a cluster of its own: the graph goes to its JobManager by Beam's job server, and the job outlives us."""

import threading
from collections.abc import Mapping
from contextlib import suppress

import apache_beam as beam
import requests
from apache_beam.runners.runner import PipelineState
from prometheus_client import REGISTRY

from faces2.io.kafka import read_records
from faces2.runners.base import Build
from faces2.runners.flink_job import START_SECONDS, STATE_SECONDS, JobError, Patience, job_options
from faces2.runners.flink_rest import FlinkRest, Job
from faces2.runners.graph_cut import CutPortableRunner
from faces2.service.health import Check
from faces2.service.logs import get_logger
from faces2.service.settings import ClusterSettings, FlinkSettings, KafkaSettings, PipelineSettings
from faces2.service.shutdown import on_signals

CANCEL_SECONDS = 20
LIST_SECONDS = 30
"""Until Flink lists a job that the job server has submitted."""

log = get_logger(__name__)


class ClusterFlinkRunner:
    """Sees to it that one job of this revision runs, and that no other reads for the same consumer group.

    A job that is there already is taken over: so killing this process, or starting two, runs nothing twice. One of
    another revision (code or settings) is ended first; the new one goes on from the group's offsets. A job that the
    JobManager lost is submitted anew.
    """

    streaming = True
    side_inputs = False  # Beam on Flink can not checkpoint a stage that takes one (decision 0005)
    registry = REGISTRY  # the workers' metrics are served where they run, by the pool

    def __init__(
        self,
        flink: FlinkSettings,
        cluster: ClusterSettings,
        kafka: KafkaSettings,
        pipeline: PipelineSettings,
        *,
        dependencies: Mapping[str, Check],
        revision: str,
    ) -> None:
        self._flink = flink
        self._cluster = cluster
        self._kafka = kafka
        self._pipeline = pipeline
        self._dependencies = dependencies
        self._revision = revision
        self._rest = FlinkRest(cluster.host, flink.port)
        self._job: Job | None = None
        self.checks: Mapping[str, Check] = {"flink": self._check}

    def run(self, build: Build, topic: str) -> None:
        """Until SIGTERM or SIGINT, which end the job, too."""
        stop = on_signals()
        group = f"{self._kafka.group_id}.{topic}"
        self._wait_for_jobmanager(stop)
        while not stop.is_set():
            job = self._taken_over(group) or self._submitted(build, topic, f"{group}.{self._revision}")
            self._watch(job, stop)
        if self._job is not None:
            log.info("stopping the job", job=self._job.id)
            self._rest.cancel(self._job.id, CANCEL_SECONDS)

    def _wait_for_jobmanager(self, stop: threading.Event) -> None:
        for _ in range(int(START_SECONDS / STATE_SECONDS)):
            with suppress(requests.RequestException):
                self._rest.jobs()
                return
            if stop.wait(STATE_SECONDS):
                return
        raise JobError(f"no JobManager answers at {self._rest.address}")

    def _taken_over(self, group: str) -> Job | None:
        """The group's job of this revision, if it runs; others of the group are ended."""
        found = None
        for job in self._rest.jobs():
            if job.ended or job.name.rpartition(".")[0] != group:
                continue
            if found is None and job.name == f"{group}.{self._revision}":
                found = job
            elif not self._rest.cancel(job.id, CANCEL_SECONDS):
                raise JobError(f"the job {job.id} ({job.name}) does not end")
            else:
                log.info("ended another job of the group", job=job.id, name=job.name)
        if found:
            log.info("the job runs already", job=found.id)
        return found

    def _submitted(self, build: Build, topic: str, name: str) -> Job:
        cluster = self._cluster
        options = job_options(
            self._pipeline,
            name=name,
            job_server=f"{cluster.job_server_host}:{cluster.job_server_port}",
            worker_port=cluster.workers_port,
            parallelism=self._flink.parallelism,
            workers=-(-self._flink.parallelism // cluster.taskmanagers),
        )
        expansion = f"{cluster.expansion_host}:{cluster.expansion_port}"
        pipeline = beam.Pipeline(runner=CutPortableRunner(), options=options)
        build(pipeline, read_records(self._kafka, topic, expansion, self._pipeline.pipeline_start))
        result = pipeline.run()
        waited = threading.Event()
        for _ in range(int(LIST_SECONDS / 0.2)):
            for job in self._rest.jobs():
                if job.name == name and not job.ended:
                    log.info("the job is submitted", job=job.id, name=name)
                    return job
            if PipelineState.is_terminal(result.state):
                break
            waited.wait(0.2)
        raise JobError(f"the job was not taken: {result.state}")

    def _watch(self, job: Job, stop: threading.Event) -> None:
        """Until `stop`, or until Flink has no such job; one that stands still is ended, which is a JobError."""
        self._job = job
        patience = Patience(self._pipeline, self._dependencies)
        while not stop.wait(STATE_SECONDS):
            checkpoints = None
            try:
                found = self._rest.job(job.id)
                if found is None or found.ended:
                    log.error("the job is gone", job=job.id, state=found.state if found else "unknown")
                    self._job = None
                    return
                checkpoints = self._rest.checkpoints(job.id)
            except requests.RequestException as error:
                log.warning("the JobManager does not answer", error=str(error))
            try:
                patience.look(checkpoints)
            except JobError:
                with suppress(requests.RequestException):
                    self._rest.cancel(job.id, CANCEL_SECONDS)
                raise

    def _check(self) -> str | None:
        if self._job is None:
            return "there is no job"
        try:
            job = self._rest.job(self._job.id)
        except requests.RequestException as error:
            return f"the JobManager does not answer: {error}"
        return job.trouble if job else "the job is gone"
