"""The pipeline on embedded Flink, in each of its modes, with its default settings but for what a name says."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager

from benchmarks import processes, table, topics
from benchmarks.contender import Progress, Result, WrongResultError, result_of
from benchmarks.messages import PROCESSED, RAW, Workload
from benchmarks.pipeline import SAMPLE_SECONDS, STALL_SECONDS, Pipeline, pipeline

OUT = "bench-out"
DEAD = "bench-dead"

LOW_LATENCY: dict[str, object] = {"MAX_BATCH_WAIT_MS": 50}
"""The setting that docs/performance.md names for low latency."""


class Ours:
    """`faces2 pipeline --runner flink`, from the first committed batch to the last."""

    def __init__(self, name: str, mode: str, what: str, settings: Mapping[str, object], publish: bool = False) -> None:
        self.name = name
        self.what = what
        self._mode = mode
        self._writes = mode != "process"
        self._publishes = publish or mode == "process"
        self._settings: dict[str, object] = {**settings} | {
            "KAFKA_RAW_TOPIC": RAW,
            "KAFKA_PROCESSED_TOPIC": PROCESSED if mode == "sink" else OUT,
            "KAFKA_DEAD_LETTER_TOPIC": DEAD,
            "PIPELINE_PUBLISH": publish,
        }

    def prepare(self, work: Workload) -> None:
        assert work.raw
        if self._mode == "sink":
            assert work.processed
        topics.fresh(OUT)
        topics.fresh(DEAD)
        table.empty()

    def run(self, work: Workload) -> Result:
        rows = work.raw.rows
        with self._running() as running:
            progress = self._follow(running, rows)
            megabytes = processes.by_program(running.process.pid)
        self._check(work)
        result = result_of(progress, work.frames, rows)
        return Result(result.frames, result.rows if self._writes else 0, result.seconds, "", megabytes)

    def _running(self) -> AbstractContextManager[Pipeline]:
        return pipeline(self._mode, **self._settings)

    def _follow(self, running: Pipeline, rows: int) -> list[Progress]:
        progress = [Progress(time.monotonic(), 0)]
        while progress[-1].done < rows:
            time.sleep(SAMPLE_SECONDS)
            done, now = self._done(running), time.monotonic()
            if done != progress[-1].done:
                progress.append(Progress(now, done))
            elif now - progress[-1].at > STALL_SECONDS:
                raise WrongResultError(f"{self.name} stands at {done} of {rows} rows")
        return progress

    def _done(self, running: Pipeline) -> int:
        written = running.total("faces2_rows_total") if self._writes else None
        published = running.total("faces2_messages_out_total", target=OUT) if self._publishes else None
        return min(count for count in (written, published) if count is not None)

    def _check(self, work: Workload) -> None:
        found = {"rows": table.count(), "published": topics.size(OUT), "dead letters": topics.size(DEAD)}
        right = {
            "rows": work.raw.rows if self._writes else 0,
            "published": work.raw.rows if self._publishes else 0,
            "dead letters": 0 if self._mode == "sink" else work.raw.dead_letters,
        }
        # At least once on the wire; exactly once in the table.
        if found["rows"] != right["rows"] or any(found[name] < count for name, count in right.items()):
            raise WrongResultError(f"{self.name}: {found} instead of {right}")
