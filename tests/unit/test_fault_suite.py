"""The fault suite: its proxy fails as it is told to, its sequence comes from the seed, its table adds up."""

import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from tests.faults.checker import Findings
from tests.faults.faults import faults
from tests.faults.proxy import Cut, Proxy
from tests.faults.report import markdown, summary
from tests.faults.sequence import sequence
from tests.faults.watch import Injection


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.request.sendall(data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        yield Proxy(port, server.server_address[1])
        server.shutdown()


def dial(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=0.5)


def echo(client: socket.socket, word: bytes) -> bytes:
    client.sendall(word)
    return client.recv(100)


FAULTS = [*faults("embedded").values()]


def test_passes_on(proxy: Proxy) -> None:
    with dial(proxy) as client:
        assert echo(client, b"one") == b"one"


def test_refused_and_back(proxy: Proxy) -> None:
    with dial(proxy) as client:
        assert echo(client, b"one") == b"one"
        proxy.cut(Cut.REFUSE)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        dial(proxy)
    proxy.heal()
    with dial(proxy) as client:
        assert echo(client, b"two") == b"two"


def test_every_connection_is_reset(proxy: Proxy) -> None:
    proxy.cut(Cut.RESET)
    with pytest.raises(ConnectionResetError), dial(proxy) as client:
        client.recv(1)
    proxy.heal()
    with dial(proxy) as client:
        assert echo(client, b"two") == b"two"


def test_swallowed_bytes_end_the_connection_later(proxy: Proxy) -> None:
    with dial(proxy) as client, dial(proxy) as quiet:
        assert echo(client, b"one") == echo(quiet, b"one") == b"one"
        proxy.cut(Cut.BLACKHOLE)
        client.sendall(b"lost")
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert echo(quiet, b"two") == b"two"


def test_held_bytes_come_later(proxy: Proxy) -> None:
    with dial(proxy) as client:
        assert echo(client, b"one") == b"one"
        proxy.cut(Cut.STALL)
        client.sendall(b"two")
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.heal()
        assert client.recv(3) == b"two"


def test_a_seed_gives_one_sequence_with_every_kind() -> None:
    assert sequence(FAULTS, 100, 7) == sequence(FAULTS, 100, 7) != sequence(FAULTS, 100, 8)
    assert {step.fault.name for step in sequence(FAULTS, len(FAULTS), 1)} == {fault.name for fault in FAULTS}


def test_the_table_of_a_run() -> None:
    steps = [step for step in sequence(FAULTS, 200, 1) if step.fault.name == "kill-bridge"]
    injections = [Injection(step, 1000.0 * n, 1000.0 * n + 1, 1000.0 * n + 3) for n, step in enumerate(steps, 1)]
    skipped = Injection(steps[0], 5.0, 5.0, skipped="bridge is not running")
    found = Findings(frames=1, readings=2, missing=[(1_000_000_000, "gone")])
    run = summary([*injections, skipped], found, command="x", injected=len(steps), minutes=1.0)
    (kind,) = run["faults"]
    assert (kind["injected"], kind["skipped"], kind["missing"], kind["doubled"]) == (len(steps), 1, 1, 0)
    assert kind["recovery_max_among_others"] == 2.0
    assert not run["good"]
    assert f"| kill-bridge | {len(steps)} |" in markdown(run)
