"""Mode `process` as it would be with Beam's own WriteToKafka in the place of ours, run as a program of its own.

    .venv/bin/python -m benchmarks.write_to_kafka

It is Java's: each record goes from Python over to a harness of Java's, one element a record.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.io.kafka import WriteToKafka
from apache_beam.transforms.window import GlobalWindows

from benchmarks import stack, topics
from benchmarks.ours import OUT, Ours
from benchmarks.pipeline import Pipeline, group_of_its_own
from faces2.beam_pipeline import graph, main
from faces2.io.kafka import WriteRecords, reading_records
from faces2.models.batches import Readings
from faces2.service.settings import FlinkSettings, load
from faces2.service.shared_metrics import share_metrics

LOG = Path("write-to-kafka.log")
ROOT = Path(__file__).resolve().parents[1]
"""The benchmarks are no installed package."""


class ProcessByWriteToKafka(Ours):
    """As mode `process`; how far it is, the topic says."""

    def __init__(self) -> None:
        super().__init__("process-WriteToKafka", "process", "the same by Beam's WriteToKafka", {}, publish=True)

    @contextmanager
    def _running(self) -> Iterator[Pipeline]:
        command = [sys.executable, "-m", "benchmarks.write_to_kafka"]
        settings = group_of_its_own() | self._settings | {"PYTHONPATH": ROOT}
        process = stack.start_program(command, LOG, settings=settings)
        try:
            yield Pipeline(process)
        finally:
            stack.stop(process)

    def _done(self, _: Pipeline) -> int:
        return topics.size(OUT)


class _WriteReadings(beam.PTransform):
    """Stands in for WriteRecords where readings are written."""

    def __init__(self, kafka: Any, topic: str, expansion_service: str) -> None:
        super().__init__()
        config = {"bootstrap.servers": kafka.brokers, "acks": "all", "compression.type": "lz4", "linger.ms": "5"}
        self._write = WriteToKafka(config, topic, expansion_service=expansion_service)

    def expand(self, batches: Any) -> Any:
        pairs = batches | "Pairs" >> beam.FlatMap(_pairs).with_output_types(tuple[bytes, bytes])
        return pairs | "Unwindow" >> beam.WindowInto(GlobalWindows()) | "Write" >> self._write


def _pairs(readings: Readings) -> Iterator[tuple[bytes | None, bytes | None]]:
    for key, value, _ in reading_records(readings):
        yield key, value


class _Graph(graph.Graph):
    """The graph, but for the step that publishes."""

    def build(self, pipeline: beam.Pipeline, read: Any) -> None:
        def write(kafka: Any, topic: str, to_records: Any, *rest: Any) -> beam.PTransform:
            if to_records is reading_records:
                return _WriteReadings(kafka, topic, read._expansion_service)
            return WriteRecords(kafka, topic, to_records, *rest)

        graph.WriteRecords = write  # type: ignore[misc, assignment]
        super().build(pipeline, read)


if __name__ == "__main__":
    share_metrics(load(FlinkSettings).work_dir / "metrics")
    main.Graph = _Graph  # type: ignore[misc]
    main.main(main.RunnerName.FLINK, graph.Mode.PROCESS)
