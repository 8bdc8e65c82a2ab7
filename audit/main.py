"""`faces2 audit`: the arguments, the clients, and what each outcome is as an exit status."""

import sys
from contextlib import closing

import orjson
from rich.console import Console

from faces2.audit.run import Audit
from faces2.audit.verdict import Verdict, show
from faces2.io import timescale
from faces2.io.away import could_not
from faces2.io.kafka_stretch import find_stretch
from faces2.io.metadata import MetadataDatabase
from faces2.models.clock import utc_now
from faces2.models.metadata import Snapshot
from faces2.models.stretch import End, parse_end
from faces2.service import logs
from faces2.service.progress import Steps
from faces2.service.settings import KafkaSettings, PipelineSettings, PostgresSettings, TimescaleSettings, load


def main(since: str | None, until: str | None, wait_seconds: float, as_json: bool, strict: bool) -> None:
    """0: all is there; 1: something is not; CouldNotError: it could not be found out."""
    logs.configure("audit", "WARNING")
    with could_not("The audit could not be done"):
        now = utc_now()
        verdict = audit(parse_end(since, now), parse_end(until, now), wait_seconds)
    if as_json:
        print(orjson.dumps(verdict.to_json(), option=orjson.OPT_INDENT_2).decode())
    else:
        show(verdict, Console(highlight=False))
    sys.exit(verdict.status(strict))


def audit(since: End | None, until: End | None, wait_seconds: float = 0) -> Verdict:
    """The verdict on a stretch of the raw topic, with the settings of the environment."""
    kafka, database = load(KafkaSettings), load(TimescaleSettings)
    stretch = find_stretch(kafka, kafka.raw_topic, since, until)
    snapshot, check_crc = _snapshot(), load(PipelineSettings).pipeline_crc_check
    with closing(timescale.connect(database)) as connection:
        connection.set_session(readonly=True, autocommit=True)
        judge = Audit(kafka, connection, snapshot, check_crc, database.retention)
        chosen = judge.choose(stretch, wait_seconds)
        with Steps("audit", chosen.size) as steps:
            return judge.judge(chosen, stretch.size - chosen.size, steps.done)


def _snapshot() -> Snapshot:
    with closing(MetadataDatabase(load(PostgresSettings))) as database:
        return database.snapshot()
