"""The plain consumer (plain_consumer.py) as a contender."""

import json
import subprocess
import sys
import uuid
from pathlib import Path

from benchmarks import processes, stack, table, topics
from benchmarks.contender import Progress, Result, WrongResultError, result_of
from benchmarks.messages import RAW, Workload

ROOT = Path(__file__).resolve().parents[1]
LOG = Path("plain.log")
OUT = "bench-plain-out"
DEAD = "bench-plain-dead"


class Plain:
    """One process; its progress comes as JSON lines."""

    def __init__(self, name: str, what: str, *arguments: str) -> None:
        self.name = name
        self.what = what
        self._arguments = arguments

    def prepare(self, work: Workload) -> None:
        assert work.raw
        topics.fresh(OUT)
        topics.fresh(DEAD)
        table.empty()

    def run(self, work: Workload) -> Result:
        process = stack.start_program(
            [sys.executable, "-m", "benchmarks.plain_consumer", *self._arguments],
            LOG,
            settings={
                "PYTHONPATH": ROOT,
                "KAFKA_GROUP_ID": f"bench-plain-{uuid.uuid4().hex[:8]}",
                "KAFKA_RAW_TOPIC": RAW,
                "KAFKA_PROCESSED_TOPIC": OUT,
                "KAFKA_DEAD_LETTER_TOPIC": DEAD,
            },
            stdout=subprocess.PIPE,
        )
        try:
            progress = self._follow(process, work)
            megabytes = processes.by_program(process.pid)
        finally:
            stack.stop(process)
        self._check(work)
        result = result_of(progress, work.frames, work.raw.rows)
        return Result(result.frames, result.rows, result.seconds, "", megabytes)

    def _follow(self, process: subprocess.Popen[bytes], work: Workload) -> list[Progress]:
        assert process.stdout
        progress = []
        for line in process.stdout:
            said = json.loads(line)
            progress.append(Progress(said["at"], said["rows"]))
            if said["frames"] == work.frames:
                return progress
        raise WrongResultError(f"{self.name} ended before its work was done; its log is {LOG.absolute()}")

    def _check(self, work: Workload) -> None:
        published = work.raw.rows if "--publish" in self._arguments else 0
        found = (table.count(), topics.size(OUT), topics.size(DEAD))
        right = (work.raw.rows, published, work.raw.dead_letters)
        if found != right:
            raise WrongResultError(f"{self.name}: (rows, published, dead letters) are {found} instead of {right}")
