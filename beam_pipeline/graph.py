"""The graph: which step follows which, for each mode. One Python stage on any runner; dead letters of every step."""

from dataclasses import dataclass
from enum import StrEnum

import apache_beam as beam
from apache_beam.pvalue import AsSingleton, PCollection
from apache_beam.transforms.window import FixedWindows, GlobalWindows

from faces2.io.kafka import WriteRecords, count_dead_letters, dead_letter_records, reading_records
from faces2.io.write_readings import WriteToTimescale
from faces2.models.metadata import Snapshot
from faces2.service.settings import KafkaSettings, PipelineSettings, TimescaleSettings
from faces2.transforms.batch import Batch
from faces2.transforms.decode import Decode
from faces2.transforms.enrich import Enrich, SnapshotSource
from faces2.transforms.readings import ParseReadings


class Mode(StrEnum):
    """What the pipeline does; `process` and `sink` are the two halves of `full`, to be scaled apart."""

    FULL = "full"
    PROCESS = "process"
    SINK = "sink"


@dataclass(frozen=True)
class Graph:
    """What the graph is built from. `metadata` is a snapshot where the runner takes side inputs, else a source that
    each worker opens for itself. `publish` is about mode full: whether readings also go to the processed topic."""

    mode: Mode
    kafka: KafkaSettings
    timescale: TimescaleSettings | None
    pipeline: PipelineSettings
    metadata: Snapshot | SnapshotSource | None
    publish: bool = True

    @property
    def source_topic(self) -> str:
        """The topic that this mode reads."""
        return self.kafka.processed_topic if self.mode is Mode.SINK else self.kafka.raw_topic

    def build(self, pipeline: beam.Pipeline, read: beam.PTransform) -> None:
        """Puts the steps behind `read`, which gives records (key, value)."""
        batches = pipeline | "ReadFromKafka" >> read | "Batch" >> Batch(self.pipeline.gather_size, self.source_topic)
        readings, dead = self._readings(pipeline, batches)
        windows = readings | "Window" >> beam.WindowInto(FixedWindows(self.pipeline.processing_interval))
        if self.mode is not Mode.PROCESS:
            assert self.timescale is not None
            windows, refused = windows | "Write" >> WriteToTimescale(
                self.timescale, self.pipeline.batch_size, self.source_topic
            )
            dead.append(refused | "Unwindow" >> beam.WindowInto(GlobalWindows()))
        if self.mode is Mode.PROCESS or (self.mode is Mode.FULL and self.publish):
            windows | "Publish" >> WriteRecords(self.kafka, self.kafka.processed_topic, reading_records)
        (
            dead
            | "AllDeadLetters" >> beam.Flatten()
            | "DeadLetters"
            >> WriteRecords(self.kafka, self.kafka.dead_letter_topic, dead_letter_records, count_dead_letters)
        )

    def _readings(self, pipeline: beam.Pipeline, batches: PCollection) -> tuple[PCollection, list[PCollection]]:
        if self.mode is Mode.SINK:
            readings, dead = batches | "ParseReadings" >> ParseReadings(self.source_topic)
            return readings, [dead]
        side_input = source = None
        if isinstance(self.metadata, Snapshot):
            side_input = AsSingleton(pipeline | "Metadata" >> beam.Create([self.metadata], reshuffle=False))
        else:
            source = self.metadata
        groups, unknown = batches | "Enrich" >> Enrich(
            source, self.source_topic, side_input, self.pipeline.pipeline_crc_check
        )
        readings, undecoded = groups | "Decode" >> Decode(self.source_topic)
        return readings, [unknown, undecoded]
