"""The process `faces2 workers`: the pool of Python workers beside the TaskManagers of one host, and their metrics."""

import sys

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from faces2.runners.workers import WORKER_SECONDS, WorkerPool
from faces2.service import logs
from faces2.service.health import HealthServer
from faces2.service.settings import ClusterSettings, FlinkSettings, ServiceSettings, load
from faces2.service.shutdown import on_signals

LOOK_SECONDS = 1.0

log = logs.get_logger(__name__)


def main() -> None:
    """Starts workers as TaskManagers ask for them, until SIGTERM.

    Ends with status 1 when Flink does not replace one that died: its others end too, so that Flink has to begin anew.
    """
    service, settings = load(ServiceSettings), load(ClusterSettings)
    logs.configure("workers", service.log_level)
    stop = on_signals()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    pool = WorkerPool(settings.workers_port, load(FlinkSettings).parallelism)
    health = HealthServer(service.http_host, settings.workers_http_port, {}, registry)
    health.start()
    try:
        while not stop.wait(LOOK_SECONDS):
            if late := [name for name, seconds in pool.missing().items() if seconds > WORKER_SECONDS]:
                log.error("Flink does not replace a worker", workers=late)
                sys.exit(1)
    finally:
        pool.stop()
        health.stop()
