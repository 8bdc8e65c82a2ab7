"""What the images do beside the programs in them: scripts that start and fill in, as the native stack does."""

import http.server
import os
import re
import runpy
import shutil
import stat
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from string import Template

import pytest

from faces2.service.settings import SECTIONS, variable
from faces2.stack import jars, journal
from faces2.stack.environment import DEPLOY, Folders
from faces2.stack.flink import cluster

ROOT = Path(__file__).parents[2]
DOCKER = DEPLOY / "docker"
TEMPLATES = (
    *("flink/config.yaml", "kafka/server.properties", "mosquitto/mosquitto.conf", "redis/redis.conf"),
    *("postgresql/metadata.conf", "postgresql/timescaledb.conf", "kafka/zookeeper.properties"),
)


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for section in SECTIONS:
        for name in section.model_fields:
            monkeypatch.delenv(variable(section, name), raising=False)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The folder /faces2 of an image."""
    folder = tmp_path / "faces2"
    folder.mkdir()
    for file in (*DOCKER.glob("*.sh"), *(DEPLOY / name for name in TEMPLATES), DEPLOY / "flink/jvm.options"):
        shutil.copy(file, folder)
    return folder


def stub(folder: Path, name: str, script: str) -> None:
    """A program that stands in for a real one."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def run(command: list[str | Path], env: dict[str, str], programs: Path | None = None) -> str:
    path = f"{programs}:{os.environ['PATH']}" if programs else os.environ["PATH"]
    done = subprocess.run(command, env={"PATH": path, **env}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", TEMPLATES)
def test_fill_does_what_the_native_stack_does(name: str, tmp_path: Path) -> None:
    text = (DEPLOY / name).read_text()
    values = {each: f"<{each}> & ${{x}} \\1 %s" for each in re.findall(r"\$\{(\w+)\}", text)}
    run(["sh", DOCKER / "fill.sh", DEPLOY / name, tmp_path / "filled"], values)
    assert (tmp_path / "filled").read_text() == Template(text).substitute(values)


def test_fill_names_what_has_no_value(tmp_path: Path) -> None:
    (tmp_path / "template").write_text("a = ${A}\n")
    command = ["sh", str(DOCKER / "fill.sh"), "template", "filled"]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no value for A" in done.stderr


@pytest.mark.parametrize(
    ("part", "options"),
    [
        ("jobmanager", {}),
        ("taskmanager", {"FLINK_TASKMANAGER_HEAP": "1g"}),
        ("job-server", {"FLINK_JOB_SERVER_PORT": "8199"}),
        ("expansion", {"FLINK_EXPANSION_PORT": "8197"}),
    ],
)
def test_flink_gets_the_native_stack_s_options(
    part: str, options: dict[str, str], image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = Folders(tmp_path, tmp_path / "data", tmp_path / "cache")
    for name, value in {"FLINK_MODE": "cluster", "FLINK_JARS": "/jars", "FLINK_PARALLELISM": "5", **options}.items():
        monkeypatch.setenv(name, value)
    native = next(each for each in cluster(folders, "faces2") if each.name.removesuffix("-1") == part)
    stub(tmp_path / "programs", "java", 'printf "%s\\n" "$@"')
    env = {
        **{"FLINK_JARS": "/jars", "FLINK_PARALLELISM": "5", "BIND": "127.0.0.1", **options},
        **{"STATE": f"{folders.data}/flink-cluster", "FLINK_RUN": f"{folders.run}/flink"},
    }
    given = run([image / "flink.sh", part], env, tmp_path / "programs").splitlines()
    begin = next(number for number, each in enumerate(native.command) if each.startswith("@"))
    elsewhere = {
        f"{DEPLOY}/flink": str(image),
        f"{folders.data}/flink-cluster/job": f"{folders.run}/flink/job",
        f"{folders.run}/flink/classes.jar": "/classes.jar",  # natively of each start, in the image beside the jars
    }
    for here, there in elsewhere.items():
        native.command[:] = [each.replace(here, there) for each in native.command]
    assert given == native.command[begin:]
    filled = (folders.run / "flink/config.yaml").read_text()
    next(each for each in cluster(folders, "faces2") if each.name == "jobmanager").before()  # type: ignore[misc]
    assert filled == (folders.run / "flink/config.yaml").read_text()


def test_flink_s_defaults_are_those_of_the_settings(image: Path, tmp_path: Path) -> None:
    fields = [(variable(section, name), field) for section in SECTIONS for name, field in section.model_fields.items()]
    defaults = {name: str(field.default) for name, field in fields}
    found = dict(re.findall(r"\$\{(FLINK_[A-Z_]+):-([^}]+)\}", (image / "flink.sh").read_text()))
    del found["FLINK_RUN"]
    assert found == {name: defaults[name] for name in found}


def test_mosquitto_is_filled_in(image: Path, tmp_path: Path) -> None:
    stub(tmp_path / "programs", "mosquitto", 'cat "$2"')
    env = {"MQTT_PORT": "1883", "MQTT_TLS_PORT": "8883", "BRIDGE_MAX_IN_FLIGHT": "2000", "MQTT_JOURNAL_MB": "3"}
    given = run([image / "mosquitto.sh"], {**env, "MOSQUITTO_CONFIG": f"{tmp_path}/conf"}, tmp_path / "programs")
    values = {
        **{"MQTT_PORT": 1883, "MQTT_TLS_PORT": 8883, "MQTT_BIND": "0.0.0.0", "MQTT_TLS_BIND": "0.0.0.0"},
        **{"CERTS": "/certs", "DATA": "/var/lib/mosquitto", "CONFIG": image, "MQTT_USER": "faces2"},
        **{"MAX_IN_FLIGHT": 2000, "JOURNAL": f"{image}/journal.so", "BRIDGE": "faces2-bridge"},
        **{"JOURNAL_BYTES": 3_000_000, "JOURNAL_SYNC_MS": 100},
    }
    assert given == Template((DEPLOY / "mosquitto/mosquitto.conf").read_text()).substitute(values)


class Kafka:
    """kafka.sh on stand-ins: what it starts, and on which configuration."""

    def __init__(self, image: Path, tmp_path: Path) -> None:
        self.programs, self.data, self.image = tmp_path / "programs", tmp_path / "kafka", image
        self.data.mkdir()
        stub(self.programs, "kafka-storage.sh", f'echo "storage $*" >>{tmp_path}/calls; echo the-id')
        stub(self.programs, "kafka-server-start.sh", 'cat "$1"')
        self.calls = tmp_path / "calls"
        self.env = {
            **{"KAFKA_BIN": str(self.programs), "KAFKA_CONFIG": f"{tmp_path}/server.properties"},
            **{"DATA": str(self.data), "KAFKA_HOST": "kafka", "KAFKA_PORT": "9092"},
            **{"KAFKA_CONTROLLER_PORT": "9093", "KAFKA_PARTITIONS": "4"},
        }

    def start(self, *, zookeeper: bool) -> dict[str, str]:
        stub(self.programs, "nc", "exit 0" if zookeeper else "exit 1")
        lines = run([self.image / "kafka.sh", "broker"], self.env, self.programs).splitlines()
        return dict(line.split("=", 1) for line in lines if line and not line.startswith("#") and "=" in line)


def test_kafka_by_itself_formats_its_folder_once(image: Path, tmp_path: Path) -> None:
    kafka = Kafka(image, tmp_path)
    config = kafka.start(zookeeper=False)
    assert config["process.roles"] == "broker,controller"
    assert kafka.calls.read_text() == (
        f"storage random-uuid\nstorage format -t the-id -c {tmp_path}/server.properties\n"
    )
    kafka.calls.unlink()
    (kafka.data / "meta.properties").write_text("version=1\nnode.id=1\n")
    assert kafka.start(zookeeper=True) == config  # its data is KRaft's, whoever came later
    assert not kafka.calls.exists()


def test_kafka_with_zookeeper(image: Path, tmp_path: Path) -> None:
    kafka = Kafka(image, tmp_path)
    alone = kafka.start(zookeeper=False)
    kafka.calls.unlink()
    config = kafka.start(zookeeper=True)
    assert not kafka.calls.exists()
    assert config["zookeeper.connect"] == "zookeeper:2181"
    assert config["broker.id"] == alone["node.id"]
    assert config["listeners"] == config["advertised.listeners"] == "PLAINTEXT://kafka:9092"
    assert not [name for name in config if "controller" in name or name in ("process.roles", "node.id")]
    others = set(alone) - set(config)
    assert others == {"process.roles", "node.id", "controller.quorum.voters"} | {
        *("controller.listener.names", "listener.security.protocol.map")
    }
    (kafka.data / "meta.properties").write_text("version=0\nbroker.id=1\n")
    assert kafka.start(zookeeper=False) == config


def test_the_services_image_has_no_developers_tools() -> None:
    runtime_lock = runpy.run_path(str(DOCKER / "runtime_lock.py"))["runtime_lock"]
    lock = (ROOT / "requirements.lock").read_text()
    kept = runtime_lock((ROOT / "pyproject.toml").read_text(), lock)
    found = set(re.findall(r"^([a-z0-9.-]+)==", kept, re.MULTILINE))
    assert {"apache-beam", "numpy", "starlette", "pydantic-core", "click"} <= found
    assert not found & {"pytest", "ruff", "mypy", "matplotlib", "hypothesis", "iniconfig", "kafka-python"}
    with pytest.raises(SystemExit, match="has no nothing-like-it: make lock"):
        runtime_lock('[project]\ndependencies = ["nothing-like-it>=1"]', lock)


def test_dotenv_has_a_new_password_wherever_one_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    shutil.copytree(DOCKER, tmp_path / "deploy/docker")
    shutil.copy(ROOT / ".env.example", tmp_path)
    run([tmp_path / "deploy/docker/dotenv.sh"], {})
    written = tmp_path / ".env"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    passwords = dict(re.findall(r"^(\w+_PASSWORD)=(.*)$", written.read_text(), re.MULTILINE))
    assert set(passwords) == {"POSTGRES_PASSWORD", "TIMESCALE_PASSWORD", "GRAFANA_PASSWORD"}
    assert len(set(passwords.values())) == 3
    assert all(re.fullmatch(r"[\w-]{24}", each) for each in passwords.values())
    again = subprocess.run([tmp_path / "deploy/docker/dotenv.sh"], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "stays as it is" in again.stderr


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1)])
def test_healthy(status: int, expected: int) -> None:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health/ready" else 404)
            self.end_headers()
            self.wfile.write(b"kafka is away")

        def log_message(self, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [sys.executable, str(DOCKER / "healthy.py"), str(server.server_port)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        server.shutdown()
    assert done.returncode == expected
    assert ("kafka is away" in done.stderr) == bool(expected)


def test_dockerfiles_do_what_the_native_stack_does() -> None:
    mosquitto = " ".join((DOCKER / "Dockerfile.mosquitto").read_text().replace("\\\n", "").split())
    assert f"gcc {' '.join(journal.FLAGS)} " in mosquitto
    assert f"--no-install-recommends {' '.join(journal.PACKAGES)}" in mosquitto
    assert jars.COPY_DEPENDENCIES in (DOCKER / "Dockerfile.flink").read_text()


@pytest.mark.parametrize("file", sorted(DOCKER.glob("Dockerfile.*")), ids=lambda file: file.name)
def test_dockerfiles(file: Path) -> None:
    text = file.read_text()
    bases = dict(re.findall(r"^ARG ([A-Z]+)=(\S+:\S+)$", text, re.MULTILINE))
    for used in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert used in {f"${{{name}}}" for name in bases} | {"packages"}
    assert all(re.search(r":v?\d+\.\d+", base) for base in bases.values())
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert f"ARG VERSION={tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']}\n" in text
    assert "org.opencontainers.image.revision" in text


def test_the_build_s_context_has_every_folder_of_code() -> None:
    listed = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    folders = re.findall(r'^    "(\w+)",$', (ROOT / "setup.py").read_text(), re.MULTILINE)
    assert len(folders) > 10
    assert set(folders) <= listed
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
