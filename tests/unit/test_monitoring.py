"""Monitoring asks for what exists: metrics, labels, ports, runbooks; promtool, where it is, agrees with the alerts."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client import REGISTRY, Gauge
from prometheus_client.metrics import MetricWrapperBase

from faces2.service import metrics
from faces2.service.settings import (
    BridgeSettings,
    CertgenSettings,
    ClusterSettings,
    PipelineSettings,
    Section,
    SimulatorSettings,
    WaitingSettings,
)

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
TOOL = shutil.which("promtool")

FLINK = {"host", "job_id", "job_name"}
TASK = FLINK | {"tm_id", "task_id", "task_name", "task_attempt_id", "task_attempt_num", "subtask_index"}
DISK = {"device", "fstype", "mountpoint"}
OTHERS: dict[str, set[str]] = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate", "severity"},
    # Flink 1.19's Prometheus reporter
    "flink_jobmanager_job_lastCheckpointDuration": FLINK,
    "flink_jobmanager_job_numRestarts": FLINK,
    "flink_jobmanager_taskSlotsAvailable": {"host"},
    "flink_jobmanager_Status_JVM_Memory_Heap_Used": {"host"},
    "flink_taskmanager_Status_JVM_CPU_Load": {"host", "tm_id"},
    "flink_taskmanager_Status_JVM_Memory_Heap_Max": {"host", "tm_id"},
    "flink_taskmanager_Status_JVM_Memory_Heap_Used": {"host", "tm_id"},
    "flink_taskmanager_job_task_backPressuredTimeMsPerSecond": TASK,
    "flink_taskmanager_job_task_busyTimeMsPerSecond": TASK,
    # node exporter
    "node_disk_io_time_seconds_total": {"device"},
    "node_disk_written_bytes_total": {"device"},
    "node_filesystem_avail_bytes": DISK,
    "node_filesystem_size_bytes": DISK,
    "node_memory_MemAvailable_bytes": set(),
    "node_memory_MemTotal_bytes": set(),
}
"""What others export, and its labels."""

OURS = [metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


def exported() -> dict[str, set[str]]:
    """Every sample that our processes export, and its labels; among them Python's own process_*."""
    found = {sample.name: set(sample.labels) for family in REGISTRY.collect() for sample in family.samples}
    for metric in OURS:
        (family,) = metric.describe()
        labels = {*metric._labelnames, *(["le"] if family.type == "histogram" else [])}
        found |= {family.name + suffix: labels for suffix in SUFFIXES[family.type]}
    return found


METRICS = exported() | OTHERS
BARE_GAUGES = {metric._name for metric in OURS if isinstance(metric, Gauge) and not metric._labelnames}

STRING = re.compile(r'"[^"]*"')
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
NOISE = re.compile(r"\[[^\]]*\]|\b\d[\w.]*|\b(?:and|or|unless|offset|bool)\b")
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\b(?!\s*\()\s*(\{[^}]*\})?")
MATCHER = re.compile(r"(\w+)\s*[=!]")


class Asked(NamedTuple):
    """What a PromQL expression asks for: metrics with the labels matched, and the labels that it groups by."""

    metrics: list[tuple[str, set[str]]]
    grouped: set[str]


def asked(expression: str) -> Asked:
    """No parser, but it knows what is in our expressions."""
    text = STRING.sub("", expression)
    grouped = {label.strip() for group in GROUPING.findall(text) for label in group.split(",")} - {""}
    selected = SELECTOR.findall(NOISE.sub(" ", GROUPING.sub(" ", text)))
    return Asked([(name, {*MATCHER.findall(matchers)}) for name, matchers in selected], grouped)


def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def alerts() -> list[dict[str, Any]]:
    return [rule for group in parsed(PROMETHEUS / "alerts.yml")["groups"] for rule in group["rules"]]


def targets(source: str) -> Iterator[tuple[str, str]]:
    """Title and query of each target of a source, in all dashboards."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            if panel["datasource"]["type"] == source:
                yield from ((f"{path.stem}: {panel['title']}", target["expr"]) for target in panel["targets"])


QUERIES = [(rule["alert"], rule["expr"]) for rule in alerts()] + list(targets("prometheus"))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("up == 0", Asked([("up", set())], set())),
        ('sum by (a, b) (rate(x_total{c="up{}", d!~"e|f"}[5m]))', Asked([("x_total", {"c", "d"})], {"a", "b"})),
        ("quantile(0.9, sum by (le) (rate(x_bucket[$__rate_interval])))", Asked([("x_bucket", set())], {"le"})),
        (
            'x > on () group_left () 1e3 * (y{a="b"} or vector(0)) and time() - z > 2',
            Asked([("x", set()), ("y", {"a"}), ("z", set())], set()),
        ),
    ],
)
def test_queries_are_understood(expression: str, expected: Asked) -> None:
    assert asked(expression) == expected


@pytest.mark.parametrize(("title", "expression"), QUERIES)
def test_every_query_asks_for_metrics_and_labels_that_exist(title: str, expression: str) -> None:
    found = asked(expression)
    assert found.metrics
    assert {name for name, _ in found.metrics} <= METRICS.keys()
    own = {"job", "instance"}
    for name, labels in found.metrics:
        assert labels <= METRICS[name] | own, name
        # Every process shows it; it means something in one of them only.
        assert "job" in labels or name not in BARE_GAUGES, name
    assert found.grouped <= own.union(*(METRICS[name] for name, _ in found.metrics))


@pytest.mark.parametrize(("title", "expression"), [*targets("loki")])
def test_logs_are_asked_for_by_service_and_level(title: str, expression: str) -> None:
    assert {*MATCHER.findall(STRING.sub("", expression))} <= {"service", "level"}


def test_every_dashboard_can_be_told_from_the_others() -> None:
    dashboards = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert len({each["uid"] for each in dashboards}) == len({each["title"] for each in dashboards}) == 3
    known = parsed(GRAFANA / "provisioning" / "datasources" / "datasources.yml")["datasources"]
    sources = {(each["type"], each["uid"]) for each in known}
    for each in dashboards:
        panels = each["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        assert {(panel["datasource"]["type"], panel["datasource"]["uid"]) for panel in panels} <= sources


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    document, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor == rule["alert"].lower()
    assert f"\n### {rule['alert']}\n" in (ROOT / document).read_text()


def test_the_document_has_no_other_alerts() -> None:
    section = (ROOT / "docs/operations.md").read_text().partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^### (.+)$", section, re.MULTILINE)) == sorted(rule["alert"] for rule in alerts())


def test_every_alert_is_tested_firing() -> None:
    tests = (PROMETHEUS / "alerts_test.yml").read_text()
    assert {rule["alert"] for rule in alerts()} == {*re.findall(r'alertname="(\w+)"', tests)}


def default(section: type[Section], name: str) -> int:
    port = section.model_fields[name].default
    assert isinstance(port, int)
    return port


def test_prometheus_asks_at_the_ports_of_the_settings() -> None:
    found = {}
    for job in parsed(PROMETHEUS / "prometheus.yml")["scrape_configs"]:
        static = [target for each in job.get("static_configs", ()) for target in each["targets"]]
        looked_up = [f"{name}:{each['port']}" for each in job.get("dns_sd_configs", ()) for name in each["names"]]
        found[job["job_name"]] = [*static, *looked_up]
    assert found == {
        "certgen": [f"certgen:{default(CertgenSettings, 'port')}"],
        "bridge": [f"bridge:{default(BridgeSettings, 'http_port')}"],
        "pipeline": [f"pipeline:{default(PipelineSettings, 'pipeline_http_port')}"],
        "workers": [f"taskmanager:{default(ClusterSettings, 'workers_http_port')}"],
        "waiting": [f"waiting:{default(WaitingSettings, 'http_port')}"],
        "simulator": [f"simulator:{default(SimulatorSettings, 'http_port')}"],
        "flink": ["jobmanager:9249", "taskmanager:9249"],
        "node": ["node-exporter:9100"],
    }


@pytest.mark.parametrize("path", sorted((ROOT / "deploy").rglob("*.y*ml")), ids=lambda path: path.name)
def test_yaml_can_be_read(path: Path) -> None:
    assert parsed(path)


@pytest.mark.skipif(TOOL is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize(
    "command", ["check config prometheus.yml", "check rules alerts.yml", "test rules alerts_test.yml"]
)
def test_promtool_agrees(command: str) -> None:
    answer = subprocess.run([str(TOOL), *command.split()], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
