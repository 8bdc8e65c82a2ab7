"""The commands `faces2 up`, `down`, `status`, `logs` and `run`."""

import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from types import MappingProxyType
from typing import ParamSpec

from rich.console import Console

from faces2.service.settings import FlinkSettings, load
from faces2.service.shutdown import on_signals
from faces2.stack import environment, overview, preflight, shell
from faces2.stack.environment import Folders
from faces2.stack.install import install
from faces2.stack.programs import programs
from faces2.stack.report import Report
from faces2.stack.screen import watch
from faces2.stack.shell import StackError
from faces2.stack.starting import Starting
from faces2.stack.supervisor import Supervisor
from faces2.stack.verify import verify

CHECK_TIMEOUT = 60.0
"""Seconds that the rows of a bounded run have to arrive after the simulator has stopped."""

P = ParamSpec("P")


def command(body: Callable[P, int]) -> Callable[P, None]:
    """Ends with the body's exit status; a failure is one sentence, and whatever we still run dies with us."""

    @functools.wraps(body)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with interruptible():
                status = body(*args, **kwargs)
        except StackError as error:
            print(f"faces2: {error}", file=sys.stderr)
            _leave(1)
        except OSError as error:  # a folder that can not be written, a disk that is full
            print(f"faces2: {error.filename or 'A file'}: {error.strerror or error}", file=sys.stderr)
            _leave(1)
        except KeyboardInterrupt:
            print("faces2: interrupted", file=sys.stderr)
            _leave(130)
        if status:
            sys.exit(status)

    return wrapped


def _leave(status: int) -> None:
    """Ends at once: threads that wait for a download would keep us, and their programs die when the threads do."""
    shell.kill_all()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@command
def up(flink: str | None = None) -> int:
    """Installs what is missing and starts everything in the background; `flink` is FLINK_MODE from now on."""
    folders = environment.enter()
    console = Console(highlight=False)
    _start(folders, console, dies_with_us=False, chosen={"FLINK_MODE": flink} if flink else {})
    print("Running. `faces2 status` shows the parts, `faces2 logs NAME` a log, `faces2 down` stops everything.")
    return 0


@command
def down() -> int:
    """Stops everything; the data stays."""
    folders = environment.enter()
    with alone(folders):
        supervisor = Supervisor(folders)
        if not supervisor.running():
            print("The stack is not running.")
            return 0
        _stop(supervisor, Console(highlight=False))
    return 0


@command
def status() -> int:
    """Shows the parts; 1 unless all are running and ready."""
    folders = environment.enter()
    supervisor = Supervisor(folders)
    if not supervisor.running():
        print("The stack is not running: start it with `faces2 up`.")
        return 1
    lines = overview.look(programs(folders), supervisor.states())
    overview.show(lines, overview.storage(folders), Console())
    return 0 if all(line.good for line in lines) else 1


@command
def logs(name: str, lines: int, follow: bool) -> int:
    """Prints the last lines of a part's log, and goes on with new ones."""
    folders = environment.enter()
    log = folders.logs / f"{name}.log"
    names = [part.name for part in programs(folders)]
    if name not in {*names, *(file.stem for file in folders.logs.glob("*.log"))}:
        raise StackError(f"There is no part {name}: the parts are {', '.join(names)}.")
    if not log.exists():
        raise StackError(f"{name} has no log yet: start the stack with `faces2 up`.")
    try:
        return subprocess.run(["tail", "-n", str(lines), *(["-F"] if follow else []), str(log)], check=False).returncode
    except KeyboardInterrupt:
        return 0


@command
def run(seconds: float) -> int:
    """Starts everything, shows it, stops it; with `seconds`, 0 only if rows came in and none were lost."""
    folders = environment.enter()
    console = Console(highlight=False)
    supervisor = Supervisor(folders)
    if supervisor.running():
        if seconds:
            raise StackError("The stack is running already: stop it with `faces2 down`, then run it for a time.")
        watch(on_signals())
        return 0
    if seconds:
        folders.journal.unlink(missing_ok=True)
        os.environ["SIMULATOR_JOURNAL"] = str(folders.journal)
    _start(folders, console, dies_with_us=True)
    try:
        whole = _watch_for(seconds)
        if not seconds:
            return 0
        if not whole:
            raise StackError("The run was ended before its time: nothing was checked.")
        if not supervisor.running():
            raise StackError("The stack was stopped meanwhile: nothing was checked.")
        supervisor.stop("simulator")
        return 0 if verify(folders.journal, CHECK_TIMEOUT) else 1
    finally:
        with undisturbed(), alone(folders, wait=True):
            _stop(supervisor, console)


def _watch_for(seconds: float) -> bool:
    """Watches for so long (0: until a signal); False if a signal came first."""
    with interruptible():  # puts back the handlers that on_signals replaces
        stop, over = on_signals(), threading.Event()

        def end() -> None:
            over.set()
            stop.set()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        if seconds:
            timer.start()
        watch(stop)
        timer.cancel()
    return over.is_set()


def _start(
    folders: Folders, console: Console, *, dies_with_us: bool, chosen: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Everything ready, or nothing of it left running."""
    with alone(folders), Report(console) as report:
        if environment.write_dotenv():
            report.say(f"Wrote {folders.home / '.env'} with new passwords.")
        supervisor = Supervisor(folders)
        was_running = supervisor.running()
        mode = chosen.get("FLINK_MODE") or load(FlinkSettings).mode
        if was_running and ("jobmanager" in supervisor.states()) != (mode == "cluster"):
            raise StackError(f"The stack runs, and not with FLINK_MODE={mode}: `faces2 down` first.")
        for setting in environment.choose(chosen):
            report.say(f"Wrote {setting} into {folders.home / '.env'}.")
        install(folders, report)
        parts = programs(folders)
        states = supervisor.states()
        stopped = [part for part in parts if part.name not in states or not states[part.name].alive]
        preflight.check_room(folders.data, preflight.ROOM_TO_RUN, "FACES2_DATA")
        preflight.check_ports(port for part in stopped for port in part.ports)
        starting = Starting(parts, supervisor, folders, report)
        try:
            if was_running:
                supervisor.add_missing(parts)
            else:
                supervisor.launch(parts, dies_with_us=dies_with_us)
            with report.step("all parts"):
                starting.run()
        except BaseException:
            with undisturbed():
                if was_running:
                    for name in reversed(starting.started):
                        supervisor.stop(name)
                else:
                    supervisor.shut_down()
            raise


def _stop(supervisor: Supervisor, console: Console) -> None:
    with Report(console) as report, report.step("stopping everything, databases last"):
        supervisor.shut_down()


@contextmanager
def alone(folders: Folders, *, wait: bool = False) -> Iterator[None]:
    """No other command starts or stops this stack meanwhile; StackError, or `wait`, if one does so already."""
    folders.run.mkdir(parents=True, exist_ok=True)
    with (folders.run / "lock").open("w") as lock:
        try:
            flock(lock, LOCK_EX if wait else LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise StackError(f"Another faces2 starts or stops the stack in {folders.data}: wait for it.") from None
        yield


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP interrupt like Ctrl-C."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, _interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """While things are stopped, signals wait for nothing: stopping has its own time limits."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
