"""The environment of a stack of the tests' own: other ports, another folder, and nothing of what the user has set."""

import os
import secrets
from pathlib import Path

from pydantic_core import PydanticUndefined

from faces2.service.settings import SECTIONS, variable

ROOT = Path(__file__).parents[2]
MOVED = int(os.environ.get("FACES2_TEST_PORTS", "10000"))
"""By how much every port is moved; a second checkout's tests can run beside the first's with another number."""
KAFKA_PORT, CERTGEN_PORT = 9092 + MOVED, 8080 + MOVED
NOT_OURS = ("FACES2_CACHE", "FACES2_TIMESCALE", "FLINK_JARS")
"""Settings of the machine, which the tests leave as they are."""


def variables(folder: Path) -> dict[str, str]:
    """Every variable of a stack in this folder, without the simulator."""
    return (
        _defaults()
        | _ports()
        | {
            "KAFKA_BROKERS": f"127.0.0.1:{KAFKA_PORT}",
            "CERTGEN_URL": f"http://127.0.0.1:{CERTGEN_PORT}",
            "CERTGEN_DIR": str(folder / "certs"),
            "FLINK_WORK_DIR": str(folder / "flink"),
            "FACES2_DATA": str(folder),
            "FACES2_WITHOUT": "simulator",
            "POSTGRES_PASSWORD": _password(folder / "postgres.password"),
            "TIMESCALE_PASSWORD": _password(folder / "timescale.password"),
        }
    )


def _defaults() -> dict[str, str]:
    """Every setting that has a default: in the environment they win over what the user's `.env` says."""
    fields = {variable(section, name): field for section in SECTIONS for name, field in section.model_fields.items()}
    return {
        name: str(field.default)
        for name, field in fields.items()
        if name not in NOT_OURS and field.default not in (None, PydanticUndefined)
    }


def _ports() -> dict[str, str]:
    """Every port that is a setting, moved."""
    fields = {variable(section, name): field for section in SECTIONS for name, field in section.model_fields.items()}
    moved = {name: field for name, field in fields.items() if name.endswith("_PORT") and field.default is not None}
    return {name: str(field.default + MOVED) for name, field in moved.items()}


def _password(file: Path) -> str:
    """The same one as long as the folder's databases live."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(secrets.token_urlsafe(16))
        file.chmod(0o600)
    return file.read_text()
