"""`faces2 backfill`: a stretch of the raw topic once more through the graph, slice by slice, beside a running stream.

Rows that exist are written over, nothing is published: it can be done again at any time. After each slice the place is
kept in Kafka; the same command, after a Ctrl-C or a SIGKILL, goes on there.
"""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from rich.console import Console

from faces2.beam_pipeline.graph import Graph, Mode
from faces2.io.away import could_not
from faces2.io.kafka_bookmark import Bookmark
from faces2.io.kafka_range import OffsetRange, whole_topic
from faces2.io.kafka_stretch import find_stretch
from faces2.io.metadata import MetadataDatabase
from faces2.models.clock import utc_now
from faces2.models.stretch import parse_end
from faces2.runners.direct import DirectRunner, limit
from faces2.service import logs
from faces2.service.could_not import CouldNotError
from faces2.service.progress import Steps
from faces2.service.settings import KafkaSettings, PipelineSettings, PostgresSettings, TimescaleSettings, load
from faces2.service.shutdown import on_signals

INTERRUPTED = 130

log = logs.get_logger(__name__)


@dataclass(frozen=True)
class Work:
    """A back-fill: all of it, and what is left to do."""

    ranges: list[OffsetRange]
    left: list[OffsetRange]
    notes: list[str]

    @property
    def size(self) -> int:
        """How many records are left."""
        return sum(part.size for part in self.left)


def main(since: str | None, until: str | None, dry_run: bool, restart: bool) -> None:
    """Ends when all is written; with 130 when a signal came first; CouldNotError says what failed."""
    logs.configure("backfill", "WARNING")
    stop, console = on_signals(), Console(highlight=False)
    with could_not("The back-fill could not be done"):
        kafka = load(KafkaSettings)
        bookmark = Bookmark(kafka, kafka.raw_topic, group_of(kafka.raw_topic, since, until))
        work = _work(kafka, bookmark, since, until, restart)
        _describe(work, kafka.raw_topic, console)
        if dry_run or not work.size:
            return
        if work.left == work.ranges:
            bookmark.begin(work.ranges)
        with Steps("back-fill", work.size) as steps:
            for part in slices(work.left, load(PipelineSettings).backfill_slice):
                if stop.is_set():
                    console.print("Interrupted: the same command goes on from here.")
                    sys.exit(INTERRUPTED)
                _write(kafka, part)
                bookmark.advance(work.ranges, part)
                steps.done(sum(each.size for each in part))
        bookmark.remove()
    console.print(f"Done: {work.size:,} frames; {steps.rate}.")


def group_of(topic: str, since: str | None, until: str | None) -> str:
    """The consumer group that keeps the place: the same for the same command, however the times in it are meant."""
    asked = "\n".join((topic, since or "", until or ""))
    return f"faces2-backfill-{hashlib.sha256(asked.encode()).hexdigest()[:12]}"


def slices(left: list[OffsetRange], size: int) -> Iterator[list[OffsetRange]]:
    """All of `left` in slices of up to `size` records, partition after partition."""
    while part := limit(left, size):
        yield part
        done = {each.partition: each.stop for each in part}
        left = [each._replace(start=done.get(each.partition, each.start)) for each in left]


def _work(kafka: KafkaSettings, bookmark: Bookmark, since: str | None, until: str | None, restart: bool) -> Work:
    """The back-fill that the same command began and did not end, or a new one."""
    begun = None if restart else bookmark.load()
    if begun is not None:
        ranges, left = begun
        kept = {part.partition: part.start for part in whole_topic(kafka, kafka.raw_topic)}
        left = [part._replace(start=max(part.start, kept.get(part.partition, part.stop))) for part in left]
        return Work(ranges, left, ["it goes on with what was begun before; --restart begins anew"])
    now = utc_now()
    stretch = find_stretch(kafka, kafka.raw_topic, parse_end(since, now), parse_end(until, now))
    return Work(stretch.ranges, stretch.ranges, stretch.gone)


def _describe(work: Work, topic: str, console: Console) -> None:
    parts = ", ".join(f"{part.partition}:{part.start}-{part.stop}" for part in work.left if part.size)
    where = f" (partition:from-until {parts})" if parts else ""
    console.print(f"{topic}: {work.size:,} frames to be written{where}", soft_wrap=True)
    for note in work.notes:
        console.print(f"  note: {note}", soft_wrap=True)


def _write(kafka: KafkaSettings, part: list[OffsetRange]) -> None:
    """One slice, with the metadata as it is now."""
    with closing(MetadataDatabase(load(PostgresSettings))) as database:
        snapshot = database.snapshot()
    graph = Graph(Mode.FULL, kafka, load(TimescaleSettings), load(PipelineSettings), snapshot, publish=False)
    try:
        DirectRunner(kafka, ranges=part).run(graph.build, graph.source_topic)
    except Exception as error:
        log.exception("a slice failed")
        raise CouldNotError(
            f"The back-fill stopped: {last_line(error)} The same command goes on from there."
        ) from error


def last_line(error: Exception) -> str:
    """What is said last: Beam puts a whole stack trace before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
