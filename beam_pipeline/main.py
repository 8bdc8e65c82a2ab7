"""The pipeline's process: settings, health, runner, shutdown."""

import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from enum import StrEnum

from confluent_kafka.admin import AdminClient

from faces2.beam_pipeline.graph import Graph, Mode
from faces2.beam_pipeline.metadata import WorkerMetadata
from faces2.beam_pipeline.revision import revision
from faces2.io import timescale
from faces2.io.cache import SnapshotCache, redis_client
from faces2.io.kafka_lag import LagWatch
from faces2.io.metadata import MetadataDatabase
from faces2.io.metadata_announcer import MetadataAnnouncer
from faces2.models.metadata import Snapshot
from faces2.runners.base import Runner
from faces2.runners.direct import DirectRunner
from faces2.runners.flink import EmbeddedFlinkRunner
from faces2.runners.flink_cluster import ClusterFlinkRunner
from faces2.service import logs
from faces2.service.health import Check, HealthServer
from faces2.service.settings import (
    ClusterSettings,
    FlinkSettings,
    KafkaSettings,
    PipelineSettings,
    PostgresSettings,
    RedisSettings,
    ServiceSettings,
    TimescaleSettings,
    load,
)

log = logs.get_logger(__name__)


class RunnerName(StrEnum):
    """The runners there are."""

    DIRECT = "direct"
    FLINK = "flink"


def main(runner: RunnerName, mode: Mode, max_records: int | None = None) -> None:
    """Runs the pipeline until it ends or is told to stop; exit status 1 when the job failed."""
    service = load(ServiceSettings)
    logs.configure("pipeline", service.log_level)
    kafka, pipeline = load(KafkaSettings), load(PipelineSettings)
    database = None if mode is Mode.PROCESS else load(TimescaleSettings)
    dependencies = _checks(kafka, database)
    engine = _runner(runner, mode, pipeline, dependencies, max_records)
    with ExitStack() as stack:
        metadata = None if mode is Mode.SINK else _metadata(stack, engine)
        # A bounded run reads what is old: published again, it would take the place of the last known state.
        publish = engine.streaming and pipeline.pipeline_publish
        graph = Graph(mode, kafka, database, pipeline, metadata, publish)
        if engine.streaming:
            checks = {**dependencies, **engine.checks}
            health = HealthServer(service.http_host, pipeline.pipeline_http_port, checks, engine.registry)
            health.start()
            stack.callback(health.stop)
            lag = LagWatch(kafka, graph.source_topic)
            lag.start()
            stack.callback(lag.stop)
        try:
            engine.run(graph.build, graph.source_topic)
        except Exception:
            log.exception("the pipeline failed")
            sys.exit(1)
    log.info("the pipeline ended")


def _runner(
    name: RunnerName,
    mode: Mode,
    pipeline: PipelineSettings,
    dependencies: Mapping[str, Check],
    max_records: int | None,
) -> Runner:
    kafka = load(KafkaSettings)
    if name is RunnerName.DIRECT:
        return DirectRunner(kafka, max_records)
    flink = load(FlinkSettings)
    if flink.mode == "embedded":
        return EmbeddedFlinkRunner(flink, kafka, pipeline, dependencies)
    cluster = load(ClusterSettings)
    return ClusterFlinkRunner(flink, cluster, kafka, pipeline, dependencies=dependencies, revision=revision(mode))


def _metadata(stack: ExitStack, engine: Runner) -> Snapshot | WorkerMetadata:
    postgres, redis = load(PostgresSettings), load(RedisSettings)
    if engine.side_inputs:
        with closing(MetadataDatabase(postgres)) as database:
            return database.snapshot()
    announcer = MetadataAnnouncer(postgres, SnapshotCache(redis_client(redis)))
    announcer.start()
    stack.callback(announcer.stop)
    return WorkerMetadata(postgres, redis)


def _checks(kafka: KafkaSettings, database: TimescaleSettings | None) -> Mapping[str, Check]:
    admin = AdminClient({"bootstrap.servers": kafka.brokers})

    def kafka_answers() -> None:
        admin.list_topics(timeout=2)

    def timescale_answers() -> None:
        assert database is not None
        with closing(timescale.connect(database)):
            pass

    checks: dict[str, Check] = {"kafka": kafka_answers}
    return checks if database is None else checks | {"timescaledb": timescale_answers}
