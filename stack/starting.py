"""Starts the programs, those side by side that do not need one another, and waits until each is ready."""

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from faces2.stack.environment import Folders
from faces2.stack.program import Program
from faces2.stack.report import Report
from faces2.stack.shell import StackError, said
from faces2.stack.supervisor import State, Supervisor

PATIENCE = 240.0
"""Seconds in which a program must get ready; a busy machine takes its time."""
FAILED_STARTS = 4
"""A program that was started so often and never got ready does not start."""


class Starting:
    """One start of the stack; `started` are the programs that it started, for undoing it."""

    def __init__(self, programs: list[Program], supervisor: Supervisor, folders: Folders, report: Report) -> None:
        self._programs = {program.name: program for program in programs}
        self._supervisor = supervisor
        self._folders = folders
        self._report = report
        self._ready: dict[str, Future[None]] = {}
        self._given_up = threading.Event()
        self.started: list[str] = []

    def run(self) -> None:
        """Returns when all are ready; StackError names the first that does not get ready."""
        pool = ThreadPoolExecutor(max_workers=len(self._programs) or 1, thread_name_prefix="start")
        try:
            for name, program in self._programs.items():  # in an order in which what is needed comes first
                self._ready[name] = pool.submit(self._bring_up, program)
            done, _ = wait(self._ready.values(), return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            self._given_up.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _bring_up(self, program: Program) -> None:
        for name in program.needs:
            while name in self._programs and not self._is_ready(name):
                self._pause()
        with self._report.step(program.name):
            state = self._supervisor.states().get(program.name)
            fresh = state is None or not state.alive
            if fresh:
                if program.before:
                    program.before()
                self.started.append(program.name)
                self._supervisor.start(program.name)
            self._wait_ready(program)
            if fresh and program.after:
                program.after()

    def _is_ready(self, name: str) -> bool:
        future = self._ready.get(name)
        return future is not None and future.done() and not future.exception()

    def _wait_ready(self, program: Program) -> None:
        deadline = time.monotonic() + PATIENCE
        starts: set[int] = set()
        while True:
            try:
                program.ready()
                return
            except Exception as error:  # whatever a client raises, the part is not ready
                trouble = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            state = self._supervisor.states().get(program.name)
            starts.add(state.started if state else 0)
            if len(starts) >= FAILED_STARTS or _over(state) or time.monotonic() > deadline:
                raise StackError(self._why(program.name, trouble, ended=len(starts) > 1))
            self._pause()

    def _why(self, name: str, trouble: str, *, ended: bool) -> str:
        log = self._folders.logs / f"{name}.log"
        last = said(_end_of(log))
        what = "keeps ending" if ended else "does not get ready"
        return f"{name} {what} ({trouble}). Its log ends with: {last or 'nothing'} -- more by `faces2 logs {name}`."

    def _pause(self) -> None:
        if self._given_up.wait(0.1):
            raise StackError("given up")


def _over(state: State | None) -> bool:
    return state is None or state.name == "FATAL"


def _end_of(log: Path, size: int = 4000) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - size))
        return file.read().decode(errors="replace")
