"""The stack's pure parts: configuration, settings files, ports, sentences."""

import configparser
import io
import os
import re
import shlex
import socket
import time
import xmlrpc.client
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.console import Console

from faces2.service.settings import SECTIONS, FlinkSettings, TimescaleSettings, variable
from faces2.stack import debian, environment, flink, jars, postgres, shell
from faces2.stack.commands import alone
from faces2.stack.environment import Folders, fill, with_passwords, write
from faces2.stack.install import _fetch_timescale
from faces2.stack.preflight import Port, check_ports, check_room, why_closed
from faces2.stack.program import Program
from faces2.stack.programs import programs
from faces2.stack.ready import NotReadyError
from faces2.stack.report import Report
from faces2.stack.shell import StackError, die_with_parent, said
from faces2.stack.supervisor import Supervisor, configuration

NAMES = (
    *("timescaledb", "postgresql", "redis", "kafka", "certgen", "mosquitto"),
    *("pipeline", "waiting", "bridge", "simulator", "watchdog"),
)
CLUSTER = ("jobmanager", "expansion", "workers", "taskmanager-1", "taskmanager-2", "job-server")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path, tmp_path / "data", tmp_path / "cache")


def program(name: str, command: list[str]) -> Program:
    return Program(name, command, ready=lambda: None, endpoint="", stop_signal="INT", stop_seconds=7)


def test_supervisor_configuration(folders: Folders) -> None:
    command = ["java", "-cp", "/a b/*", "100%"]
    text = configuration(folders, [program("first", command), program("second", ["true"])])
    parsed = configparser.RawConfigParser()
    parsed.read_string(text)
    first, second = parsed["program:first"], parsed["program:second"]
    assert shlex.split(first["command"].replace("%%", "%")) == command
    assert (first["stopsignal"], first["stopwaitsecs"]) == ("INT", "7")
    assert (first["autostart"], first["autorestart"]) == ("false", "true")
    assert int(first["startretries"]) >= 10**9  # never FATAL: the pauses grow, and there is always a next try
    assert int(first["priority"]) < int(second["priority"])  # the last started stops first
    assert parsed["unix_http_server"]["file"] == str(folders.socket)


def test_socket_path_is_never_too_long(tmp_path: Path) -> None:
    short = Folders(tmp_path, Path("/srv/data"), tmp_path)
    long = Folders(tmp_path, Path("/srv") / ("x" * 100), tmp_path)
    other = Folders(tmp_path, Path("/srv") / ("y" * 100), tmp_path)
    assert short.socket == Path("/srv/data/run/supervisor.sock")
    assert len(str(long.socket)) <= environment.SOCKET_PATH_LIMIT
    assert long.socket != other.socket


def test_every_configuration_file_can_be_filled_in(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = {"POSTGRES_PASSWORD": "p", "TIMESCALE_PASSWORD": "t", "CERTGEN_DIR": str(tmp_path / "certs")}
    for name, value in {**settings, "KAFKA_BROKERS": "127.0.0.1:19092", "FACES2_WITHOUT": ""}.items():
        monkeypatch.setenv(name, value)
    made: list[str] = []
    monkeypatch.setattr(postgres, "make", lambda *_: None)
    monkeypatch.setattr(postgres, "_debian_programs", lambda _: Path("/pg"))
    monkeypatch.setattr("faces2.stack.brokers.run", lambda command, _what: made.append(command))
    monkeypatch.setattr("faces2.stack.brokers.folder_of", lambda _user, path: path)
    parts = programs(folders)
    for part in parts:
        if part.before:
            part.before()
    assert tuple(part.name for part in parts) == NAMES
    written = {path.name: path.read_text() for path in folders.run.iterdir()}
    assert set(written) == {
        "kafka.properties",
        "mosquitto.conf",
        "postgresql.conf",
        "redis.conf",
        "timescaledb.conf",
    }
    assert "listeners=PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093" in written["kafka.properties"]
    assert not any("${" in text for text in written.values())
    assert len(made) == 1  # Kafka's folder is formatted


def test_the_job_server_s_jars_are_in_a_manifest(tmp_path: Path) -> None:
    jars = [tmp_path / f"{'long-name-' * 9}{number}.jar" for number in range(2)]
    for jar in jars:
        jar.touch()
    flink._write_agent(tmp_path / "run" / "classes.jar", tmp_path)
    with zipfile.ZipFile(tmp_path / "run" / "classes.jar") as agent:
        lines = agent.read("META-INF/MANIFEST.MF").decode().splitlines()
    assert max(map(len, lines)) <= 72
    assert "Class-Path: " + " ".join(jar.as_uri() for jar in jars) in "\n".join(lines).replace("\n ", "").splitlines()


def test_a_taskmanager_that_hangs_is_told_from_a_jobmanager_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [{"id": "taskmanager-1"}]
    monkeypatch.setattr(flink, "_ask", lambda _: {"taskmanagers": known})
    flink._registered_within("taskmanager-1", 0)
    began = time.monotonic()
    with pytest.raises(NotReadyError, match="not registered"):
        flink._registered_within("taskmanager-2", 0.6)
    assert time.monotonic() - began > 0.6
    monkeypatch.setattr(flink, "_ask", lambda _: socket.create_connection(("127.0.0.1", 1)))
    began = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        flink._registered_within("taskmanager-1", 60)
    assert time.monotonic() - began < 30


def test_flink_as_a_cluster(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POSTGRES_PASSWORD", "TIMESCALE_PASSWORD"):
        monkeypatch.setenv(name, "p")
    for name, value in {"FACES2_WITHOUT": "", "FLINK_MODE": "cluster", "FLINK_PARALLELISM": "3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(postgres, "_debian_programs", lambda _: Path("/pg"))
    parts = {part.name: part for part in programs(folders)}
    assert set(parts) == {*NAMES, *CLUSTER}
    assert set(CLUSTER) <= set(parts["pipeline"].needs)
    before = parts["jobmanager"].before
    assert before
    before()
    text = (folders.run / "flink" / "config.yaml").read_text()
    assert "${" not in text
    assert "taskmanager.numberOfTaskSlots: 2\n" in text  # three tasks on two TaskManagers
    seen: set[str] = set()
    for name, part in parts.items():
        assert set(part.needs) <= seen
        seen.add(name)


def test_what_a_part_needs_starts_before_it(folders: Folders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("POSTGRES_PASSWORD", "TIMESCALE_PASSWORD"):
        monkeypatch.setenv(name, "p")
    monkeypatch.setenv("FACES2_WITHOUT", "simulator, bridge")
    monkeypatch.setattr(postgres, "_debian_programs", lambda _: Path("/pg"))
    parts = [part.name for part in programs(folders)]
    assert parts == [name for name in NAMES if name not in ("simulator", "bridge")]
    monkeypatch.setenv("FACES2_WITHOUT", "")
    seen: set[str] = set()
    for part in programs(folders):
        assert set(part.needs) <= seen
        seen.add(part.name)
    monkeypatch.setenv("FACES2_WITHOUT", "kafak")
    with pytest.raises(StackError, match="FACES2_WITHOUT=kafak: the parts are timescaledb"):
        programs(folders)


def test_the_environment_of_every_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").touch()
    for name in ("CERTGEN_DIR", "FLINK_WORK_DIR", "FLINK_JARS", "NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("no_proxy", "example.org, localhost")
    monkeypatch.setenv("FACES2_DATA", str(tmp_path / "one"))
    folders = environment.enter()
    assert os.environ["FLINK_WORK_DIR"] == str(folders.data / "flink")  # two stacks share nothing
    assert os.environ["CERTGEN_DIR"] == str(folders.data / "certs")
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "example.org,localhost,127.0.0.1"
    monkeypatch.setenv("FLINK_WORK_DIR", "/elsewhere")
    environment.enter()
    assert os.environ["FLINK_WORK_DIR"] == "/elsewhere"


def test_only_the_simulator_may_end(folders: Folders) -> None:
    text = configuration(folders, [program("a", ["true"]), replace(program("b", ["true"]), may_end=True)])
    parsed = configparser.RawConfigParser()
    parsed.read_string(text)
    assert [parsed[f"program:{name}"]["autorestart"] for name in "ab"] == ["true", "unexpected"]


@pytest.mark.parametrize("error", [OSError("gone"), xmlrpc.client.Fault(6, "SHUTDOWN_STATE")])
def test_a_supervisor_that_goes_away(folders: Folders, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: object) -> None:
        raise error

    supervisor = Supervisor(folders)
    monkeypatch.setattr(supervisor, "_call", refuse)
    assert not supervisor.running()
    assert supervisor.states() == {}
    supervisor.shut_down()


def test_one_command_at_a_time(folders: Folders) -> None:
    with alone(folders), pytest.raises(StackError, match="Another faces2"), alone(folders):
        pass
    with alone(folders, wait=True):
        pass


def test_timescaledb_that_can_not_be_had_is_no_failure(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(_packages: list[str]) -> None:
        raise StackError("no network")

    monkeypatch.setattr(debian, "installed", lambda _: False)
    monkeypatch.setattr(debian, "install", offline)
    folders.cache.mkdir()
    said = io.StringIO()
    _fetch_timescale(folders, Report(Console(file=said)))
    assert "no network" in said.getvalue()
    assert "FACES2_TIMESCALE=off" in said.getvalue()
    assert (folders.cache / "timescaledb-missing").read_text() == "no network"


def test_an_old_java_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "java", lambda: None)
    with pytest.raises(StackError, match="JAVA_HOME"):
        debian.require_java()


@pytest.mark.parametrize(
    ("edition", "left_out", "shown"),
    [
        ("TimescaleDB 2.19.3, Apache edition", "no roll-up", "TimescaleDB 2.19.3, Apache edition: no roll-up"),
        ("TimescaleDB 2.19.3, community edition", None, "TimescaleDB 2.19.3, community edition"),
        (None, "no hypertable", "plain PostgreSQL, no TimescaleDB"),
    ],
)
def test_storage(edition: str | None, left_out: str | None, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {postgres.TOLD: "faces2_storage", postgres.LEFT_OUT: left_out}
    monkeypatch.setattr(postgres.ready, "ask", lambda _address, query: answers.get(query, edition))
    assert postgres.storage(TimescaleSettings(password=SecretStr("p"))) == shown


def test_versions_are_the_same_everywhere() -> None:
    beam, kafka = ((environment.DEPLOY / name / "pom.xml").read_text() for name in ("beam", "kafka"))
    (beam_version,) = re.findall(r"<beam.version>(.+)</", beam)
    (kafka_version,) = re.findall(r"<kafka.version>(.+)</", kafka)
    (client_version,) = re.findall(r"kafka-clients</artifactId>\s*<version>(.+)</", beam)
    pinned = (environment.REPOSITORY / "pyproject.toml").read_text()
    assert re.findall(r"apache-beam(?:\[[\w,]*\])?==([\d.]+)", pinned) == [beam_version]
    assert FlinkSettings.model_fields["jars"].default.name == f"beam-{beam_version}"
    assert client_version == kafka_version
    here = Folders(Path(), Path(), Path())
    assert here.beam_jars.name.startswith(f"beam-{beam_version}-")
    assert here.kafka_jars.name.startswith(f"kafka-{kafka_version}-")
    text = (environment.REPOSITORY / "stack" / "install.py").read_text()
    assert f"Kafka {kafka_version} " in text
    assert f"Beam {beam_version} " in text


def test_template_without_a_value_is_an_error(tmp_path: Path) -> None:
    template = tmp_path / "t"
    template.write_text("port ${PORT}\n")
    assert fill(template, tmp_path / "out" / "t", {"PORT": 1}).read_text() == "port 1\n"
    with pytest.raises(KeyError, match="PORT"):
        fill(template, tmp_path / "t2", {})


def test_written_file_has_its_mode(tmp_path: Path) -> None:
    target = tmp_path / ".env"
    write(target, "a", mode=0o600)
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_env_example_names_only_settings_and_gets_passwords() -> None:
    example = (environment.REPOSITORY / ".env.example").read_text()
    known = {
        variable(section, name): field.default for section in SECTIONS for name, field in section.model_fields.items()
    }
    held = dict(line.split("=", 1) for line in example.splitlines() if line and not line.startswith("#"))
    assert set(held) <= set(known)
    different = {name for name, value in held.items() if value and value != str(known[name]).removesuffix(".0")}
    assert not different
    first, second = with_passwords(example), with_passwords(example)
    assert "PASSWORD=\n" not in first
    assert first != second


def test_a_port_in_use_names_who_has_it_and_what_moves_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        trouble = why_closed(Port(number, "REDIS_PORT"))
    assert trouble
    assert str(number) in trouble
    assert "REDIS_PORT" in trouble
    assert "pid " in trouble
    assert why_closed(Port(number, "REDIS_PORT")) is None


def test_two_parts_that_want_one_port() -> None:
    with pytest.raises(StackError, match="FLINK_PORT and CERTGEN_PORT all want port 8080"):
        check_ports([Port(8080, "FLINK_PORT"), Port(8080, "CERTGEN_PORT")])


def test_room_names_the_setting(tmp_path: Path) -> None:
    check_room(tmp_path / "not" / "there", 1, "FACES2_DATA")
    with pytest.raises(StackError, match="FACES2_DATA"):
        check_room(tmp_path, 1 << 62, "FACES2_DATA")


@pytest.mark.parametrize(
    ("output", "tells"),
    [
        ("", ""),
        ("one\ntwo\n", "two"),
        ("Reading\nE: Unable to locate package x\nE: more\n", "E: Unable to locate package x"),
        ("\x1b[1;31m[ERROR] Could not -> [Help 1]\n[ERROR]\n", "[ERROR] Could not"),
        ("x" * 1000, "x" * 100 + " ... " + "x" * 200),
    ],
)
def test_said(output: str, tells: str) -> None:
    assert said(output) == tells


def test_run_tells_what_failed() -> None:
    assert shell.run(["cat"], "cat", given="in") == "in"
    with pytest.raises(StackError, match="The list: no such list"):
        shell.run(["sh", "-c", "echo no such list >&2; exit 3"], "The list")
    with pytest.raises(StackError, match="The list: the program no-such-program is missing"):
        shell.run(["no-such-program"], "The list")


def test_only_root_switches_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "is_root", lambda: False)
    assert die_with_parent(["x"], "redis") == ["setpriv", "--pdeathsig", "TERM", "--", "x"]
    monkeypatch.setattr(shell, "is_root", lambda: True)
    assert "--reuid=redis" in die_with_parent(["x"], "redis")


def test_packages_need_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "is_root", lambda: False)
    monkeypatch.setattr(debian, "find", lambda _: "/usr/bin/apt-get")
    with pytest.raises(StackError, match="`apt-get install mosquitto maven` as root"):
        debian.install(["mosquitto", "maven"])


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "jars"
    with pytest.raises(RuntimeError), jars.whole_or_not_at_all(target) as part:
        (part / "half").touch()
        raise RuntimeError
    assert not target.exists()
    with jars.whole_or_not_at_all(target) as part:
        (part / "all").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["jars"]
    assert [path.name for path in target.iterdir()] == ["all"]
