"""Installs what is missing. Every step can be repeated, is whole or not there, and is skipped when it is done."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from fcntl import LOCK_EX, flock
from pathlib import Path

from faces2.service.settings import StackSettings, load
from faces2.stack import debian, jars, journal, timescaledb
from faces2.stack.environment import DEPLOY, Folders, write
from faces2.stack.preflight import ROOM_TO_INSTALL, check_room
from faces2.stack.report import Report
from faces2.stack.shell import StackError


def install(folders: Folders, report: Report) -> None:
    """Brings packages, jars, Mosquitto's journal and TimescaleDB; StackError says what can not be had."""
    folders.cache.mkdir(parents=True, exist_ok=True)
    with (folders.cache / "lock").open("w") as lock:
        flock(lock, LOCK_EX)  # two stacks may share the cache
        _install(folders, report)


def _install(folders: Folders, report: Report) -> None:
    own_beam = Path(os.environ["FLINK_JARS"]) == folders.beam_jars
    poms = {
        "kafka": (folders.kafka_jars, "Kafka 3.9.1 (57 jars, 47 MB)"),
        "beam": (folders.beam_jars, "Beam 2.70.0 and Flink 1.19 (191 jars, 192 MB)"),
    }
    wanted = {
        name: (target, what)
        for name, (target, what) in poms.items()
        if not target.exists() and (name != "beam" or own_beam)
    }
    tree = load(StackSettings).timescale == "auto" and not folders.timescale_tree.exists()
    plugin = not folders.mosquitto_journal.exists()
    packages = debian.missing(maven=bool(wanted), compiler=journal.PACKAGES if plugin else ())
    if not (wanted or packages or tree or plugin):
        return
    check_room(folders.cache, ROOM_TO_INSTALL, "FACES2_CACHE")
    if packages:
        with report.step(f"Debian packages: {' '.join(packages)}"):
            debian.install(packages)
        debian.require_java()
    if plugin:
        with report.step("Mosquitto's journal, compiled"):
            journal.build(folders.mosquitto_journal)
    pool = ThreadPoolExecutor()
    work = [pool.submit(_fetch_jars, folders, wanted, report)] if wanted else []
    work += [pool.submit(_fetch_timescale, folders, report)] if tree else []
    _wait(pool, work)


def _fetch_jars(folders: Folders, wanted: dict[str, tuple[Path, str]], report: Report) -> None:
    for name, (target, what) in wanted.items():  # one after the other: Maven's repository takes one writer
        with report.step(f"{what}, by Maven"):
            jars.fetch(DEPLOY / name / "pom.xml", target, folders.cache / "m2", what)
            jars.link(target, target.name.rpartition("-")[0])


def _fetch_timescale(folders: Folders, report: Report) -> None:
    reason = folders.cache / "timescaledb-missing"
    try:
        with report.step("TimescaleDB 2.19 on PostgreSQL 17, from Debian 13 (120 packages)"):
            timescaledb.fetch(folders.timescale_tree)
        reason.unlink(missing_ok=True)
    except StackError as error:
        write(reason, str(error))
        report.say(f"  ! {error}\n    Plain PostgreSQL serves in its place; FACES2_TIMESCALE=off keeps it so.")


def _wait(pool: ThreadPoolExecutor, work: list[Future[None]]) -> None:
    """Ends with the first failure; the others' programs die with us."""
    try:
        for future in work:
            future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
