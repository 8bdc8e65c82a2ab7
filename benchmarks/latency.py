"""Latency: from the publish of a frame, whose timestamp is that moment, to the commit of its rows.

PostgreSQL keeps when each transaction was committed, so every row is counted, and looking at it takes nothing from the
run. The figures do not hold the last few milliseconds, in which the disk confirms the commit.
"""

import time
from collections.abc import Mapping
from typing import Any

from benchmarks import fleet, mqtt, table, topics
from benchmarks.contender import WrongResultError
from benchmarks.figures import percentiles
from benchmarks.fleet import Source
from benchmarks.messages import Workload
from benchmarks.mqtt import OUT, TOPIC, TOPICS, bridge
from benchmarks.ours import LOW_LATENCY
from benchmarks.pipeline import Pipeline, pipeline
from faces2.io.kafka import producer
from faces2.models.clock import from_micros
from faces2.service.settings import KafkaSettings, load

KAFKA_RATES = (100, 1000, 5000)
MQTT_RATES = (100, 1000)
WARM_UP_SECONDS = 5
TICK_SECONDS = 0.002

SETTINGS: dict[str, Mapping[str, object]] = {"default": {}, "low latency": LOW_LATENCY}

Figures = dict[str, Any]


def measure(work: Workload, seconds: float) -> list[Figures]:
    """Each rate for so many seconds, for each of SETTINGS; the pipeline publishes readings, as it does by default."""
    measured = []
    for name, settings in SETTINGS.items():
        for topic in (TOPIC, OUT):
            topics.fresh(topic)
        table.empty()
        with pipeline("full", **TOPICS, **settings) as running, bridge():
            running.wait_ready()
            _produce(work.sources, 200 * WARM_UP_SECONDS, 200)
            running.wait_for(topics.size(TOPIC), "faces2_messages_in_total")
            for rate in KAFKA_RATES:
                figures = _one(running, lambda count, rate=rate: _produce(work.sources, count, rate), rate, seconds)
                measured.append({"settings": name, "into": "Kafka", **figures})
            for rate in MQTT_RATES:
                figures = _one(running, lambda count, rate=rate: mqtt.publish(count, rate), rate, seconds)
                measured.append({"settings": name, "into": "MQTT", **figures})
    return measured


def _one(running: Pipeline, send: Any, rate: int, seconds: float) -> Figures:
    frames = int(rate * seconds)
    before, since = topics.size(TOPIC), time.time()
    send(frames)
    running.wait_for(before + frames, "faces2_messages_in_total")
    latencies = _when_all_are_in(since, frames)
    return {"frames_per_s": rate, **percentiles(latencies)}


def _when_all_are_in(since: float, frames: int) -> list[float]:
    """A frame gives at least one row; the last bundle is committed when the number no longer grows."""
    deadline, last = time.monotonic() + 30, -1
    while time.monotonic() < deadline:
        latencies = table.commit_latencies(since)
        if len(latencies) == last and last >= frames:
            return latencies
        last = len(latencies)
        time.sleep(2)
    raise WrongResultError(f"{last} rows of {frames} frames")


def _produce(sources: list[Source], frames: int, rate: float) -> None:
    """Frames of now into the raw topic, evenly over time."""
    sender = producer(load(KafkaSettings), _failed)
    start, sent = time.monotonic(), 0
    while sent < frames:
        due = min(frames, int((time.monotonic() - start) * rate))
        for index in range(sent, due):
            source = sources[index % len(sources)]
            at = from_micros(time.time_ns() // 1000).isoformat(" ", "microseconds")[:26].encode()
            sender.produce(TOPIC, fleet.value(source, at, source.frames[index % fleet.FRAMES_KEPT]), source.key)
        sent = due
        sender.poll(TICK_SECONDS)
    sender.flush(30)


def _failed(error: object, _: object) -> None:
    raise RuntimeError(f"Kafka did not take a frame: {error}")
