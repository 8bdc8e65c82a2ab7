"""The watchdog: who runs and says nothing for long is restarted; who refuses, starts or is stopped is not."""

import socket
import threading
import xmlrpc.client

import pytest

from faces2.stack import ready
from faces2.stack.program import Program
from faces2.stack.supervisor import State, Supervisor
from faces2.stack.watchdog import ASK_SECONDS, HUNG_SECONDS, REFUSED_SECONDS, Watchdog, restart

RUNS = {"kafka": State("RUNNING", 1, 1000.0, 0)}


class Part:
    """A part whose answer, and how long it takes, can be set."""

    def __init__(self) -> None:
        self.now = 0.0
        self.takes = 0.0
        self.error: Exception | None = None
        self.program = Program("kafka", ["true"], ready=lambda: None, endpoint="", alive=self._alive)
        self.dog = Watchdog([self.program], lambda: self.now)

    def _alive(self) -> None:
        self.now += self.takes
        if self.error:
            raise self.error

    def watch(self, seconds: float, states: dict[str, State] = RUNS) -> list[str]:
        """Who hung at least once in so long."""
        hung: list[str] = []
        ends = self.now + seconds
        while self.now < ends:
            self.now += ASK_SECONDS - self.takes
            self.dog.ask(self.program)
            hung += self.dog.hung(states)
        return hung


@pytest.fixture
def part() -> Part:
    return Part()


def test_who_answers_is_left_alone(part: Part) -> None:
    assert part.watch(300) == []


def test_who_says_nothing_hangs(part: Part) -> None:
    part.error, part.takes = TimeoutError(), REFUSED_SECONDS
    assert part.watch(HUNG_SECONDS - ASK_SECONDS) == []
    assert part.watch(2 * ASK_SECONDS)[:1] == ["kafka"]


def test_a_refusal_is_an_answer(part: Part) -> None:
    part.error = ConnectionRefusedError("the database system is starting up")
    assert part.watch(300) == []


@pytest.mark.parametrize("state", [State("STOPPED", 0, 0, 0), State("BACKOFF", 0, 0, 0), State("RUNNING", 1, 30, 0)])
def test_who_does_not_run_for_long_does_not_hang(part: Part, state: State) -> None:
    part.error, part.takes = TimeoutError(), REFUSED_SECONDS
    assert part.watch(300, {"kafka": state}) == []
    assert part.watch(300, {}) == []


def test_our_own_pause_is_not_the_parts_fault(part: Part) -> None:
    part.watch(50)
    part.now += 1000  # stopped and continued
    assert part.dog.hung(RUNS) == []


class FakeSupervisor(Supervisor):
    """Notes what it is asked to do, and refuses to start."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def _call(self, method: str, *arguments: object) -> None:
        self.asked.append(method)
        if method == "startProcess":
            raise xmlrpc.client.Fault(6, "SHUTDOWN_STATE")


def test_a_part_that_hangs_is_woken_so_that_it_can_end_in_good_order() -> None:
    supervisor = FakeSupervisor()
    restart(supervisor, "kafka")
    assert supervisor.asked == ["signalProcess", "stopProcess", "startProcess"]


@pytest.mark.parametrize(("answer", "good"), [(b"\x20\x02\x00\x00", True), (b"HTTP", False), (b"", False)])
def test_mqtt_is_asked_in_its_own_words(answer: bytes, good: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard: list[bytes] = []

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(100))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        if good:
            ready.mqtt(*server.getsockname())
        else:
            with pytest.raises(ready.NotReadyError):
                ready.mqtt(*server.getsockname())
        thread.join()
    assert heard[0][0] == 0x10 and heard[0][1] == len(heard[0]) - 2
