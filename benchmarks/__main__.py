"""`make bench`: every contender on the same messages, alternating, and what latency, MQTT and memory are."""

import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from benchmarks import ceilings, figures, fleet, latency, memory, mqtt, producers, report, stack
from benchmarks.contender import Contender, Result
from benchmarks.flink_sql import FlinkSql
from benchmarks.messages import Workload
from benchmarks.ours import LOW_LATENCY, Ours
from benchmarks.plain import Plain
from benchmarks.producers import Producer
from benchmarks.write_to_kafka import ProcessByWriteToKafka

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]
P1: dict[str, object] = {"FLINK_PARALLELISM": 1}
LOW = " ".join(f"{name}={value}" for name, value in LOW_LATENCY.items())

CONTENDERS: tuple[Contender, ...] = (
    Ours("full", "full", "ours: raw topic to table, default settings (parallelism 2)", {}),
    Ours("full-p1", "full", "the same, parallelism 1", P1),
    Ours("full-low-latency", "full", f"the same as full, {LOW}", LOW_LATENCY),
    Plain("plain", "plain consumer: raw topic to table"),
    Plain("plain-overlap", "the same, writing in a second thread", "--overlap"),
    Ours("full+publish", "full", "ours: raw to table and processed topic", {}, publish=True),
    Plain("plain+publish", "plain consumer: raw to table and processed", "--publish"),
    Ours("process", "process", "ours: raw topic to processed topic", {}),
    ProcessByWriteToKafka(),
    Ours("sink", "sink", "ours: processed topic to table", {}),
    FlinkSql(),
    ceilings.Database("copy-binary", "COPY into the hypertable, binary, one connection", ceilings.copy("BINARY")),
    ceilings.Database("copy-text", "COPY into the hypertable, text", ceilings.copy("TEXT"), ceilings.to_copy_text),
    ceilings.Database("upsert", "COPY to staging, INSERT … ON CONFLICT", ceilings.upsert),
    ceilings.KafkaCount(),
    Producer("producer-confluent", "readings to Kafka, confluent-kafka, a call for each", producers.confluent),
    Producer("producer-batch", "the same, produce_batch", producers.confluent_batch),
    Producer("producer-kafka-python", "the same, kafka-python", producers.kafka_python),
)
SECTIONS = ("latency", "mqtt", "memory")
NAMES = (*(contender.name for contender in CONTENDERS), *SECTIONS)


class Bench:
    """One run: what was measured so far is never lost by what fails later."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.results: dict[str, list[Result]] = {}
        self.failures: dict[str, str] = {}
        self.sections: dict[str, Any] = {name: [] for name in SECTIONS}

    def race(self, contenders: list[Contender], work: Workload, rounds: int) -> None:
        """All contenders, alternating; the first once more before, as who comes first on a new disk makes its files."""
        self._say(f"warm-up, not counted: {contenders[0].name}")
        self._tried(contenders[0].name, partial(self._one, contenders[0], work))
        for turn in range(1, rounds + 1):
            for contender in contenders:
                self._say(f"round {turn} of {rounds}: {contender.name}")
                result = self._tried(contender.name, partial(self._one, contender, work))
                if result:
                    self.results.setdefault(contender.name, []).append(result)
                    self._say(f"  {result.frames_per_s:,.0f} frames/s, {result.rows_per_s:,.0f} rows/s")

    def section(self, name: str, measure: Callable[[], Any]) -> None:
        """One of SECTIONS."""
        self._say(name)
        found = self._tried(name, measure)
        if found:
            self.sections[name] = found

    def report(self, work: Workload, rounds: int) -> report.Report:
        """What there is so far."""
        listed = [_summary(c, self.results[c.name]) for c in CONTENDERS if c.name in self.results]
        medians = {
            unit: {each["name"]: each[unit]["median"] for each in listed} for unit in ("frames_per_s", "rows_per_s")
        }
        return {
            "run": {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "frames": work.frames,
                "rows": work.raw.rows,
                "bad_frames": work.raw.dead_letters,
                "rounds": rounds,
                "cores": os.cpu_count(),
                "machine": platform.platform(),
            },
            "contenders": listed,
            "ratios": figures.ratios(medians["frames_per_s"], medians["rows_per_s"]),
            **self.sections,
            "failures": self.failures,
        }

    def _one(self, contender: Contender, work: Workload) -> Result:
        contender.prepare(work)
        return contender.run(work)

    def _tried(self, name: str, measure: Callable[[], T]) -> T | None:
        try:
            return measure()
        except Exception as error:  # the other contenders still have their turn; the exit status says it
            self.failures[name] = f"{type(error).__name__}: {error}"
            self._console.print(f"  {self.failures[name]}", style="red")
            return None

    def _say(self, text: str) -> None:
        self._console.print(f"{datetime.now():%H:%M:%S} {text}")  # noqa: DTZ005 - the reader's own clock


def _summary(contender: Contender, results: list[Result]) -> dict[str, Any]:
    return {
        "name": contender.name,
        "what": contender.what,
        "ours": isinstance(contender, Ours),
        "frames_per_s": figures.spread([round(result.frames_per_s) for result in results]),
        "rows_per_s": figures.spread([round(result.rows_per_s) for result in results]),
        "megabytes": {name: round(size) for name, size in results[-1].megabytes.items()},
        "note": results[-1].note,
    }


def main(  # noqa: PLR0917 - options, each given by its name
    frames: Annotated[int, typer.Option(min=10_000, help="frames of the raw topic")] = 1_000_000,
    rounds: Annotated[int, typer.Option(min=1, help="runs of each contender")] = 3,
    only: Annotated[str, typer.Option(help=f"some, comma-separated, of: {', '.join(NAMES)}")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="50,000 frames, one round, short sections")] = False,
    first_port: Annotated[int, typer.Option(help="first of the 22 ports that the bench's stack takes")] = 29_000,
    folder: Annotated[Path, typer.Option(help="where stack, logs and results go")] = ROOT / "out" / "bench",
) -> None:
    """Measure the pipeline beside a plain consumer, Flink SQL and the ceilings, on a native stack of its own."""
    chosen = [name.strip() for name in only.split(",") if name.strip()] or list(NAMES)
    if unknown := set(chosen) - set(NAMES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: the names are {', '.join(NAMES)}", param_hint="--only")
    if quick:
        frames, rounds = 50_000, 1
    seconds = 5 if quick else 20
    console = Console(highlight=False)
    folders = stack.enter(folder.absolute(), first_port)
    bench, began = Bench(console), time.monotonic()
    stack.up(folders)
    try:
        work = Workload(fleet.install(), frames)
        console.print(f"{work.raw.frames:,} frames are in the raw topic, for {work.raw.rows:,} rows")
        if racing := [contender for contender in CONTENDERS if contender.name in chosen]:
            bench.race(racing, work, rounds)
        for name, measure in _sections(work, folders, frames, seconds).items():
            if name in chosen:
                report.write(bench.report(work, rounds), folder)
                bench.section(name, measure)
        made = bench.report(work, rounds)
        report.write(made, folder)
        report.show(made, console)
        minutes = (time.monotonic() - began) / 60
        console.print(f"{minutes:.0f} min. Written: {folder}/latest.json, latest.md, latest.svg")
    finally:
        stack.down()
    sys.exit(1 if bench.failures else 0)


def _sections(work: Workload, folders: Any, frames: int, seconds: float) -> dict[str, Callable[[], Any]]:
    return {
        "latency": lambda: latency.measure(work, seconds),
        "mqtt": lambda: mqtt.measure(frames // 5, seconds),
        "memory": lambda: memory.measure(work, folders),
    }


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
