"""docker-compose.yml against the settings, the native stack and the files: what an engine would say when it runs."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from faces2.service.settings import (
    SECTIONS,
    BridgeSettings,
    CertgenSettings,
    ClusterSettings,
    FlinkSettings,
    KafkaSettings,
    MqttSettings,
    PipelineSettings,
    PostgresSettings,
    RedisSettings,
    Section,
    ServiceSettings,
    SimulatorSettings,
    TimescaleSettings,
    WaitingSettings,
    variable,
)
from faces2.stack.environment import Folders
from faces2.stack.programs import programs

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NAMES = {
    *("certgen", "mosquitto", "kafka", "zookeeper", "topics", "redis"),
    *("postgresql", "postgresql-init", "timescaledb", "timescaledb-init"),
    *("jobmanager", "flink-node", "workers", "taskmanager", "job-server", "expansion"),
    *("pipeline", "waiting", "bridge", "simulator"),
    *("prometheus", "grafana", "loki", "alloy", "node-exporter"),
}
JOBS = {"topics", "postgresql-init", "timescaledb-init"}
SETTINGS = {variable(section, name): field for section in SECTIONS for name, field in section.model_fields.items()}
PORTS = {  # of design.md; TimescaleDB's 5433 is for a host that has PostgreSQL beside it
    **{"CERTGEN_PORT": 8080, "MQTT_PORT": 1883, "MQTT_TLS_PORT": 8883, "KAFKA_PORT": 9092, "REDIS_PORT": 6379},
    **{"POSTGRES_PORT": 5432, "TIMESCALE_PORT": 5432, "FLINK_PORT": 8081},
}
OF_IMAGES = {  # environment variables of other people's images, and of the scripts that fill in configuration files
    *("DATA", "HOST", "PORT", "PRELOAD", "PGHOST", "PGUSER", "PGPASSWORD", "PGDATABASE", "POSTGRES_INITDB_ARGS"),
    *("KAFKA_HOST", "KAFKA_PORT", "KAFKA_CONTROLLER_PORT", "KAFKA_HEAP_OPTS", "KAFKA_LOG4J_OPTS"),
    *("LOG_DIR", "EXTRA_ARGS", "NO_TS_TUNE"),
    *("GF_SECURITY_ADMIN_PASSWORD", "GF_ANALYTICS_REPORTING_ENABLED"),
    *("GF_ANALYTICS_CHECK_FOR_UPDATES", "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES"),
}
OF_COMPOSE = {"GRAFANA_PASSWORD", "GRAFANA_PORT", "FACES2_VOLUMES"}
SECTIONS_OF: dict[str, tuple[type[Section], ...]] = {
    "topics": (ServiceSettings, KafkaSettings),
    "certgen": (ServiceSettings, CertgenSettings),
    "bridge": (ServiceSettings, KafkaSettings, MqttSettings, PostgresSettings, BridgeSettings),
    "waiting": (ServiceSettings, KafkaSettings, RedisSettings, PostgresSettings, WaitingSettings),
    "pipeline": (
        *(ServiceSettings, KafkaSettings, RedisSettings, PostgresSettings, TimescaleSettings),
        *(PipelineSettings, FlinkSettings, ClusterSettings),
    ),
    "workers": (ServiceSettings, FlinkSettings, ClusterSettings),
    "simulator": (ServiceSettings, MqttSettings, PostgresSettings, SimulatorSettings),
    "mosquitto": (MqttSettings,),
}
LEFT_OUT = {  # settings that mean nothing in a container, or nothing to the part that loads their section
    *("FLINK_JARS", "FLINK_HEAP", "MQTT_TLS_BIND", "CERTGEN_URL", "SIMULATOR_JOURNAL"),
    *("MQTT_JOURNAL_MB", "MQTT_JOURNAL_SYNC_MS", "FLINK_WORKERS_HTTP_PORT"),
}
ELSEWHERE = {"taskmanager-1": "taskmanager", "taskmanager-2": "taskmanager"}
"""Parts of the native stack by another name."""


def environment(name: str) -> dict[str, Any]:
    held: dict[str, Any] = SERVICES[name].get("environment", {})
    return held


def mounts(name: str) -> list[tuple[str, str]]:
    """Sources and targets, sources as Compose sees them without FACES2_VOLUMES."""
    whole = [volume.replace("${FACES2_VOLUMES:-}", "") for volume in SERVICES[name].get("volumes", [])]
    return [(parts[0], parts[1]) for parts in (volume.split(":") for volume in whole)]


def needs(name: str) -> set[str]:
    """All services that are up before this one is, whatever it says itself."""
    direct = set(SERVICES[name].get("depends_on", {}))
    return direct | {further for each in direct for further in needs(each)}


def test_services_and_network() -> None:
    assert set(SERVICES) == NAMES
    assert COMPOSE["networks"] == {"default": {"name": "iot-network"}}
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {"simulator": ["demo"], "zookeeper": ["zookeeper"]}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_service_is_watched_limited_and_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert ("healthcheck" in service) != (name in JOBS)
    assert service["restart"] == ("on-failure" if name in JOBS | {"simulator"} else "unless-stopped")
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "privileged" not in service
    assert service["logging"]["options"]["max-size"]
    assert (service.get("user") == "root") == (name == "alloy")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_images_are_pinned(name: str) -> None:
    service = SERVICES[name]
    image, _, tag = service["image"].partition(":")
    if "build" in service:
        assert image in {"faces2-services", "faces2-flink", "faces2-mosquitto"}
        assert tag == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        assert (ROOT / service["build"]["dockerfile"]).exists()
    else:
        assert re.match(r"v?\d+\.\d+", tag)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_variable_is_a_setting_or_the_image_s_own(name: str) -> None:
    assert set(environment(name)) <= set(SETTINGS) | OF_IMAGES


def test_every_variable_of_dotenv_is_a_setting_or_compose_s_own() -> None:
    names = set(re.findall(r"\$\{([A-Z0-9_]+)", TEXT))
    assert names <= set(SETTINGS) | OF_COMPOSE
    shown = re.findall(r"^# ([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert set(shown) >= OF_COMPOSE


def test_defaults_are_those_of_the_settings() -> None:
    for name, default in re.findall(r"\$\{([A-Z0-9_]+):-([^}]+)\}", TEXT):
        assert name in OF_COMPOSE or str(SETTINGS[name].default) == default


def test_passwords_are_asked_for_and_nowhere_written() -> None:
    for name in NAMES:
        for variable_name, value in environment(name).items():
            if "PASSWORD" in variable_name:
                assert re.fullmatch(r"\$\{[A-Z]+_PASSWORD:\?.+\}", value)


@pytest.mark.parametrize("name", sorted(SECTIONS_OF))
def test_a_process_gets_every_setting_that_it_loads(name: str) -> None:
    wanted = {variable(section, field) for section in SECTIONS_OF[name] for field in section.model_fields}
    assert wanted - LEFT_OUT <= set(environment(name))


def test_addresses_are_services_and_ports_those_of_design() -> None:
    aliases = {alias for service in SERVICES.values() for alias in _aliases(service)}
    for name in NAMES:
        for held, value in environment(name).items():
            if held in PORTS:
                assert value == PORTS[held], f"{name}: {held}"
            elif held in SETTINGS and held.endswith("_PORT"):
                assert value == SETTINGS[held].default, f"{name}: {held}"
            elif held.endswith("_HOST") and held in SETTINGS and value != "0.0.0.0":
                assert value in NAMES | aliases, f"{name}: {held}"
    assert environment("bridge")["KAFKA_BROKERS"] == "kafka:9092"
    assert environment("simulator")["CERTGEN_URL"] == "http://certgen:8080"


def _aliases(service: dict[str, Any]) -> list[str]:
    found: list[str] = service.get("networks", {}).get("default", {}).get("aliases", [])
    return found


def test_what_is_published() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "certgen": ["127.0.0.1:${CERTGEN_PORT:-8080}:8080"],
        "mosquitto": ["${MQTT_TLS_BIND:-127.0.0.1}:${MQTT_TLS_PORT:-8883}:8883"],
        "jobmanager": ["127.0.0.1:${FLINK_PORT:-8081}:8081"],
        "grafana": ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"],
    }


def test_each_waits_until_what_it_needs_is_healthy_or_done() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other in JOBS else "service_healthy"
            assert how["condition"] == expected
            assert how.get("required", True) == ("profiles" not in SERVICES[other])


def test_the_native_stack_s_order_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLINK_MODE", "cluster")
    monkeypatch.setenv("POSTGRES_PASSWORD", "x")
    monkeypatch.setenv("TIMESCALE_PASSWORD", "x")
    monkeypatch.delenv("FACES2_WITHOUT", raising=False)
    parts = [part for part in programs(Folders(tmp_path, tmp_path, tmp_path)) if part.name != "watchdog"]
    assert {ELSEWHERE.get(part.name, part.name) for part in parts} <= NAMES
    for part in parts:
        wanted = {ELSEWHERE.get(name, name) for name in part.needs}
        assert wanted <= needs(ELSEWHERE.get(part.name, part.name)), part.name
        if part.stop_seconds > 10:
            assert SERVICES[part.name]["stop_grace_period"] == f"{part.stop_seconds}s"


def test_taskmanager_and_workers_share_a_network_that_outlives_both() -> None:
    for name in ("taskmanager", "workers"):
        assert SERVICES[name]["network_mode"] == "service:flink-node"
        assert SERVICES[name]["depends_on"]["flink-node"]["restart"] is True
    assert "depends_on" not in SERVICES["flink-node"]


def test_every_file_that_is_mounted_exists() -> None:
    sources = {source for name in NAMES for source, _ in mounts(name) if source.startswith("./")}
    assert {source for source in sources if not (ROOT / source).exists()} == set()
    assert {f"./deploy/{part}" for part in ("kafka/server.properties", "redis/redis.conf")} <= sources


def test_volumes_are_declared_and_used() -> None:
    used = {source for name in NAMES for source, _ in mounts(name) if source[0] not in "./"}
    assert used == set(COMPOSE["volumes"])


def test_dashboards_are_where_grafana_is_told_to_look() -> None:
    targets = {target for _, target in mounts("grafana")}
    for file in (ROOT / "deploy/grafana/provisioning/dashboards").glob("*.y*ml"):
        for provider in yaml.safe_load(file.read_text())["providers"]:
            assert provider["options"]["path"] in targets
