"""Flink as a cluster of its own: JobManager, TaskManagers, the pool of Python workers, Beam's two services."""

import json
import re
import time
import urllib.request
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from faces2.service.settings import ClusterSettings, FlinkSettings, ServiceSettings, load
from faces2.stack import debian, ready
from faces2.stack.environment import DEPLOY, Folders, fill, write
from faces2.stack.preflight import Port
from faces2.stack.program import Program, Step, port
from faces2.stack.ready import NotReadyError
from faces2.stack.shell import die_with_parent

HERE = "127.0.0.1"
JOB_SERVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
EXPANSION = "org.apache.beam.sdk.expansion.service.ExpansionService"
JOBMANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASKMANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
FRAMEWORK_MB, DIRECT_MB, METASPACE_MB = 128, 320, 256
"""As in config.yaml: Flink's own heap; off-heap and network memory; classes."""


def cluster(folders: Folders, faces2: str) -> list[Program]:
    """The parts of the cluster, in the order of starting; none where Flink is embedded in the pipeline."""
    if load(FlinkSettings).mode == "embedded":
        return []
    settings = load(ClusterSettings)
    managers = [_taskmanager(folders, f"taskmanager-{number + 1}") for number in range(settings.taskmanagers)]
    return [_jobmanager(folders), _expansion(folders), _workers(faces2), *managers, _job_server(folders)]


def _jobmanager(folders: Folders) -> Program:
    rest, rpc = port(load(FlinkSettings), "port", HERE), port(load(ClusterSettings), "rpc_port", HERE)
    arguments = ["--configDir", str(_config(folders)), "--executionMode", "cluster"]
    command = _java(["-Xmx384m"], JOBMANAGER, arguments)

    def before() -> None:
        state = folders.data / "flink-cluster"
        (state / "tmp").mkdir(parents=True, exist_ok=True)
        settings = load(ClusterSettings)
        values: dict[str, object] = {
            "JOBMANAGER_HOST": HERE,
            "JOBMANAGER_RPC_PORT": settings.rpc_port,
            "REST_PORT": load(FlinkSettings).port,
            "BIND": HERE,
            "SLOTS": -(-load(FlinkSettings).parallelism // settings.taskmanagers),
            "TASK_HEAP": settings.taskmanager_heap,
            "STATE": state,
            "METRICS_PORTS": f"{settings.metrics_port}-{settings.metrics_port + settings.taskmanagers}",
        }
        fill(DEPLOY / "flink" / "config.yaml", _config(folders) / "config.yaml", values)

    return Program(
        "jobmanager",
        die_with_parent(command),
        lambda: _ask("overview"),
        f"http://{HERE}:{rest.number}",
        ports=(rest, rpc),
        before=before,
        alive=lambda: _ask("overview", ready.PATIENT),
    )


def _taskmanager(folders: Folders, name: str) -> Program:
    heap = _megabytes(load(ClusterSettings).taskmanager_heap) + FRAMEWORK_MB
    options = [f"-Xmx{heap}m", f"-XX:MaxDirectMemorySize={DIRECT_MB}m", f"-XX:MaxMetaspaceSize={METASPACE_MB}m"]
    arguments = ["--configDir", str(_config(folders)), "-D", f"taskmanager.resource-id={name}"]
    return Program(
        name,
        die_with_parent(_java(options, TASKMANAGER, arguments)),
        lambda: _registered(name),
        "",
        needs=("jobmanager", "workers"),
        alive=lambda: _registered_within(name, ready.PATIENT),
    )


def _workers(faces2: str) -> Program:
    settings, http = load(ClusterSettings), load(ServiceSettings).http_host
    url = f"http://{http}:{settings.workers_http_port}"
    return Program(
        "workers",
        die_with_parent([faces2, "workers"]),
        lambda: ready.http(f"{url}/health/ready"),
        url,
        ports=(port(settings, "workers_http_port", http), port(settings, "workers_port", HERE)),
        alive=lambda: ready.http(f"{url}/health/live"),
    )


def _job_server(folders: Folders) -> Program:
    settings = load(ClusterSettings)
    work = folders.data / "flink-cluster" / "job-server"
    arguments = [
        f"--flink-master={HERE}:{load(FlinkSettings).port}",
        f"--flink-conf-dir={_config(folders)}",
        f"--job-host={HERE}",
        f"--job-port={settings.job_server_port}",
        f"--artifact-port={settings.artifact_port}",
        "--expansion-port=-1",
        f"--artifacts-dir={work}",
        "--clean-artifacts-per-job",
    ]
    ports = (port(settings, "job_server_port", HERE), port(settings, "artifact_port", HERE))
    jars, agent = load(FlinkSettings).jars, _config(folders) / "classes.jar"
    # Beam sends what the class path names with each job, which took 21 of the 35 s until a lost job ran again. The
    # cluster has all jars: so the class path names nothing that there is, and an agent brings the jars.
    command = [*_jvm(["-Xmx384m", f"-javaagent:{agent}"]), "-cp", "nothing.jar"]
    before = partial(_write_agent, agent, jars)
    return _served("job-server", [*command, JOB_SERVER, *arguments], ports, needs=("jobmanager",), before=before)


def _expansion(folders: Folders) -> Program:
    served = port(load(ClusterSettings), "expansion_port", HERE)
    nothing = folders.run / "flink" / "staged"  # the cluster has all jars: nothing is to be sent with a job
    arguments = [
        str(served.number),
        "--defaultEnvironmentType=EMBEDDED",
        "--experiments=use_deprecated_read",
        f"--filesToStage={nothing}",
    ]
    command = _java(["-Xmx256m"], EXPANSION, arguments)
    return _served("expansion", command, (served,), before=lambda: write(nothing, ""))


def _served(
    name: str, command: list[str], ports: tuple[Port, ...], needs: tuple[str, ...] = (), before: Step | None = None
) -> Program:
    """A part of Beam's, which speaks gRPC."""
    numbers = [each.number for each in ports]
    return Program(
        name,
        die_with_parent(command),
        lambda: ready.tcp(HERE, *numbers),
        f"{HERE}:{numbers[0]}",
        ports=ports,
        needs=needs,
        before=before,
        alive=lambda: ready.tcp(HERE, *numbers),
    )


def _write_agent(target: Path, jars: Path) -> None:
    """A jar that holds nothing but the names of others, and whose start is jamm's, which does no more than start."""
    names = [f"Class-Path: {' '.join(jar.as_uri() for jar in sorted(jars.glob('*.jar')))}"]
    lines = ["Manifest-Version: 1.0", "Premain-Class: org.github.jamm.MemoryMeter", *names]
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as jar:
        # A line of a manifest holds 72 bytes, and goes on behind a space.
        jar.writestr("META-INF/MANIFEST.MF", "".join("\n ".join(re.findall(".{1,70}", line)) + "\n" for line in lines))


def _java(options: Sequence[str], main_class: str, arguments: Sequence[str]) -> list[str]:
    return [*_jvm(options), "-cp", f"{load(FlinkSettings).jars}/*", main_class, *arguments]


def _jvm(options: Sequence[str]) -> list[str]:
    return [debian.java() or "java", f"@{DEPLOY / 'flink' / 'jvm.options'}", *options]


def _config(folders: Folders) -> Path:
    return folders.run / "flink"


def _registered(name: str) -> None:
    """The JobManager counts on this TaskManager."""
    known = [each["id"] for each in _ask("taskmanagers")["taskmanagers"]]
    if name not in known:
        raise NotReadyError("not registered with the JobManager")


def _registered_within(name: str, seconds: float) -> None:
    """Raises late for one that the JobManager has given up, as it hangs; at once when there is no JobManager."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _registered(name)
        except NotReadyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def _ask(path: str, seconds: float = ready.TIMEOUT) -> dict[str, list[dict[str, str]]]:
    url = f"http://{HERE}:{load(FlinkSettings).port}/{path}"
    with urllib.request.urlopen(url, timeout=seconds) as answer:
        found: dict[str, list[dict[str, str]]] = json.load(answer)
        return found


def _megabytes(size: str) -> int:
    return int(size[:-1]) * (1024 if size.endswith("g") else 1)
