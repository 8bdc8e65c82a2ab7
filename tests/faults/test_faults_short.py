"""The short form of the fault suite: a fault of each sort, and everything that was acknowledged is there at the end."""

import os
import subprocess
import sys

import orjson
import pytest

from tests.integration.own_stack import ROOT

EMBEDDED = (
    "kill-bridge",
    "restart-database-immediate",
    "database-disk-full",
    "cut-bridge-kafka-reset",
    "cut-writer-database-blackhole",
    "duplicates-across-batches",
    "mqtt-redelivery",
    "metadata-new-sensor",
    "redis-flushed",
)
CLUSTER = ("kill-taskmanager-1", "kill-jobmanager", "kill-worker", "kill-pipeline")

NEED_ROOT = {"database-disk-full"}


@pytest.mark.stack
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("flink", "names"), [("embedded", EMBEDDED), ("cluster", CLUSTER)])
def test_nothing_is_lost_to_a_fault_of_each_sort(flink: str, names: tuple[str, ...]) -> None:
    chosen = [word for name in names for word in ("--fault", name)]
    command = [sys.executable, "-m", "tests.faults", "--flink", flink, "--seconds", "5", "--hold", "3", *chosen]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run = orjson.loads((ROOT / "out" / "faults" / "latest.json").read_bytes())
    skipped = {step["fault"] for step in run["sequence"] if step["skipped"]}
    assert skipped <= NEED_ROOT if os.geteuid() else not skipped, run["sequence"]
    assert run["missing"] == run["unexplained"] == 0
