"""What is sent while the faults go on: the simulator's steady load and frames of the suite's own, in one journal."""

import socket
import ssl
import subprocess
import threading
import time
from functools import partial
from pathlib import Path

import paho.mqtt.client as mqtt
from confluent_kafka import KafkaError
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from faces2.bridge.delivery import kafka_producer
from faces2.models.clock import utc_now
from faces2.models.messages import raw_message
from faces2.models.metadata import PinKey, Sensor, Snapshot
from faces2.models.topic import parse_topic
from faces2.service.settings import KafkaSettings, MqttSettings, load
from faces2.simulator.journal import FileJournal
from faces2.simulator.sources import Message, SensorSource
from faces2.stack.programs import FACES2
from faces2.stack.shell import die_with_parent
from tests.integration.helpers import certificate

CONFIRM_SECONDS = 300
"""A frame of our own goes through an outage of this length."""
STOP_SECONDS = 120
NO_SUBSCRIBERS = 16
"""The broker has a message and nobody to give it to: it forgets it."""


class Load:
    """`faces2 simulate` at a steady rate; it writes down every frame that Mosquitto has acknowledged."""

    def __init__(self, journal: Path, rate: float, log: Path) -> None:
        command = [FACES2, "simulate", "--rate", str(rate), "--journal", str(journal)]
        with log.open("w") as file:
            self._process = subprocess.Popen(
                die_with_parent(command), stdout=subprocess.PIPE, stderr=file, stdin=subprocess.DEVNULL, text=True
            )

    def stop(self) -> str:
        """Ends it; what it says of its frames. RuntimeError when some were never acknowledged."""
        self._process.terminate()
        said, _ = self._process.communicate(timeout=STOP_SECONDS)
        if self._process.returncode:
            raise RuntimeError(f"the simulator ended with {self._process.returncode}: {said}")
        return said.strip()


class Frames:
    """Frames of the suite's own, by the sensors of the sample fleet, at times that the simulator does not use."""

    def __init__(self, snapshot: Snapshot, seed: int, journal: Path, folder: Path) -> None:
        self._snapshot = snapshot
        self._seed = seed
        self._journal = FileJournal(journal)
        self._folder = folder
        self._lock = threading.Lock()
        self._sources: dict[object, list[SensorSource]] = {}

    def make(self, hours: float, count: int, mac: str | None = None) -> list[Message]:
        """Frames whose controllers' clocks are so many hours ahead; of one controller, or of all in turn."""
        with self._lock:
            if (sources := self._sources.get((hours, mac))) is None:
                pins = [(pin, sensor) for pin, sensor in self._snapshot.sensors.items() if mac in (None, pin.mac)]
                sources = [SensorSource(pin, sensor, self._seed) for pin, sensor in pins]
                self._sources[hours, mac] = sources
            at = time.time_ns() // 1000 + int(hours * 3600e6)
            return [sources[number % len(sources)].next(at) for number in range(count)]

    def of(self, pin: PinKey, sensor: Sensor, count: int) -> list[Message]:
        """Frames of a sensor that came in later."""
        source = SensorSource(pin, sensor, self._seed)
        return [source.next(time.time_ns() // 1000) for _ in range(count)]

    def to_kafka(self, messages: list[Message]) -> None:
        """As the bridge writes them; a message that is listed twice is sent twice. Returns when Kafka has them all."""
        deadline, left = time.monotonic() + CONFIRM_SECONDS, list(messages)
        while left:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(left)} frames were not confirmed by Kafka in {CONFIRM_SECONDS} s")
            left = _unconfirmed(left, deadline - time.monotonic())
        self._note(messages)

    def to_mqtt(self, messages: list[Message], *, broken: bool = False) -> None:
        """As a controller sends them, QoS 1; `broken`: the connection breaks before the broker's acknowledgements are
        read, and every message is sent a second time. Returns when all are acknowledged."""
        mac = parse_topic(messages[0].topic).mac
        sender = _Sender(mac, certificate(mac, self._folder))
        sender.send(messages, broken=broken)
        self._note(messages)

    def _note(self, messages: list[Message]) -> None:
        with self._lock:
            for message in dict.fromkeys(messages):
                self._journal.add(message)
            self._journal.flush()


def _unconfirmed(messages: list[Message], seconds: float) -> list[Message]:
    """Sends them by the bridge's producer; those that Kafka did not confirm may be there all the same."""
    settings = load(KafkaSettings)
    client = kafka_producer(settings, lambda _: None)
    left = set(range(len(messages)))

    def delivered(number: int, error: KafkaError | None, _: object) -> None:
        if error is None:
            left.discard(number)

    for number, message in enumerate(messages):
        record = raw_message(message.topic, message.payload, 1, False, utc_now())
        client.produce(settings.raw_topic, record.to_json(), record.device_mac, on_delivery=partial(delivered, number))
    client.flush(seconds)
    return [messages[number] for number in sorted(left)]


class _Sender:
    """One controller's session; paho sends again what was not acknowledged when it connects anew."""

    def __init__(self, mac: str, tls: ssl.SSLContext) -> None:
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, f"faults-{mac}-{time.time_ns()}", protocol=mqtt.MQTTv5)
        self._client.tls_set_context(tls)
        self._client.max_inflight_messages = 0
        self._client.on_connect = lambda _c, _u, _f, reason, _p: self._heard(not reason.is_failure)
        self._client.on_disconnect = lambda *_: self._heard(False)
        self._client.on_publish = lambda _c, _u, mid, reason, _p: self._answered(mid, reason)
        self._open: dict[int, Message] = {}
        self._online = False
        self._deadline = time.monotonic() + CONFIRM_SECONDS

    def send(self, messages: list[Message], *, broken: bool) -> None:
        self._connect()
        for message in messages:
            self._publish(message)
        if broken:
            while self._online and self._client.want_write():
                self._client.loop_write()
            if (raw := self._client.socket()) is not None:
                raw.shutdown(socket.SHUT_RDWR)
        while self._open:
            if not self._online:
                self._connect()
            self._client.loop(0.1)
        self._client.disconnect()

    def _connect(self) -> None:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        settings = load(MqttSettings)
        while not self._online:
            if time.monotonic() > self._deadline:
                raise RuntimeError(f"{len(self._open)} frames were not acknowledged in {CONFIRM_SECONDS} s")
            try:
                self._client.connect(settings.host, settings.tls_port, 30, clean_start=False, properties=properties)
                until = time.monotonic() + 10
                while not self._online and self._client.socket() is not None and time.monotonic() < until:
                    self._client.loop(0.1)
            except OSError:
                time.sleep(0.5)

    def _publish(self, message: Message) -> None:
        self._open[self._client.publish(message.topic, message.payload, qos=1).mid] = message

    def _heard(self, online: bool) -> None:
        self._online = online

    def _answered(self, mid: int, reason: ReasonCode) -> None:
        message = self._open.pop(mid)
        if reason.is_failure:
            raise RuntimeError(f"the broker refuses a frame of ours: {reason}")
        if reason.value == NO_SUBSCRIBERS:
            time.sleep(0.1)
            self._publish(message)
