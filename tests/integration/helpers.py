"""What the integration tests share: waiting, a controller, the table, the dead letters."""

import json
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import paho.mqtt.client as mqtt
import requests
from confluent_kafka import Consumer, TopicPartition
from paho.mqtt.enums import CallbackAPIVersion

from faces2.models.clock import from_micros
from faces2.models.dead_letter import Reason
from faces2.models.frame import build_frame, decode, format_hex
from faces2.models.mac import colon_mac
from faces2.models.metadata import PinKey, Sensor, Snapshot
from faces2.models.topic import sensor_topic
from faces2.service.settings import CertgenSettings, KafkaSettings, MqttSettings, load

T = TypeVar("T")


def wait_for(look: Callable[[], T], what: str, seconds: float = 60) -> T:
    """What `look` gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    found = look()
    while not found:
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s; last seen: {found!r}"
        time.sleep(0.1)
        found = look()
    return found


@dataclass(frozen=True)
class Stack:
    """The running stack, by its command."""

    faces2: Path
    root: Path

    def run(self, *arguments: str, timeout: float = 120) -> str:
        """What `faces2 …` prints; it must succeed."""
        done = subprocess.run(
            [self.faces2, *arguments], cwd=self.root, timeout=timeout, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """`faces2 …` in the background."""
        return subprocess.Popen(
            [self.faces2, *arguments],
            cwd=self.root,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def kill(self, name: str) -> None:
        """SIGKILL for a part; the supervisor starts it again."""
        from faces2.stack.environment import enter  # the stack's settings are in the environment by now
        from faces2.stack.supervisor import Supervisor

        os.kill(Supervisor(enter()).states()[name].pid, signal.SIGKILL)

    def ready(self) -> bool:
        """Whether all parts run and are ready."""
        return subprocess.run([self.faces2, "status"], cwd=self.root, capture_output=True, check=False).returncode == 0


class Rows:
    """What decoded_data holds."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def query(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._connection.cursor() as cursor:
            cursor.execute(text, values)
            return list(cursor.fetchall())

    def at(self, device_id: int, micros: int) -> dict[int, float]:
        """Values by datapoint of one device at one time."""
        text = "SELECT datapoint_id, value FROM decoded_data WHERE device_id = %s AND timestamp = %s"
        return dict(self.query(text, device_id, from_micros(micros)))

    def count(self, start: int, stop: int) -> int:
        """How many rows there are from `start` up to `stop`, in microseconds since 1970."""
        text = "SELECT count(*) FROM decoded_data WHERE timestamp >= %s AND timestamp < %s"
        return int(self.query(text, from_micros(start), from_micros(stop))[0][0])


@dataclass(frozen=True)
class Letter:
    """A dead letter as it stands in Kafka."""

    key: bytes | None
    value: bytes | None
    headers: dict[str, str]


class DeadLetters:
    """The dead letters that came in since this was made."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._consumer = Consumer({"bootstrap.servers": settings.brokers, "group.id": "tests"})
        topic = self._consumer.list_topics(settings.dead_letter_topic, timeout=10).topics[settings.dead_letter_topic]
        parts = [TopicPartition(settings.dead_letter_topic, partition) for partition in topic.partitions]
        for part in parts:
            part.offset = self._consumer.get_watermark_offsets(part, timeout=10)[1]
        self._consumer.assign(parts)
        self._seen: list[Letter] = []

    def find(self, reason: Reason, value: bytes) -> Letter:
        """The dead letter with this reason whose value holds `value`."""

        def look() -> Letter | None:
            for message in self._consumer.consume(1000, 0.2):
                assert message.error() is None
                headers = {name: text.decode() for name, text in message.headers() or []}
                self._seen.append(Letter(message.key(), message.value(), headers))
            hits = (x for x in self._seen if x.headers["reason"] == reason and value in (x.value or b""))
            return next(hits, None)

        return wait_for(look, f"a dead letter {reason} of {value[:80]!r}")

    def close(self) -> None:
        """Leaves the topic."""
        self._consumer.close()


def certificate(mac: str, folder: Path) -> ssl.SSLContext:
    """A client's TLS with the certificate that certgen issues for `mac`."""
    issued = requests.post(f"{load(CertgenSettings).url}/issue", json={"mac": colon_mac(mac)}, timeout=10).json()
    for name in ("client_cert", "private_key", "ca_cert"):
        (folder / f"{mac}.{name}").write_text(issued[name])
    context = ssl.create_default_context(cafile=str(folder / f"{mac}.ca_cert"))
    context.load_cert_chain(folder / f"{mac}.client_cert", folder / f"{mac}.private_key")
    return context


class Controller:
    """A controller that publishes with QoS 1 and knows what the broker answered."""

    def __init__(self, mac: str, folder: Path) -> None:
        self.mac = mac
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, f"test-{mac}", protocol=mqtt.MQTTv5)
        self._client.tls_set_context(certificate(mac, folder))
        self._answers: dict[int, int] = {}
        self._client.on_publish = lambda _c, _u, mid, code, _p: self._answers.__setitem__(mid, code.value)
        settings = load(MqttSettings)
        self._client.connect(settings.host, settings.tls_port)
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes | dict[str, Any]) -> int:
        """The reason code of the broker's answer; 0 or 16 (no subscriber) is taken."""
        content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        mid = self._client.publish(topic, content, qos=1).mid
        wait_for(lambda: mid in self._answers, f"an answer to {topic}", 10)
        return self._answers[mid]

    def close(self) -> None:
        """Leaves the broker."""
        self._client.disconnect()
        self._client.loop_stop()


def payload(micros: int, data: str) -> dict[str, Any]:
    """A sensor frame as controllers send it."""
    return {"timestamp": from_micros(micros).strftime("%Y-%m-%d %H:%M:%S.%f"), "data": data}


def now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def sensors_of(snapshot: Snapshot, mac: str) -> list[tuple[PinKey, Sensor]]:
    """A controller's sensors."""
    return [(pin, sensor) for pin, sensor in snapshot.sensors.items() if pin.mac == mac]


def example(sensor: Sensor) -> tuple[str, dict[int, float]]:
    """A frame of the sensor as hex, and the values that it holds by datapoint."""
    points = sensor.template.datapoints
    frame = build_frame(points, {point.datapoint_id: 3 + index for index, point in enumerate(points)})
    return format_hex(frame), {point.datapoint_id: decode(frame, point) for point in points}


def topic_of(pin: PinKey) -> str:
    """The topic on which the sensor at a pin reports."""
    return sensor_topic(*pin)
