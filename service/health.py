"""The HTTP endpoints of every process: /health/live, /health/ready (with each dependency) and /metrics."""

import threading
import time
from collections.abc import Callable, Mapping

import uvicorn
from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from starlette.background import BackgroundTask

from faces2.service.metrics import READY

LOOK_SECONDS = 10

Check = Callable[[], str | None]
"""Says what is wrong with a dependency, or None; may raise, which counts as wrong."""


def routes(checks: Mapping[str, Check], registry: CollectorRegistry = REGISTRY) -> APIRouter:
    """The three endpoints; ready is 200 while every check passes, else 503 with what is wrong."""
    router = APIRouter()
    looked = float("-inf")

    def look() -> dict[str, str | None]:
        nonlocal looked
        looked = time.monotonic()
        found = failures(checks)
        for name, failure in found.items():
            READY.labels(name).set(not failure)
        return found

    @router.get("/health/live", tags=["health"])
    def live() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/health/ready", tags=["health"])
    def ready() -> JSONResponse:
        found = look()
        ok = not any(found.values())
        dependencies = {name: failure or "ok" for name, failure in found.items()}
        return JSONResponse(
            {"status": "ok" if ok else "unavailable", "dependencies": dependencies}, status_code=200 if ok else 503
        )

    @router.get("/metrics", tags=["health"])
    def metrics() -> Response:
        # Looked at behind the answer, for the next one: nobody who asks for metrics waits for what is away.
        behind = BackgroundTask(look) if time.monotonic() - looked > LOOK_SECONDS else None
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST, background=behind)

    return router


def failures(checks: Mapping[str, Check]) -> dict[str, str | None]:
    """What is wrong with each dependency, None where nothing is."""
    return {name: _run(check) for name, check in checks.items()}


def _run(check: Check) -> str | None:
    try:
        return check()
    except Exception as error:
        return f"{type(error).__name__}: {error}".strip()


class HealthServer:
    """Serves the endpoints from a thread of a process that is busy with something else."""

    def __init__(
        self, host: str, port: int, checks: Mapping[str, Check], registry: CollectorRegistry = REGISTRY
    ) -> None:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.include_router(routes(checks, registry))
        config = uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="health", daemon=True)

    def start(self) -> None:
        """Returns when the port is served; RuntimeError when it can not be."""
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError(f"health endpoint: port {self._server.config.port} can not be opened")
            time.sleep(0.02)

    def stop(self) -> None:
        """Closes the port."""
        self._server.should_exit = True
        self._thread.join(timeout=5)
