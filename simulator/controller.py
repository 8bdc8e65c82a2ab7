"""One controller: its MQTT session over mTLS and its own queue of what is not acknowledged.

All calls come from one thread, but `connect`, which waits for the network and may run in another one: until it
has returned nothing else of the controller is called that touches the connection.
"""

import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt import client as mqtt
from paho.mqtt.client import ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from faces2.service.logs import get_logger
from faces2.simulator.sources import Message

log = get_logger(__name__)

WINDOW = 500
"""Messages in flight of one controller, if the broker allows as many."""

_NO_SUBSCRIBERS = 16
"""The broker has the message and nobody to give it to: it forgets it, so it must be sent again."""
_PAUSE = 1.0
_KEEPALIVE = 30


@dataclass(slots=True)
class Counts:
    """The fleet's messages; `frames` are the sensor frames among the acknowledged ones."""

    made: int = 0
    acknowledged: int = 0
    frames: int = 0
    refused: int = 0
    dropped: int = 0


class Controller:
    """Publishes at QoS 1 and keeps every message until the broker has acknowledged it."""

    def __init__(
        self,
        mac: str,
        *,
        broker: tuple[str, int],
        tls: Callable[[], ssl.SSLContext],
        queue_size: int,
        acknowledged: Callable[[Message], None],
        counts: Counts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.mac = mac
        self._counts = counts
        self.online = False
        self.started = False  # has been online once: makes frames from then on
        self._tls = tls
        self._has_tls = False
        self._queue_size = queue_size
        self._acknowledged = acknowledged
        self._clock = clock
        self._queue: deque[Message] = deque()
        self._in_flight: dict[int, Message] = {}
        self._unheard: list[Message] = []
        self._pause_ends = 0.0
        self._window = WINDOW
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, f"f2-{mac}", protocol=mqtt.MQTTv5)
        self._client.max_inflight_messages = 0  # our own window holds, so paho queues nothing and sends in order
        self._client.connect_async(*broker, keepalive=_KEEPALIVE)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish

    @property
    def queued(self) -> int:
        """Messages that wait to be sent."""
        return len(self._queue) + len(self._unheard)

    @property
    def in_flight(self) -> int:
        """Messages sent and not acknowledged."""
        return len(self._in_flight)

    @property
    def backlogged(self) -> bool:
        """Whether the broker takes fewer messages than are made."""
        return self.online and self.queued >= self._window

    @property
    def socket(self) -> ssl.SSLSocket | None:
        """The connection's socket while there is one."""
        socket = self._client.socket()
        return socket if isinstance(socket, ssl.SSLSocket) else None

    def offer(self, message: Message) -> None:
        """Queues the message; with no room left it is counted as dropped."""
        self._counts.made += 1
        if self.queued + self.in_flight >= self._queue_size:
            if self._counts.dropped == 0:
                log.error("queue full: messages are dropped", mac=self.mac, size=self._queue_size)
            self._counts.dropped += 1
            return
        self._queue.append(message)

    def connect(self) -> None:
        """Gets the certificate, the first time, and opens the connection; OSError where either can not be had."""
        if not self._has_tls:
            self._client.tls_set_context(self._tls())
            self._has_tls = True
        self._client.reconnect()  # paho sends again what was in flight when the broker has accepted us

    def read(self) -> None:
        """Takes what the broker sent, TLS's buffer included, which select does not see."""
        self._client.loop_read()
        while (socket := self.socket) and socket.pending():
            self._client.loop_read()

    def send(self) -> bool:
        """Publishes what is queued, as far as the window goes; whether the socket can take no more for now."""
        if not self.online:
            return False
        if self._unheard and self._clock() >= self._pause_ends:
            self._queue.extendleft(reversed(self._unheard))
            self._unheard.clear()
        while self._queue and self.in_flight < self._window and not self._client.want_write():
            self._publish(self._queue.popleft())
        if self._client.want_write():
            self._client.loop_write()
        return self._client.want_write()

    def keep_alive(self) -> None:
        """Pings when it is time, and closes a connection that does not answer; call it every second."""
        self._client.loop_misc()

    def close(self) -> None:
        """Says good-bye to the broker."""
        if self.socket is not None:
            self._client.disconnect()
            self._client.loop_write()

    def _publish(self, message: Message) -> None:
        info = self._client.publish(message.topic, message.payload, qos=1)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:  # its packet id is still in use
            self._queue.appendleft(message)
        else:  # on a lost connection, too, paho keeps it and sends it after the next
            self._in_flight[info.mid] = message

    def _on_connect(
        self,
        _client: mqtt.Client,
        _data: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        properties: object,
    ) -> None:
        if reason.is_failure:
            log.warning("refused by the broker", mac=self.mac, reason=str(reason))
            return
        self._window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        self.online = self.started = True
        log.info("connected", mac=self.mac, queued=self.queued, in_flight=self.in_flight)

    def _on_disconnect(
        self, _client: mqtt.Client, _data: object, _flags: DisconnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        event = "disconnected" if self.online else "connection closed before the broker accepted us"
        log.info(event, mac=self.mac, reason=str(reason), queued=self.queued, in_flight=self.in_flight)
        self.online = False

    def _on_publish(
        self, _client: mqtt.Client, _data: object, mid: int, reason: ReasonCode, _properties: object
    ) -> None:
        message = self._in_flight.pop(mid)
        if reason.value == _NO_SUBSCRIBERS:
            self._unheard.append(message)
            self._pause_ends = self._clock() + _PAUSE
        elif reason.is_failure:
            if self._counts.refused == 0:
                log.error("message refused", mac=self.mac, topic=message.topic, reason=str(reason))
            self._counts.refused += 1
        else:
            self._counts.acknowledged += 1
            self._counts.frames += message.sensor is not None
            self._acknowledged(message)
