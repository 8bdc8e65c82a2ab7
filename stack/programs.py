"""The parts of the stack, in the order of starting: brokers and databases, then our own services."""

import sys
from dataclasses import replace
from pathlib import Path

from faces2.service.settings import (
    BridgeSettings,
    CertgenSettings,
    FlinkSettings,
    PipelineSettings,
    ServiceSettings,
    SimulatorSettings,
    StackSettings,
    WaitingSettings,
    load,
)
from faces2.stack import brokers, databases, ready
from faces2.stack.environment import Folders
from faces2.stack.flink import cluster
from faces2.stack.preflight import Port
from faces2.stack.program import Program, port
from faces2.stack.shell import StackError, die_with_parent

FACES2 = str(Path(sys.executable).with_name("faces2"))


def programs(folders: Folders) -> list[Program]:
    """The parts that are wanted, in the order of starting; they stop the other way round: first what sends, last what
    stores. StackError if FACES2_WITHOUT names one that does not exist."""
    every = _every(folders)
    names = [program.name for program in every]
    left_out = {name.strip() for name in load(StackSettings).without.split(",")} - {""}
    if unknown := left_out - set(names):
        raise StackError(f"FACES2_WITHOUT={','.join(sorted(unknown))}: the parts are {', '.join(names)}.")
    return [program for program in every if program.name not in left_out]


def _every(folders: Folders) -> list[Program]:
    http = load(ServiceSettings).http_host
    flink = cluster(folders, FACES2)
    return [
        databases.timescale(folders),
        databases.metadata(folders),
        brokers.redis(folders),
        brokers.kafka(folders, FACES2),
        _certgen(),
        brokers.mosquitto(folders),
        *flink,
        _pipeline(http, tuple(part.name for part in flink)),
        _waiting(http),
        _bridge(http),
        _simulator(http),
        Program("watchdog", die_with_parent([FACES2, "watchdog"]), ready=lambda: None, endpoint=""),
    ]


def _certgen() -> Program:
    """Makes the CA and Mosquitto's certificate before it answers."""
    settings = load(CertgenSettings)
    return _service("certgen", ["certgen"], port(settings, "port"))


def _pipeline(http: str, cluster_parts: tuple[str, ...]) -> Program:
    """Embedded, Flink's JVM is a child of the process, which ends it; else it submits its job to the cluster."""
    served = port(load(PipelineSettings), "pipeline_http_port", http)
    flink = () if cluster_parts else (port(load(FlinkSettings), "port"),)
    needs = ("kafka", "redis", "postgresql", "timescaledb", *cluster_parts)
    command = ["pipeline", "--runner", "flink", "--mode", "full"]
    return _service("pipeline", command, served, *flink, needs=needs, stop_seconds=40)


def _waiting(http: str) -> Program:
    served = port(load(WaitingSettings), "http_port", http)
    return _service("waiting", ["waiting"], served, needs=("kafka", "redis", "postgresql"), stop_seconds=30)


def _bridge(http: str) -> Program:
    served = port(load(BridgeSettings), "http_port", http)
    return _service("bridge", ["bridge"], served, needs=("kafka", "mosquitto"), stop_seconds=20)


def _simulator(http: str) -> Program:
    """After the bridge: Mosquitto keeps messages for a subscriber only once that has subscribed."""
    served = port(load(SimulatorSettings), "http_port", http)
    needs = ("certgen", "mosquitto", "postgresql", "bridge", "pipeline")
    # It waits up to 30 s for acknowledgements before it ends; with SIMULATOR_DURATION it ends by itself.
    return replace(_service("simulator", ["simulate"], served, needs=needs, stop_seconds=40), may_end=True)


def _service(
    name: str, arguments: list[str], served: Port, *others: Port, needs: tuple[str, ...] = (), stop_seconds: int = 10
) -> Program:
    url = f"http://{served.host}:{served.number}"
    return Program(
        name,
        die_with_parent([FACES2, *arguments]),
        lambda: ready.http(f"{url}/health/ready"),
        url,
        ports=(served, *others),
        needs=needs,
        stop_seconds=stop_seconds,
        alive=lambda: ready.http(f"{url}/health/live"),
    )
