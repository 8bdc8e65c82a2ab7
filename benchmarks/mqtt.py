"""MQTT: publishers over mTLS at QoS 1, through Mosquitto and the bridge, into the raw topic.

The topic's timestamps are the broker's (LogAppendTime), the frames' are the publishers': latency and rate are read from
the records afterwards, so measuring takes nothing from what is measured.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import requests
from confluent_kafka import Consumer, TopicPartition

from benchmarks import processes, stack, table, topics
from benchmarks.contender import WrongResultError
from benchmarks.figures import percentiles
from benchmarks.pipeline import pipeline
from faces2.service.settings import BridgeSettings, KafkaSettings, load

ROOT = Path(__file__).resolve().parents[1]
TOPIC = "bench-mqtt"
DEAD = "bench-mqtt-dead"
OUT = "bench-mqtt-out"
ARRIVE_SECONDS = 120
TOPICS: dict[str, object] = {
    "KAFKA_RAW_TOPIC": TOPIC,
    "KAFKA_DEAD_LETTER_TOPIC": DEAD,
    "KAFKA_PROCESSED_TOPIC": OUT,
}

Figures = dict[str, Any]


def measure(messages: int, seconds: float) -> list[Figures]:
    """Bridge alone and whole path, each at full rate (`messages`) and at half of what arrived (for `seconds`); then
    what the bridge takes from a queue that is full. Memory of the bridge after a tenth of the messages, and after all
    of them."""
    for topic in (TOPIC, DEAD, OUT):
        topics.fresh(topic, message_timestamp_type="LogAppendTime")
    measured = []
    with bridge() as process:
        publish(messages // 10)
        _arrived(0, messages // 10)
        before = processes.megabytes([process.pid])
        measured += _full_and_half("bridge alone", messages, seconds)
        after = processes.megabytes([process.pid])
        measured[0]["bridge_memory"] = {"megabytes": round(before), "after_ten_times": round(after)}
        table.empty()
        with pipeline("full", **TOPICS) as running:
            running.wait_ready()
            running.wait_for(topics.size(TOPIC), "faces2_messages_in_total")
            measured += _full_and_half("whole path, pipeline running", messages, seconds)
    return [*measured, _drain(messages)]


@contextmanager
def bridge() -> Iterator[subprocess.Popen[bytes]]:
    """The bridge, connected and subscribed."""
    process = stack.start("bridge", log=Path("bridge.log"), **TOPICS)
    try:
        url = f"http://127.0.0.1:{load(BridgeSettings).http_port}/health/ready"
        deadline = time.monotonic() + 60
        while not _answers(url):
            if time.monotonic() > deadline:
                raise RuntimeError("the bridge does not get ready; its log is bridge.log")
            time.sleep(0.1)
        yield process
    finally:
        stack.stop(process)


def publish(messages: int, rate: float | None = None) -> Figures:
    """Runs the publishers; what they say of it."""
    paced = [] if rate is None else ["--rate", str(rate)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.publisher", "--messages", str(messages), *paced],
        env=stack.environment(PYTHONPATH=ROOT),
        stdout=subprocess.PIPE,
        check=True,
    )
    said: Figures = json.loads(done.stdout)
    return said


def _full_and_half(path: str, messages: int, seconds: float) -> list[Figures]:
    full = _through(f"{path}, full rate", messages, None)
    rate = full["messages_per_s"] / 2
    return [full, _through(f"{path}, half of it", int(rate * seconds), rate)]


def _through(name: str, messages: int, rate: float | None) -> Figures:
    ends = _ends()
    said = publish(messages, rate)
    _arrived(sum(ends), messages)
    published = round(said["messages"] / said["seconds"])
    return {"name": name, "published_per_s": published, **_figures(ends, messages)}


def _drain(messages: int) -> Figures:
    """Mosquitto keeps the messages while the bridge is away; then it takes them, and nobody publishes."""
    ends = _ends()
    publish(messages)
    with bridge():
        _arrived(sum(ends), messages)
    figures = _figures(ends, messages)
    return {"name": "bridge from a full queue", "messages_per_s": figures["messages_per_s"]}


def _arrived(before: int, messages: int) -> None:
    deadline = time.monotonic() + ARRIVE_SECONDS
    while (arrived := topics.size(TOPIC) - before) < messages:
        if time.monotonic() > deadline:
            raise WrongResultError(f"{arrived} of {messages} messages came through the bridge")
        time.sleep(0.2)


def _ends() -> list[int]:
    consumer = _consumer()
    try:
        parts = [TopicPartition(TOPIC, partition) for partition in range(topics.PARTITIONS)]
        return [consumer.get_watermark_offsets(part, timeout=10)[1] for part in parts]
    finally:
        consumer.close()


def _figures(ends: list[int], messages: int) -> Figures:
    """Rate and latency of the records after `ends`."""
    consumer = _consumer()
    consumer.assign([TopicPartition(TOPIC, partition, end) for partition, end in enumerate(ends)])
    arrivals: list[float] = []
    latencies: list[float] = []
    while len(arrivals) < messages:
        for record in consumer.consume(5000, 10):
            arrived = record.timestamp()[1] / 1000
            sent = orjson.loads(record.value() or b"")["payload"]["timestamp"]
            arrivals.append(arrived)
            latencies.append(arrived - datetime.fromisoformat(sent).replace(tzinfo=UTC).timestamp())
    consumer.close()
    seconds = max(arrivals) - min(arrivals)
    return {"messages_per_s": round(len(arrivals) / max(seconds, 1e-3)), **percentiles(sorted(latencies))}


def _consumer() -> Consumer:
    return Consumer({"bootstrap.servers": load(KafkaSettings).brokers, "group.id": "bench-mqtt"})


def _answers(url: str) -> bool:
    try:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(url, timeout=2).ok
    except requests.RequestException:
        return False
