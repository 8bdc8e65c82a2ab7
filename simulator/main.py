"""The simulator: plays the metadata's controllers until it is told to stop, then says what was acknowledged."""

import sys
import threading
import time
from collections.abc import Callable
from functools import partial

import psycopg2
from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from faces2.io.metadata import connect, load_snapshot
from faces2.models.metadata import Snapshot
from faces2.service import logs
from faces2.service.health import HealthServer
from faces2.service.metrics import MESSAGES_OUT
from faces2.service.settings import (
    CertgenSettings,
    MqttSettings,
    PostgresSettings,
    ServiceSettings,
    SimulatorSettings,
    load,
)
from faces2.service.shutdown import on_signals
from faces2.simulator.controller import Controller, Counts
from faces2.simulator.credentials import tls_context
from faces2.simulator.fleet import Fleet
from faces2.simulator.journal import Journal, open_journal
from faces2.simulator.schedule import AtRate, EveryInterval, Schedule, Sender
from faces2.simulator.sources import EventSource, Message, controller_macs, sensor_sources

log = logs.get_logger(__name__)


def main(**overrides: object) -> None:
    """Runs until SIGTERM or its duration is over; `overrides` are fields of SimulatorSettings that win.

    Exit status 0 if every message was acknowledged, 1 if not.
    """
    settings = load(SimulatorSettings, **overrides)
    service = load(ServiceSettings)
    logs.configure("simulator", service.log_level)
    stop = on_signals()
    snapshot = wait_for_snapshot(load(PostgresSettings), stop)
    if snapshot is None:
        return
    counts = Counts()
    fleet = build_fleet(snapshot, settings, load(MqttSettings), load(CertgenSettings).url, counts)
    health = HealthServer(service.http_host, settings.http_port, {"mqtt": fleet.check})
    health.start()
    fleet.run(stop, settings.duration)
    health.stop()
    sys.stdout.write(report(counts) + "\n")
    sys.stdout.flush()
    sys.exit(0 if counts.acknowledged == counts.made else 1)


def wait_for_snapshot(settings: PostgresSettings, stop: threading.Event) -> Snapshot | None:
    """The metadata, as soon as PostgreSQL gives it; None when told to stop before."""
    retrying = Retrying(
        retry=retry_if_exception_type(psycopg2.OperationalError),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        stop=stop_when_event_set(stop),
        sleep=sleep_using_event(stop),
        before_sleep=lambda _: log.warning("metadata can not be read yet", host=settings.host, port=settings.port),
    )
    try:
        return retrying(_read_snapshot, settings)
    except RetryError:
        return None


def build_fleet(
    snapshot: Snapshot, settings: SimulatorSettings, mqtt: MqttSettings, certgen_url: str, counts: Counts
) -> Fleet:
    """The controllers with their sensors and their schedule; nothing is connected yet."""
    macs = controller_macs(snapshot, settings.controllers)
    if len(macs) < settings.controllers:
        log.warning(f"the metadata knows {len(macs)} controllers with sensors, {settings.controllers} were asked for")
    sources = sensor_sources(snapshot, macs, settings.seed)
    journal = open_journal(settings.journal)
    acknowledged = _on_acknowledged(journal)
    controllers, senders = [], []
    for mac in macs:
        controller = Controller(
            mac,
            broker=(mqtt.host, mqtt.tls_port),
            tls=partial(tls_context, certgen_url, mac),
            queue_size=settings.queue_size,
            acknowledged=acknowledged,
            counts=counts,
        )
        events = EventSource(mac, settings.seed)
        controllers.append(controller)
        senders += [Sender(controller, sensor, events) for sensor in sources[mac]]
    return Fleet(controllers, _schedule(senders, settings), journal)


def report(counts: Counts) -> str:
    """The last line: what the broker acknowledged of what was made."""
    line = f"acknowledged {counts.acknowledged} of {counts.made} messages ({counts.frames} sensor frames)"
    lost = [f"{n} {what}" for n, what in ((counts.refused, "refused"), (counts.dropped, "dropped")) if n]
    return f"{line}: {', '.join(lost)}" if lost else line


def _read_snapshot(settings: PostgresSettings) -> Snapshot:
    connection = connect(settings)
    try:
        return load_snapshot(connection, settings.schema_name)
    finally:
        connection.close()


def _on_acknowledged(journal: Journal) -> Callable[[Message], None]:
    counter = MESSAGES_OUT.labels("mqtt")

    def acknowledged(message: Message) -> None:
        counter.inc()
        journal.add(message)

    return acknowledged


def _schedule(senders: list[Sender], settings: SimulatorSettings) -> Schedule:
    now = time.monotonic()
    if settings.rate and senders:
        return AtRate(senders, settings.rate, now)
    return EveryInterval(senders, settings.interval, now)
