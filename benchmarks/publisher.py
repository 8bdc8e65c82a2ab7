"""Controllers that publish as fast as they are told to: MQTT 3.1.1 at QoS 1 over mTLS, many connections in one process.

    .venv/bin/python -m benchmarks.publisher --messages N [--rate PER_SECOND]

Writes its packets itself: paho needs 40 µs of a core for a message, and the load must not take the cores from what is
measured. Prints one JSON line: messages acknowledged by the broker, seconds, when the first was sent (Unix time).
"""

import argparse
import itertools
import json
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import closing

from benchmarks import fleet
from benchmarks.fleet import Source
from faces2.io.metadata import MetadataDatabase
from faces2.models.clock import from_micros
from faces2.service.settings import CertgenSettings, MqttSettings, PostgresSettings, load
from faces2.simulator.credentials import tls_context

CONNECTIONS = 20
WINDOW = 1000
"""Messages that a connection has sent and the broker has not acknowledged."""
BURST = 20
"""Messages of one TLS record."""
PUBACK_BYTES = 4
STALL_SECONDS = 30


def connect_packet(client_id: str) -> bytes:
    """CONNECT with a clean session and no keep-alive; who we are, the certificate says."""
    name = client_id.encode()
    body = struct.pack(">H4sBBHH", 4, b"MQTT", 4, 2, 0, len(name)) + name
    return b"\x10" + remaining_length(len(body)) + body


def publish_packet(topic: bytes, packet_id: int, payload: bytes) -> bytes:
    """PUBLISH at QoS 1."""
    size = 2 + len(topic) + 2 + len(payload)
    return b"".join(
        (b"\x32", remaining_length(size), struct.pack(">H", len(topic)), topic, struct.pack(">H", packet_id), payload)
    )


def remaining_length(size: int) -> bytes:
    """MQTT's variable-length number: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while True:
        size, digit = divmod(size, 128)
        encoded.append(digit | (0x80 if size else 0))
        if not size:
            return bytes(encoded)


class Connection:
    """One controller."""

    def __init__(self, sources: list[Source], context: ssl.SSLContext, mqtt: MqttSettings) -> None:
        self._sources = itertools.cycle(sources)
        self._frames = itertools.cycle(range(fleet.FRAMES_KEPT))
        self._packet_ids = itertools.cycle(range(1, 65_536))
        plain = socket.create_connection((mqtt.host, mqtt.tls_port), 10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname=mqtt.host)
        self.socket.sendall(connect_packet(f"bench-{sources[0].key.decode()}"))
        answer = self.socket.recv(4)
        if answer != b"\x20\x02\x00\x00":
            raise ConnectionError(f"the broker refuses {sources[0].key.decode()}: {answer.hex()}")
        self.sent = 0
        self._acknowledged_bytes = 0

    @property
    def unacknowledged(self) -> int:
        """Messages that the broker has not answered."""
        return self.sent - self._acknowledged_bytes // PUBACK_BYTES

    def send(self, count: int) -> None:
        """Sends so many messages of now."""
        packets = []
        for _ in range(count):
            source = next(self._sources)
            at = from_micros(time.time_ns() // 1000).isoformat(" ", "microseconds")[:26].encode()
            payload = b'{"timestamp":"%b","data":"%b"}' % (at, source.frames[next(self._frames)])
            packets.append(publish_packet(source.topic.encode(), next(self._packet_ids), payload))
        self.socket.sendall(b"".join(packets))
        self.sent += count

    def read(self) -> None:
        """Takes what acknowledgements are there; nothing else comes."""
        self._acknowledged_bytes += len(self.socket.recv(65_536))
        while self.socket.pending():
            self._acknowledged_bytes += len(self.socket.recv(65_536))


def publish(connections: list[Connection], messages: int, rate: float | None) -> None:
    """Sends `messages` in all, at `rate` a second or as fast as the broker acknowledges; waits for the last answer."""
    start = last = time.monotonic()
    sent = 0
    turn = itertools.cycle(connections)
    while sent < messages or any(connection.unacknowledged for connection in connections):
        due = messages if rate is None else min(messages, int((time.monotonic() - start) * rate))
        idle = 0
        while sent < due and idle < len(connections):
            connection = next(turn)
            count = min(BURST if rate is None else 1, due - sent, WINDOW - connection.unacknowledged)
            idle = 0 if count > 0 else idle + 1
            if count > 0:
                connection.send(count)
                sent += count
                last = time.monotonic()
            if rate is None and sent % (BURST * len(connections)) == 0:
                break
        _read(connections, 0.001 if sent == due or idle else 0)
        if time.monotonic() - last > STALL_SECONDS:
            raise TimeoutError(f"the broker does not acknowledge: {sent} messages were sent")


def _read(connections: list[Connection], seconds: float) -> None:
    readable, _, _ = select.select([connection.socket for connection in connections], [], [], seconds)
    for connection in connections:
        if connection.socket in readable:
            connection.read()


def open_connections(count: int) -> Iterator[Connection]:
    """The first controllers of the fleet, connected."""
    with closing(MetadataDatabase(load(PostgresSettings))) as database:
        by_controller: dict[bytes, list[Source]] = {}
        for source in fleet.sources(database.snapshot(), count):
            by_controller.setdefault(source.key, []).append(source)
    mqtt, certgen = load(MqttSettings), load(CertgenSettings)
    for key, sources in by_controller.items():
        yield Connection(sources, tls_context(certgen.url, key.decode()), mqtt)


def main() -> None:
    """Publishes and says how it went."""
    parser = argparse.ArgumentParser(description="Publishes the fleet's frames over mTLS at QoS 1.")
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--rate", type=float, help="messages a second; default: as fast as they are acknowledged")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    arguments = parser.parse_args()
    connections = list(open_connections(arguments.connections))
    began, start = time.time(), time.monotonic()
    publish(connections, arguments.messages, arguments.rate)
    seconds = time.monotonic() - start
    print(json.dumps({"messages": arguments.messages, "seconds": round(seconds, 3), "began": began}))


if __name__ == "__main__":
    main()
