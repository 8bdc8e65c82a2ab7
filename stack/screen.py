"""What `faces2 run` shows while the stack runs: a live screen on a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live

from faces2.service.settings import (
    BridgeSettings,
    ClusterSettings,
    FlinkSettings,
    KafkaSettings,
    PipelineSettings,
    PostgresSettings,
    ServiceSettings,
    SimulatorSettings,
    TimescaleSettings,
    WaitingSettings,
    load,
)
from faces2.stack import overview
from faces2.stack.drawing import draw
from faces2.stack.environment import Folders, enter
from faces2.stack.last_readings import LastReadings
from faces2.stack.picture import Answers, Picture, line, picture
from faces2.stack.postgres import address
from faces2.stack.programs import programs
from faces2.stack.sources import Database, Page, Poller, RawTopic, Recorder
from faces2.stack.supervisor import State, Supervisor

EVERY = 1.0
"""Seconds between two pictures."""
LINE_EVERY = 5.0
LAST_HEIGHT = 20
"""Lines of the picture that stays when the watching has ended."""
COUNT_TIMEOUT = 5.0
"""Seconds in which a table's rows must be counted; of one that is larger the number is not shown."""


def watch(stop: threading.Event) -> None:
    """Shows the stack until `stop` is set; a part that is down is shown as that."""
    folders, console = enter(), Console(highlight=False)
    sources = Sources(folders)
    with sources.asked():
        if console.is_terminal:
            _live(sources, console, stop)
        else:
            _lines(sources, stop)


def _live(sources: "Sources", console: Console, stop: threading.Event) -> None:
    """Redraws the terminal's second screen; the last picture stays on the first."""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while not stop.is_set():
            live.update(draw(sources.picture(), console.width, console.height), refresh=True)
            stop.wait(EVERY)
    console.print(draw(sources.picture(), console.width, LAST_HEIGHT))


def _lines(sources: "Sources", stop: threading.Event) -> None:
    """A line every 5 s, one for each change of a part's state, and what the readings are stored in."""
    before: Mapping[str, State | None] = {}
    storage = None
    due = time.monotonic() + LINE_EVERY
    while not stop.wait(EVERY):
        shown = sources.picture()
        for change in changes(before, shown.parts):
            print(change, flush=True)
        before = shown.parts
        if shown.storage and shown.storage != storage:
            storage = shown.storage
            print(f"storage: {storage}", flush=True)
        if time.monotonic() >= due:
            due += LINE_EVERY
            print(line(shown), flush=True)


def changes(before: Mapping[str, State | None], after: Mapping[str, State | None]) -> Iterator[str]:
    """A line for each part that changed its state or started anew; none for parts not seen before."""
    for name, state in after.items():
        past = before.get(name)
        if past is None or state is None:
            continue
        if state.name != past.name:
            yield f"{name}: {past.name.lower()} -> {state.name.lower()}"
        elif state.pid != past.pid:
            yield f"{name}: started anew"


class Sources:
    """Everything that is asked, each from a thread of its own, so that no picture waits for an answer."""

    def __init__(self, folders: Folders) -> None:
        host, kafka, timescale = load(ServiceSettings).http_host, load(KafkaSettings), load(TimescaleSettings)
        self._names = [program.name for program in programs(folders)]
        self._processed_topic = kafka.processed_topic
        self._began = time.monotonic()
        counting = Database(address(timescale), COUNT_TIMEOUT)
        self._states = Poller(Supervisor(folders).states)
        self._simulator = Poller(Recorder(Page(host, load(SimulatorSettings).http_port)))
        self._bridge = Poller(Recorder(Page(host, load(BridgeSettings).http_port)))
        self._pipeline = Poller(Recorder(Page(host, _steps_port())))
        self._waiting = Poller(Recorder(Page(host, load(WaitingSettings).http_port)))
        self._kafka = Poller(Recorder(RawTopic(kafka)))
        self._frames = Poller(LastReadings(timescale, load(PostgresSettings)))
        self._rows = Poller(lambda: int(counting.rows("SELECT count(*) FROM decoded_data")[0][0]), share=0.05)
        self._storage = Poller(lambda: overview.storage(folders), every=10)

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Asks while the block runs."""
        over = threading.Event()
        pollers: list[Poller[Any]] = [value for value in vars(self).values() if isinstance(value, Poller)]
        threads = [threading.Thread(target=poller.run, args=(over,), daemon=True) for poller in pollers]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()

    def picture(self) -> Picture:
        """What is known at this moment."""
        answers = Answers(
            states=self._states.value,
            simulator=self._simulator.value,
            bridge=self._bridge.value,
            kafka=self._kafka.value,
            pipeline=self._pipeline.value,
            waiting=self._waiting.value,
            rows=self._rows.value,
            frames=self._frames.value,
            storage=self._storage.value,
        )
        return picture(self._names, answers, self._processed_topic, time.monotonic() - self._began)


def _steps_port() -> int:
    """Where the pipeline's steps count: in the Python workers, which are not the pipeline's own on a cluster."""
    if load(FlinkSettings).mode == "cluster":
        return load(ClusterSettings).workers_http_port
    return load(PipelineSettings).pipeline_http_port
