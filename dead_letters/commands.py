"""The commands `faces2 dead-letters list | show | stats | replay`."""

import functools
import heapq
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any, ParamSpec

import orjson
import psycopg2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from faces2.dead_letters.filters import Filter
from faces2.dead_letters.letter import Letter, mac_of
from faces2.dead_letters.replay import Outcome, Replay, Selection
from faces2.dead_letters.search import Search, one
from faces2.dead_letters.show import decoded, described
from faces2.dead_letters.stats import KEYS, By, Count
from faces2.dead_letters.trace import Trace, load_trace
from faces2.io.kafka_topic import KafkaAwayError, Sender, describe, names
from faces2.io.metadata import MetadataDatabase
from faces2.models.metadata import Snapshot
from faces2.service.settings import KafkaSettings, PipelineSettings, PostgresSettings, load
from faces2.service.shutdown import on_signals

P = ParamSpec("P")

INTERRUPTED = 130


def command(body: Callable[P, int]) -> Callable[P, None]:
    """Ends with the body's exit status; Kafka that is away is a sentence and 1."""

    @functools.wraps(body)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            status = body(*args, **kwargs)
        except KafkaAwayError as error:
            print(f"faces2: {error}", file=sys.stderr)
            status = 1
        except KeyboardInterrupt:
            print("faces2: interrupted", file=sys.stderr)
            status = INTERRUPTED
        sys.exit(status)

    return wrapped


@command
def list_letters(wanted: Filter, limit: int, as_json: bool) -> int:
    """Prints the newest `limit` letters, the oldest of them first; 0: all, in the order of the topic."""
    search, trace = _open(wanted)
    with _progress("dead letters", search.total) as looked:
        letters: Iterable[Letter] = (letter for letters in search.letters(looked) for letter in letters)
        if limit:
            letters = reversed(heapq.nlargest(limit, letters, key=lambda letter: letter.failed_at or _NEVER))
        for letter in letters:
            print(_json(letter, trace) if as_json else _line(letter, trace))
    return 0


@command
def show(partition: int, offset: int) -> int:
    """Prints a letter whole, and what it would decode to."""
    kafka = load(KafkaSettings)
    topic = describe(kafka, kafka.dead_letter_topic)
    letter = one(kafka, topic, partition, offset)
    at = load_trace(kafka, topic).replayed_at(letter)
    for line in described(letter):
        print(line)
    print(f"replayed {_time(at)}" if at else "not replayed")
    snapshot = _snapshot()
    if snapshot is None:
        return 1
    for line in decoded(letter, kafka, snapshot, load(PipelineSettings).pipeline_crc_check):
        print(line)
    return 0


@command
def stats(wanted: Filter, by: By, as_json: bool) -> int:
    """Prints how many letters there are of each kind, the most frequent first."""
    search, trace = _open(wanted)
    counts: dict[str, Count] = defaultdict(Count)
    kind = KEYS[by]
    with _progress("dead letters", search.total) as looked:
        for letters in search.letters(looked):
            for letter in letters:
                counts[kind(letter)].add(letter.failed_at, trace.replayed_at(letter) is not None)
    ordered = sorted(counts.items(), key=lambda item: (-item[1].letters, item[0]))
    if as_json:
        print(orjson.dumps({"counts": [{by.value: name} | vars(count) for name, count in ordered]}).decode())
        return 0
    print(f"{'letters':>10} {'replayed':>10}  {'first':19}  {'last':19}  {by}")
    for name, count in ordered:
        print(f"{count.letters:10,} {count.replayed:10,}  {_time(count.first)}  {_time(count.last)}  {name or '-'}")
    print(f"{sum(count.letters for _, count in ordered):10,} {sum(count.replayed for _, count in ordered):10,}  in all")
    return 0


@command
def replay(wanted: Filter, again: bool, dry_run: bool) -> int:
    """Puts letters back where they came from and prints what became of them; SIGINT and SIGTERM end it between two
    chunks."""
    stop = on_signals()
    kafka = load(KafkaSettings)
    topic = describe(kafka, kafka.dead_letter_topic)
    search = Search(kafka, topic, wanted)
    selection = Selection(load_trace(kafka, topic), kafka, names(kafka), again)
    work = Replay(selection, Sender(kafka), kafka, topic.id, dry_run=dry_run)
    try:
        with _progress("dead letters", search.total) as looked:
            work.run(search.letters(looked), stop)
    finally:  # also when Kafka went away in the middle: what is counted was sent
        for line in _said(selection.outcome, work.run_id, dry_run):
            print(line)
    if stop.is_set():
        print("faces2: interrupted; what was sent is in the trace, the next run goes on behind it", file=sys.stderr)
        return INTERRUPTED
    return 0


def _said(outcome: Outcome, run: str, dry_run: bool) -> Iterator[str]:
    sent = outcome.sent
    for topic, count in sent.items():
        yield f"{count:10,} {'would be sent' if dry_run else 'sent'} to {topic}"
    if not sent:
        yield f"{0:10} {'would be sent' if dry_run else 'sent'}"
    if outcome.replayed_before:
        yield f"{outcome.replayed_before:10,} replayed before (--again sends them once more)"
    if outcome.came_back:
        yield f"{outcome.came_back:10,} with the bytes of one that was replayed: it failed again (--again)"
    for why, count in outcome.no_way_back.most_common():
        yield f"{count:10,} can not be replayed, e.g. {outcome.first_without[why]}: {why}"
    if sent and not dry_run:
        yield f"run {run}"


def _open(wanted: Filter) -> tuple[Search, Trace]:
    kafka = load(KafkaSettings)
    topic = describe(kafka, kafka.dead_letter_topic)
    return Search(kafka, topic, wanted), load_trace(kafka, topic)


def _snapshot() -> Snapshot | None:
    try:
        with closing(MetadataDatabase(load(PostgresSettings))) as database:
            return database.snapshot()
    except psycopg2.Error as error:
        print(f"faces2: The metadata can not be read: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        return None


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; the block tells it how many more are done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


_NEVER = datetime.min.replace(tzinfo=UTC)


def _line(letter: Letter, trace: Trace) -> str:
    at = trace.replayed_at(letter)
    replayed = f"replayed {_time(at)}" if at else "-"
    return (
        f"{letter.id:12} {_time(letter.failed_at)}  {letter.reason or '-':14} {letter.step or '-':8} "
        f"{mac_of(letter) or '-':12}  {replayed:28}  {letter.headers.get('detail', '')[:120]}"
    )


def _json(letter: Letter, trace: Trace) -> str:
    line: dict[str, Any] = {
        "partition": letter.partition,
        "offset": letter.offset,
        **letter.headers,
        "device": mac_of(letter),
        "replayed_at": trace.replayed_at(letter),
    }
    return orjson.dumps(line).decode()


def _time(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if moment else f"{'-':19}"
