"""DirectRunner: a bounded run over what the topic holds now, in this process."""

from collections.abc import Mapping

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from prometheus_client import REGISTRY, CollectorRegistry

from faces2.io.kafka_range import OffsetRange, ReadRanges, whole_topic
from faces2.runners.base import Build
from faces2.service.health import Check
from faces2.service.settings import KafkaSettings


class DirectRunner:
    """Reads `ranges`, or each partition from its start up to `max_records` in all, and ends."""

    side_inputs = True
    streaming = False
    registry: CollectorRegistry = REGISTRY
    checks: Mapping[str, Check] = {}

    def __init__(
        self, kafka: KafkaSettings, max_records: int | None = None, ranges: list[OffsetRange] | None = None
    ) -> None:
        self._kafka = kafka
        self._max_records = max_records
        self._ranges = ranges

    def run(self, build: Build, topic: str) -> None:
        """Runs to the end. SIGTERM ends the process at once: what was done is done, and may be done again."""
        ranges = self._ranges
        if ranges is None:
            ranges = limit(whole_topic(self._kafka, topic), self._max_records)
        options = PipelineOptions(["--runner=FnApiRunner", "--direct_num_workers=1"])
        pipeline = beam.Pipeline(options=options)
        build(pipeline, ReadRanges(self._kafka, ranges))
        pipeline.run().wait_until_finish()


def limit(ranges: list[OffsetRange], max_records: int | None) -> list[OffsetRange]:
    """The first `max_records` of the ranges, partition after partition."""
    limited = []
    left = max_records
    for part in ranges:
        length = part.size if left is None else min(part.size, left)
        left = None if left is None else left - length
        if length:
            limited.append(part._replace(stop=part.start + length))
    return limited
