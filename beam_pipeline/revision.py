"""What a job is made of, as a short hash: two jobs of one revision do the same."""

import hashlib
from pathlib import Path

from faces2.service.settings import (
    ClusterSettings,
    FlinkSettings,
    KafkaSettings,
    PipelineSettings,
    PostgresSettings,
    RedisSettings,
    TimescaleSettings,
    load,
)

PACKAGE = Path(__file__).resolve().parents[1]
SECTIONS = (
    *(KafkaSettings, PipelineSettings, FlinkSettings, ClusterSettings),
    *(PostgresSettings, RedisSettings, TimescaleSettings),
)
FOLDERS = ("beam_pipeline", "io", "models", "runners", "service", "transforms")


def revision(mode: str) -> str:
    """Eight hex digits of the code, the settings (of passwords only that there is one) and the mode."""
    found = hashlib.sha256(mode.encode())
    for section in SECTIONS:
        found.update(load(section).model_dump_json().encode())
    for folder in FOLDERS:
        for file in sorted((PACKAGE / folder).glob("*.py")):
            found.update(file.read_bytes())
    return found.hexdigest()[:8]
