"""Health endpoints over HTTP, and logs as one JSON object a line."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, Counter

from faces2.service import health, logs
from faces2.service.health import HealthServer, routes

REGISTRY = CollectorRegistry()
Counter("faces2_test", "A test", registry=REGISTRY).inc(3)
STATE: dict[str, str | None] = {"kafka": None}


def raising() -> None:
    raise ConnectionError("refused")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    checks = {"kafka": lambda: STATE["kafka"], "redis": lambda: raising() if STATE["kafka"] == "raise" else None}
    server = HealthServer("127.0.0.1", port, checks, REGISTRY)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/health/live")


@pytest.mark.parametrize(
    ("state", "status", "body"),
    [
        (None, 200, {"status": "ok", "dependencies": {"kafka": "ok", "redis": "ok"}}),
        ("away", 503, {"status": "unavailable", "dependencies": {"kafka": "away", "redis": "ok"}}),
        (
            "raise",
            503,
            {"status": "unavailable", "dependencies": {"kafka": "raise", "redis": "ConnectionError: refused"}},
        ),
    ],
)
def test_ready_says_what_is_wrong_and_live_does_not_care(
    url: str, state: str | None, status: int, body: dict[str, Any]
) -> None:
    STATE["kafka"] = state
    ready = httpx.get(f"{url}/health/ready")
    assert (ready.status_code, ready.json()) == (status, body)
    live = httpx.get(f"{url}/health/live")
    assert (live.status_code, live.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(("state", "ready"), [("away", 0), (None, 1)])
def test_metrics_say_how_the_dependencies_are_and_wait_for_none(
    state: str | None, ready: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, looked = FastAPI(), threading.Event()

    def check() -> str | None:
        looked.set()
        return state

    app.include_router(routes({"a database": check}))
    client = TestClient(app)
    client.get("/metrics")
    assert looked.is_set()  # behind the answer, which the client waits for here
    line = f'faces2_ready{{dependency="a database"}} {ready}.0'
    looked.clear()
    assert line in client.get("/metrics").text
    assert not looked.is_set()
    monkeypatch.setattr(health, "LOOK_SECONDS", 0)
    client.get("/metrics")
    assert looked.is_set()


def test_metrics_are_prometheus_text(url: str) -> None:
    answer = httpx.get(f"{url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "faces2_test_total 3.0" in answer.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_port_in_use_is_one_sentence(url: str) -> None:
    port = int(url.rpartition(":")[2])
    with pytest.raises(RuntimeError, match=f"port {port} can not be opened"):
        HealthServer("127.0.0.1", port, {}).start()


@pytest.fixture
def own_logging() -> Iterator[None]:
    """pytest's logging is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("own_logging")
def test_logs_are_json_with_service_and_mac_from_any_thread(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("bridge", "INFO")

    def work() -> None:
        logs.get_logger("ours").info("connected", mac="aabbccddee01")
        logging.getLogger("theirs").warning("%d left", 3, extra={"mac": "aabbccddee02"})
        logs.get_logger("ours").debug("not this")
        try:
            raising()
        except ConnectionError:
            logs.get_logger("ours").exception("failed")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    ours, theirs, failed = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert {"event": "connected", "mac": "aabbccddee01", "level": "info", "logger": "ours"}.items() <= ours.items()
    assert {"event": "3 left", "mac": "aabbccddee02", "level": "warning"}.items() <= theirs.items()
    assert "ConnectionError: refused" in failed["exception"]
    for line in (ours, theirs, failed):
        assert line["service"] == "bridge"
        assert line["timestamp"].endswith("Z")


@pytest.mark.usefixtures("own_logging")
def test_configuring_again_doubles_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("bridge", "INFO")
    logs.configure("pipeline", "WARNING")
    logs.get_logger("ours").warning("once")
    logs.get_logger("ours").info("not this")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["service"] == "pipeline"
