"""Flink SQL, Kafka to JDBC: readings that are decoded already into decoded_data, which is what our mode `sink` does.

Decoding frames in SQL needs functions in Java, and would compare those; so only the sink is compared. It keeps neither
dead letters (a record that is no JSON fails the job) nor the order in which rows of one key came.
"""

import subprocess
import time
import uuid
from itertools import accumulate
from pathlib import Path
from string import Template
from typing import Any

from benchmarks import processes, stack, table
from benchmarks.contender import Progress, Result, WrongResultError, result_of
from benchmarks.messages import PROCESSED, Workload
from faces2.runners.jvm import ADD_OPENS
from faces2.service.settings import KafkaSettings, StackSettings, TimescaleSettings, load
from faces2.stack import jars
from faces2.stack.environment import digest

HERE = Path(__file__).parent
LOG = Path("flink-sql.log")
LOOK_SECONDS = 0.5
STALL_SECONDS = 60
PART = 5
"""It is stopped at a fifth of the rows: for all of them it would take longer than all others together."""


class FlinkSql:
    """A Java process with an embedded Flink; its rate is taken from the commit times of its rows."""

    name = "flink-sql-sink"
    what = f"Flink SQL, Kafka to JDBC (readings decoded before), parallelism 1, 1/{PART} of the rows"

    def prepare(self, work: Workload) -> None:
        assert work.processed
        cache, pom = load(StackSettings).cache, HERE / "pom.xml"
        self._jars = cache / f"flink-sql-{digest(pom)}"
        if not self._jars.exists():
            jars.fetch(pom, self._jars, cache / "m2", "Flink SQL's jars")
        table.empty()

    def run(self, work: Workload) -> Result:
        script = Path("sink.sql")
        script.touch(mode=0o600)
        script.write_text(Template((HERE / "sink.sql").read_text()).substitute(_values()))
        command = ["java", "-Xmx1g", "-Duser.timezone=UTC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        command += [*ADD_OPENS, "-cp", f"{self._jars}/*"]
        process = stack.start_program([*command, str(HERE / "FlinkSql.java"), str(script)], LOG, settings={})
        try:
            self._wait(process, work.processed // PART)
            megabytes = processes.by_program(process.pid)
        finally:
            stack.stop(process)
            script.unlink()
        commits = table.commits()
        done = accumulate(rows for _, rows in commits)
        progress = [Progress(at, rows) for (at, _), rows in zip(commits, done, strict=True)]
        result = result_of(progress, work.frames, work.processed)
        return Result(result.frames, result.rows, result.seconds, "upsert, no COPY", megabytes)

    def _wait(self, process: subprocess.Popen[bytes], rows: int) -> None:
        last, since = 0, time.monotonic()
        with table.cursor() as cursor:
            first = _inserted(cursor)
            while (now := _inserted(cursor) - first) < rows or table.count() < rows:
                if now != last:
                    last, since = now, time.monotonic()
                elif process.poll() is not None or time.monotonic() - since > STALL_SECONDS:
                    raise WrongResultError(f"{self.name} stands at {now} of {rows} rows; its log is {LOG.absolute()}")
                time.sleep(LOOK_SECONDS)


def _inserted(cursor: Any) -> int:
    """Rows inserted into the database since ever: its statistics, a second old, cost less than a count."""
    cursor.execute("SELECT tup_inserted FROM pg_stat_database WHERE datname = current_database()")
    return int(cursor.fetchone()[0])


def _values() -> dict[str, str]:
    kafka, timescale = load(KafkaSettings), load(TimescaleSettings)
    return {
        "TOPIC": PROCESSED,
        "BROKERS": kafka.brokers,
        "GROUP": f"bench-sql-{uuid.uuid4().hex[:8]}",
        "HOST": timescale.host,
        "PORT": str(timescale.port),
        "DB": timescale.db,
        "USER": timescale.user,
        "PASSWORD": timescale.password.get_secret_value(),
    }
