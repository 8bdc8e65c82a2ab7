"""The watchdog: the supervisor starts what ended; this restarts what runs and does not answer."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from faces2.service import logs
from faces2.service.settings import ServiceSettings, load
from faces2.service.shutdown import on_signals
from faces2.stack import environment
from faces2.stack.program import Program
from faces2.stack.programs import programs
from faces2.stack.shell import StackError
from faces2.stack.supervisor import RUNNING, State, Supervisor

ASK_SECONDS = 10.0
HUNG_SECONDS = 60.0
REFUSED_SECONDS = 5.0
"""An answer is an answer, also no: a database that recovers says so at once. Who hangs says nothing."""

log = logs.get_logger(__name__)


class Watchdog:
    """Asks each part every few seconds, in a thread of its own."""

    def __init__(self, parts: Sequence[Program], clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = [part for part in parts if part.alive]
        self._clock = clock
        self._looked = clock()
        self._answered = {part.name: clock() for part in self._parts}

    def run(self, supervisor: Supervisor, stop: threading.Event) -> None:
        """Until `stop`."""
        for part in self._parts:
            threading.Thread(target=self._ask_on, args=(part, stop), daemon=True).start()
        while not stop.wait(ASK_SECONDS):
            for name in self.hung(supervisor.states()):
                log.error("a part does not answer, it is restarted", part=name, seconds=HUNG_SECONDS)
                restart(supervisor, name)

    def ask(self, part: Program) -> None:
        """Asks once, and notes when there was an answer."""
        assert part.alive is not None
        asked = self._clock()
        try:
            part.alive()
        except Exception as error:  # whatever a client raises
            if self._clock() - asked >= REFUSED_SECONDS:
                log.warning("no answer", part=part.name, error=str(error).strip())
                return
        self._answered[part.name] = self._clock()

    def hung(self, states: Mapping[str, State]) -> list[str]:
        """The parts that run for long enough and did not answer for as long."""
        now = self._clock()
        late, self._looked = now - self._looked > 2 * ASK_SECONDS, now
        if late:  # it was us who stood still, or were busy with a restart: nobody was asked
            self._answered = dict.fromkeys(self._answered, now)
        return [
            name
            for name, answered in self._answered.items()
            if now - answered > HUNG_SECONDS
            and (state := states.get(name))
            and state.name == RUNNING
            and state.seconds > HUNG_SECONDS
        ]

    def _ask_on(self, part: Program, stop: threading.Event) -> None:
        while not stop.wait(ASK_SECONDS):
            self.ask(part)


def restart(supervisor: Supervisor, name: str) -> None:
    """In good order if it still can; the supervisor kills it when that takes too long."""
    try:
        supervisor.wake(name)
        supervisor.stop(name)
        supervisor.start(name)
    except (StackError, OSError) as error:  # the stack was stopped meanwhile
        log.warning("not restarted", part=name, error=str(error))


def main() -> None:
    """Watches the stack that it was started by, until SIGTERM."""
    logs.configure("watchdog", load(ServiceSettings).log_level)
    folders = environment.enter()
    Watchdog(programs(folders)).run(Supervisor(folders), on_signals())
