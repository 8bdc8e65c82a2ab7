"""decoded_data before, while and after a run."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from faces2.io import timescale
from faces2.service.settings import TimescaleSettings, load


@contextmanager
def cursor() -> Iterator[Any]:
    """A cursor that commits each statement."""
    with closing(timescale.connect(load(TimescaleSettings))) as connection:
        connection.autocommit = True
        with connection.cursor() as opened:
            opened.execute("SET statement_timeout = 0")
            yield opened


def empty() -> None:
    """No rows, and no pages left to be written: every run begins alike."""
    with cursor() as at:
        at.execute("TRUNCATE decoded_data")
        at.execute("CHECKPOINT")


def count() -> int:
    """How many rows there are."""
    with cursor() as at:
        at.execute("SELECT count(*) FROM decoded_data")
        return int(at.fetchone()[0])


def commits() -> list[tuple[float, int]]:
    """When (Unix time) each transaction that wrote rows was committed, and how many it wrote."""
    with cursor() as at:
        at.execute(
            "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8, rows"
            " FROM (SELECT xmin, count(*) AS rows FROM decoded_data GROUP BY xmin) AS written ORDER BY 1"
        )
        return [(when, int(rows)) for when, rows in at.fetchall()]


def commit_latencies(start: float) -> list[float]:
    """Seconds from the frame's timestamp to the commit, sorted, of every row whose frame is of `start` (Unix time) or
    later. PostgreSQL stamps a commit when it writes it to its log, before the disk has it: some milliseconds early."""
    with cursor() as at:
        at.execute(
            "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - timestamp)::float8 FROM decoded_data"
            " WHERE timestamp >= to_timestamp(%s) ORDER BY 1",
            (start,),
        )
        return [seconds for (seconds,) in at.fetchall()]
