"""The process supervisor: supervisord's configuration, its start, and its XML-RPC interface."""

import configparser
import io
import resource
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from faces2.stack.environment import Folders, write
from faces2.stack.program import Program
from faces2.stack.shell import StackError, die_with_parent, is_root

RUNNING = "RUNNING"
GONE = ("STOPPED", "EXITED", "FATAL")
FOR_EVER = 1_000_000_000


@dataclass(frozen=True)
class State:
    """What the supervisor knows of a process: its state's name, pid (0: none), seconds up, and when it last started."""

    name: str
    pid: int
    seconds: float
    started: int

    @property
    def alive(self) -> bool:
        """Whether it runs or is being started; a process that keeps ending is, too."""
        return self.name not in GONE


class Supervisor:
    """One stack's supervisord, wherever it was started from."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def running(self) -> bool:
        """Whether it answers."""
        try:
            self._call("getState")
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def launch(self, programs: list[Program], *, dies_with_us: bool) -> None:
        """Starts supervisord with none of the programs running; must be called from the main thread.

        The kernel's death signal follows the thread that started a process, not the process.
        """
        config = self._folders.run / "supervisord.conf"
        write(config, configuration(self._folders, programs), mode=0o600)
        self._folders.logs.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
        with (self._folders.logs / "supervisord.out").open("w") as log:
            process = subprocess.Popen(
                die_with_parent(command) if dies_with_us else command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not self.running():
            if process.poll() is not None:
                said = (self._folders.logs / "supervisord.out").read_text().strip().splitlines()
                raise StackError(f"The process supervisor does not start: {said[-1] if said else 'it said nothing'}")
            time.sleep(0.05)

    def add_missing(self, programs: list[Program]) -> None:
        """Makes a running supervisord know programs that it was not started with."""
        write(self._folders.run / "supervisord.conf", configuration(self._folders, programs), mode=0o600)
        added, _changed, _removed = self._call("reloadConfig")[0]
        for name in added:
            self._call("addProcessGroup", name)

    def states(self) -> dict[str, State]:
        """Every program's state; empty if supervisord does not answer or is shutting down."""
        try:
            return {info["name"]: _state(info) for info in self._call("getAllProcessInfo")}
        except (OSError, xmlrpc.client.Error):
            return {}

    def start(self, name: str) -> None:
        """Starts a program and does not wait for it."""
        try:
            self._call("startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise StackError(f"{name} can not be started: {fault.faultString}") from None

    def stop(self, name: str) -> None:
        """Stops a program and waits until it has ended."""
        try:
            self._call("stopProcess", name)
        except xmlrpc.client.Fault as fault:
            if "NOT_RUNNING" not in fault.faultString:
                raise StackError(f"{name} can not be stopped: {fault.faultString}") from None

    def wake(self, name: str) -> None:
        """Lets a program go on that SIGSTOP holds: only so can it end in good order."""
        with suppress(xmlrpc.client.Fault):  # it does not run any more
            self._call("signalProcess", name, "CONT")

    def shut_down(self) -> None:
        """Stops every program, last started first, then supervisord; waits until all are gone."""
        try:
            pid = self._call("getPID")
        except OSError:
            return
        except xmlrpc.client.Error:  # it is shutting down already, and does not tell its pid any more
            while self.running():
                time.sleep(0.1)
            return
        with suppress(OSError, xmlrpc.client.Error):  # it began to shut down just now
            self._call("shutdown")
        while _alive(pid):
            time.sleep(0.1)

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._folders.socket}")
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)


def configuration(folders: Folders, programs: list[Program]) -> str:
    """supervisord.conf: each program restarted when it ends, slower each time, its log rotated; no secrets."""
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    sections: dict[str, dict[str, object]] = {
        "unix_http_server": {"file": folders.socket, "chmod": "0700"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
        "supervisord": {
            "nodaemon": "true",
            "silent": "true",
            "directory": folders.home,
            "pidfile": folders.run / "supervisord.pid",
            "logfile": folders.logs / "supervisord.log",
            "logfile_maxbytes": "5MB",
            "logfile_backups": "2",
            "minfds": min(most_files, 65_536) if most_files > 0 else 65_536,
            **({"user": "root"} if is_root() else {}),
        },
    }
    for priority, program in enumerate(programs, start=1):
        sections[f"program:{program.name}"] = _section(folders, program, priority)
    for name, options in sections.items():
        parser[name] = {key: str(value).replace("%", "%%") for key, value in options.items()}
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def _section(folders: Folders, program: Program, priority: int) -> dict[str, object]:
    return {
        "command": shlex.join(program.command),
        "autostart": "false",
        "autorestart": "unexpected" if program.may_end else "true",
        "priority": priority,
        # Ending within 2 s counts as a failed start: the next try waits one second longer than the one before. It never
        # ends: what made a part fail (a full disk, a port in use) may be mended when nobody is there to start it.
        "startsecs": 2,
        "startretries": FOR_EVER,
        "stopsignal": program.stop_signal,
        "stopwaitsecs": program.stop_seconds,
        # A part ends its own children in good order; what is left of its group is killed when it does not.
        "stopasgroup": "false",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": folders.logs / f"{program.name}.log",
        "stdout_logfile_maxbytes": "20MB",
        "stdout_logfile_backups": "3",
    }


def _state(info: dict[str, Any]) -> State:
    name = info["statename"]
    seconds = info["now"] - info["start"] if name == RUNNING else 0
    return State(name, info["pid"], seconds, info["start"])


def _alive(pid: int) -> bool:
    """Whether the process is there; one that ended and that nobody has waited for is not."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False
