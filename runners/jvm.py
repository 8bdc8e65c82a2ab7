"""JVMs beside the pipeline: Beam's job server with its embedded Flink, and the expansion service."""

import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from faces2.service.logs import get_logger

ADD_OPENS = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("java.lang", "java.util", "java.util.concurrent", "java.nio", "java.net", "java.time", "sun.nio.ch")
]

log = get_logger(__name__)


class JvmError(RuntimeError):
    """A JVM could not be started."""


class Jvm:
    """A Java program on the jars of one folder; it dies with this process, whatever happens to it."""

    def __init__(
        self, name: str, jars: Path, options: Sequence[str], main_class: str, arguments: Sequence[str]
    ) -> None:
        jamm = sorted(jars.glob("jamm-*.jar"))
        if not jamm:
            raise JvmError(f"FLINK_JARS={str(jars)!r} holds no jars of Beam and Flink; `faces2 up` installs them")
        self._name = name
        command = [
            *("setpriv", "--pdeathsig", "KILL", "--", "java", *options, "-XX:+ExitOnOutOfMemoryError"),
            *ADD_OPENS,
            f"-javaagent:{jamm[0]}",
            *("-cp", f"{jars}/*", main_class, *arguments),
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=self._log_lines, name=f"{name}-log", daemon=True).start()

    def failure(self) -> str | None:
        """What is wrong, while the program should be running."""
        code = self._process.poll()
        return None if code is None else f"{self._name} ended with status {code}"

    def wait_for_port(self, port: int, seconds: float) -> None:
        """Returns when the program listens on `port`; JvmError when it does not within `seconds`."""
        waited = threading.Event()
        for _ in range(int(seconds * 20)):
            if failure := self.failure():
                raise JvmError(failure)
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            waited.wait(0.05)
        raise JvmError(f"{self._name} did not open port {port} within {seconds} s")

    def stop(self) -> None:
        """Asks it to end, then makes it."""
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _log_lines(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            log.info(line.rstrip(), process=self._name)


def free_ports(count: int) -> list[int]:
    """Local ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
