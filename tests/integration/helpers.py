"""What the integration tests share: waiting, a controller, the table, the dead letters."""

import json
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import paho.mqtt.client as mqtt
import requests
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from paho.mqtt.enums import CallbackAPIVersion

from faces2.io.kafka import producer
from faces2.io.topics import create_topics
from faces2.models.clock import from_micros
from faces2.models.dead_letter import Reason
from faces2.models.frame import build_frame, decode, format_hex
from faces2.models.mac import colon_mac
from faces2.models.messages import raw_message
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

    @property
    def supervisor(self) -> Any:
        """What starts and stops the parts."""
        from faces2.stack.environment import enter  # the stack's settings are in the environment by now
        from faces2.stack.supervisor import Supervisor

        return Supervisor(enter())

    def kill(self, name: str) -> None:
        """SIGKILL for a part; the supervisor starts it again."""
        self.signal(name, signal.SIGKILL)

    def signal(self, name: str, number: signal.Signals) -> None:
        """A signal for a part, as SIGSTOP, which freezes it."""
        os.kill(self.supervisor.states()[name].pid, number)

    def stop_part(self, name: str) -> None:
        """Stops a part; it stays away until it is started."""
        self.supervisor.stop(name)

    def start_part(self, name: str) -> None:
        """Starts a part and waits until all are ready."""
        self.supervisor.start(name)
        wait_for(self.ready, f"{name} ready again", 120)

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """The part is away, in good order, while the block runs."""
        self.supervisor.stop(name)
        try:
            yield
        finally:
            self.supervisor.start(name)

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

    def wait_for_all(self, frames: list[dict[str, Any]], seconds: float = 90) -> None:
        """Returns when the table holds every value of the simulator's frames."""
        expected = {
            (frame["timestamp"], frame["device_id"], int(point)): value
            for frame in frames
            for point, value in frame["values"].items()
        }
        since = min(key[0] for key in expected) / 1e6 - 1
        text = (
            "SELECT (extract(epoch FROM timestamp) * 1000000)::bigint, device_id, datapoint_id, value"
            " FROM decoded_data WHERE timestamp >= to_timestamp(%s)"
        )
        deadline = time.monotonic() + seconds
        while True:
            there = {row[:3]: row[3] for row in self.query(text, since)}
            left = sum(there.get(key) != value for key, value in expected.items())
            if not left:
                return
            assert time.monotonic() < deadline, f"{left} of {len(expected)} readings are missing"
            time.sleep(1)

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


def _letter(message: Message) -> Letter:
    assert message.error() is None
    return Letter(message.key(), message.value(), {name: text.decode() for name, text in message.headers() or []})


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
                self._seen.append(_letter(message))
            hits = (x for x in self._seen if x.headers["reason"] == reason and value in (x.value or b""))
            return next(hits, None)

        return wait_for(look, f"a dead letter {reason} of {value[:80]!r}")

    def take(self, count: int, seconds: float = 120) -> list[Letter]:
        """So many new ones, and what more comes within a second."""
        taken: list[Letter] = []

        def look() -> bool:
            more = self._consumer.consume(5000, 1)
            taken.extend(map(_letter, more))
            return len(taken) >= count and not more

        wait_for(look, f"{count} dead letters", seconds)
        return taken

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

    def publish_all(self, messages: list[tuple[str, bytes]]) -> list[int]:
        """The broker's answers to messages that are sent without waiting for each."""
        mids = [self._client.publish(topic, content, qos=1).mid for topic, content in messages]
        wait_for(lambda: all(mid in self._answers for mid in mids), "the broker's answers", 60)
        return [self._answers[mid] for mid in mids]

    def close(self) -> None:
        """Leaves the broker."""
        self._client.disconnect()
        self._client.loop_stop()


def payload(micros: int, data: str) -> dict[str, Any]:
    """A sensor frame as controllers send it."""
    return {"timestamp": from_micros(micros).strftime("%Y-%m-%d %H:%M:%S.%f"), "data": data}


def raw_value(mac: str, position: int, content: dict[str, Any], connector: int = 1) -> bytes:
    """What the bridge writes to the raw topic for a sensor's payload."""
    topic = sensor_topic(mac, connector, position)
    return raw_message(topic, json.dumps(content).encode(), 1, False, datetime.now(UTC)).to_json()


def send(records: list[tuple[str, bytes]], topic: str | None = None, headers: dict[str, str] | None = None) -> None:
    """Records straight into Kafka, by default into the raw topic."""
    settings = load(KafkaSettings)
    client = producer(settings)
    for key, value in records:
        client.produce(topic or settings.raw_topic, value, key, headers=list((headers or {}).items()))
    assert client.flush(60) == 0


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


def raw_record(pin: PinKey, micros: int, data: str) -> tuple[bytes, bytes]:
    """Key and value of a sensor's frame as the bridge writes them to the raw topic."""
    content = json.dumps(payload(micros, data)).encode()
    return pin.mac.encode(), raw_message(topic_of(pin), content, 1, False, from_micros(micros)).to_json()


class RawTopic:
    """A topic that is written to directly, and the places of what was written."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self.topic = topic
        self._producer = producer(settings)

    def send(self, records: Iterable[tuple[bytes | None, bytes | None]], at_ms: int = 0) -> list[tuple[int, int]]:
        """Partition and offset of each; `at_ms` is Kafka's time of them, 0: now."""
        places: list[tuple[int, int]] = []

        def told(error: object, message: Any) -> None:
            assert error is None
            places.append((message.partition(), message.offset()))

        for key, value in records:
            self._producer.produce(self.topic, value, key, timestamp=at_ms, on_delivery=told)
            self._producer.poll(0)
        assert self._producer.flush(30) == 0
        return places


def own_topics(settings: KafkaSettings, name: str) -> dict[str, str]:
    """New topics that the running pipeline does not read, as the settings of a command."""
    settings = settings.model_copy(
        update={"raw_topic": f"{name}-raw", "processed_topic": f"{name}-out", "dead_letter_topic": f"{name}-dead"}
    )
    create_topics(AdminClient({"bootstrap.servers": settings.brokers}), settings)
    return {"KAFKA_RAW_TOPIC": settings.raw_topic, "KAFKA_DEAD_LETTER_TOPIC": settings.dead_letter_topic}


def faces2(stack: Stack, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`faces2 …` to its end, whatever that is."""
    return subprocess.run(
        [stack.faces2, *arguments],
        cwd=stack.root,
        env=os.environ | environment,
        timeout=300,
        capture_output=True,
        text=True,
        check=False,
    )
