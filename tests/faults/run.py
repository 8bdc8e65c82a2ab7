"""The command: a fresh stack, load, faults, and at the end the check; exit status 1 when anything is missing."""

import random
import shlex
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

from faces2.io.metadata import MetadataDatabase
from faces2.models.metadata import Snapshot
from faces2.service.settings import PostgresSettings, load
from faces2.stack.commands import interruptible
from tests.faults import report, rig
from tests.faults.checker import Findings, check
from tests.faults.faults import Fault, Field, faults
from tests.faults.load import Frames, Load
from tests.faults.rig import Rig, SkippedError
from tests.faults.sequence import Step, each, sequence
from tests.faults.watch import Injection, Watch

RECOVERY_SECONDS = 180.0
"""Longer is not waited for."""
READY_SECONDS = 180.0
WARM_UP_SECONDS = 5.0
SLOW_SECONDS = 30.0
"""A recovery that takes longer is pointed out."""
NAMED = 20


class Settings(NamedTuple):
    """Of one run: the sequence's seed, the simulator's frames a second, Watch's hold, FLINK_MODE."""

    seed: int
    rate: float
    hold: float
    flink: str


class Run:
    """The faults of one run, one after the other or side by side."""

    def __init__(self, field: Field, watch: Watch, console: Console) -> None:
        self._field = field
        self._watch = watch
        self._console = console
        self._busy: dict[str, threading.Thread] = {}
        self.injections: list[Injection] = []

    def play(self, steps: Sequence[Step]) -> None:
        """Every step; a part that the supervisor has given up on ends the sequence."""
        for step in steps:
            if step.alone:
                self.settle()
            self._free(step.fault.target)
            injection = Injection(step, time.time())
            self.injections.append(injection)
            thread = threading.Thread(target=self._inject, args=(injection,), name=step.fault.name)
            self._busy[step.fault.target] = thread
            thread.start()
            if step.alone:
                self.settle()
            else:
                time.sleep(step.pause)
            if self._watch.given_up:
                break
        self.settle()

    def left_out(self) -> list[Step]:
        """What could not be injected, as a rule since another fault had just taken what it hits: each alone now."""
        return [replace(injection.step, alone=True) for injection in self.injections if injection.skipped]

    def settle(self) -> None:
        """Until every fault is over and has been recovered from, or for long enough."""
        for target in list(self._busy):
            self._free(target)
        while any(_awaited(injection) for injection in self.injections):
            time.sleep(0.1)

    def _free(self, target: str) -> None:
        if (thread := self._busy.pop(target, None)) is not None:
            thread.join()

    def _inject(self, injection: Injection) -> None:
        step = injection.step
        try:
            step.fault.inject(self._field, step.seconds)
        except Exception as error:  # whatever a client raises: other faults go on at the same time
            injection.skipped = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            if not isinstance(error, SkippedError):
                self._say(f"{step}: {injection.skipped}")
        injection.ended = time.time()
        if injection.skipped is None:
            self._watch.expect(injection)
            threading.Thread(target=self._tell, args=(injection,), daemon=True).start()
        else:
            self._say(f"{step}: left out, {injection.skipped}")

    def _tell(self, injection: Injection) -> None:
        while _awaited(injection):
            time.sleep(0.1)
        taken = injection.recovery
        if taken is None:
            self._say(f"{injection.step}: NOT recovered within {RECOVERY_SECONDS:.0f} s")
        else:
            self._say(f"{injection.step}: recovered in {taken:.1f} s{', SLOW' if taken > SLOW_SECONDS else ''}")

    def _say(self, line: str) -> None:
        self._console.print(f"{time.strftime('%H:%M:%S')} {line}", markup=False, soft_wrap=True)


def _awaited(injection: Injection) -> bool:
    """Whether its recovery is still to be waited for."""
    return not injection.over and time.time() - (injection.ended or time.time()) < RECOVERY_SECONDS


def main() -> None:
    """`python -m tests.faults`."""
    typer.run(_command)


def _command(
    count: Annotated[int, typer.Option(help="random faults; with --fault: how often each")] = 0,
    seed: Annotated[int, typer.Option(help="of the sequence")] = 1,
    fault: Annotated[list[str] | None, typer.Option(help="only this one, alone; can be given again")] = None,
    without: Annotated[list[str] | None, typer.Option(help="a fault to leave out; can be given again")] = None,
    seconds: Annotated[float | None, typer.Option(help="with --fault: how long each lasts")] = None,
    rate: Annotated[float, typer.Option(help="frames a second of the simulator")] = 200,
    hold: Annotated[float, typer.Option(help="seconds that rows must flow after a fault that is alone")] = 20,
    flink: Annotated[str, typer.Option(help="FLINK_MODE of the stack: embedded or cluster")] = "embedded",
    names: Annotated[bool, typer.Option(help="print the faults' names and end")] = False,
) -> None:
    """Hits the real stack with faults and checks that nothing is lost."""
    console = Console(highlight=False)
    there = faults(flink)
    if names:
        console.print("\n".join(there))
        return
    steps = _steps(there, count, seed, fault or [], without or [], seconds)
    with interruptible():
        sys.exit(0 if _run(steps, Settings(seed, rate, hold, flink), console) else 1)


def _steps(
    there: dict[str, Fault], count: int, seed: int, only: list[str], without: list[str], seconds: float | None
) -> list[Step]:
    if unknown := {*only, *without} - there.keys():
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: the faults are {', '.join(there)}")
    if only:
        return each([there[name] for name in only], count or 1, seed, seconds)
    return sequence([fault for name, fault in there.items() if name not in without], count or 20, seed)


def _run(steps: list[Step], given: Settings, console: Console) -> bool:
    seed = given.seed
    console.print(f"seed {seed}: {len(steps)} faults")
    report.forget(rig.FOLDER.parent)
    with rig.running(console, given.flink) as stack:
        journal = stack.folders.run / "journal.jsonl"
        snapshot = _snapshot()
        watch = Watch(stack.supervisor, snapshot, given.hold)
        field = Field(stack, Frames(snapshot, seed, journal, stack.folders.run), random.Random(seed))
        began = time.monotonic()
        load_ = Load(journal, given.rate, stack.folders.logs / "load.log")
        run = Run(field, watch, console)
        try:
            time.sleep(WARM_UP_SECONDS)
            run.play(steps)
            run.play(run.left_out())
            _wait_ready(stack)
            console.print(load_.stop())
            found = check(journal)
        except BaseException:
            _failed(run.injections, seed, console)
            raise
        finally:
            watch.close()
        facts = {
            "command": shlex.join(["python", "-m", "tests.faults", *sys.argv[1:]]),
            "seed": seed,
            "minutes": (time.monotonic() - began) / 60,
            "injected": sum(injection.skipped is None for injection in run.injections),
            "starts": watch.starts(),
            "given_up": sorted(watch.given_up),
        }
        report.write(report.summary(run.injections, found, **facts), rig.FOLDER.parent)
        good = found.good and not watch.given_up
        _show(found, run.injections, seed, console, good=good)
    return good


def _snapshot() -> Snapshot:
    with closing(MetadataDatabase(load(PostgresSettings))) as database:
        return database.snapshot()


def _wait_ready(stack: Rig) -> None:
    """RuntimeError names the parts that do not come back."""
    deadline = time.monotonic() + READY_SECONDS
    while troubles := stack.troubles():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not ready {READY_SECONDS:.0f} s after the last fault: {'; '.join(troubles)}")
        time.sleep(1)


def _show(found: Findings, injections: Sequence[Injection], seed: int, console: Console, *, good: bool) -> None:
    for what, readings in (("missing", found.missing), ("too much", found.unexplained)):
        for _, line in sorted(readings)[:NAMED]:
            console.print(f"  {what}: {line}", markup=False, soft_wrap=True)
    console.print(
        f"{found.frames:,} frames, {found.readings:,} readings: {len(found.missing):,} missing, {found.dead:,} dead "
        f"letters, {len(found.unexplained):,} rows too many, {found.doubled_on_the_wire:,} doubled on the wire"
    )
    if not good:
        _failed(injections, seed, console)


def _failed(injections: Sequence[Injection], seed: int, console: Console) -> None:
    """What is needed to look for the cause, and to do it again."""
    console.print(f"[red]FAILED[/]: seed {seed}, {'; '.join(str(injection.step) for injection in injections)}")
    console.print(f"the logs are in {rig.FOLDER / 'logs'}")
