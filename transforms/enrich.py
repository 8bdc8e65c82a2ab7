"""Enrich: records of raw-iot-data to frames with their sensor device's datapoints.

Input: lists of records. Output: lists of FrameGroup. Dead letters: what parse refuses, and frames of a controller or
pin that the metadata does not know. Access-control and alarm messages are counted and passed by.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from faces2.models.batches import FrameGroup
from faces2.models.clock import Clock, utc_now
from faces2.models.dead_letter import DEAD, Reason, Record, Rejected, RejectedError, to_dead_letters
from faces2.models.metadata import Sensor, Snapshot
from faces2.service import metrics
from faces2.transforms.parse import parse_record

STEP = "Enrich"

SnapshotSource = Callable[[], Callable[[], Snapshot]]
"""Called once in a worker's setup; what it gives is asked for the present snapshot for each batch."""


class Enriched(NamedTuple):
    """A batch after its look-up: frames by template and length, what was refused, how many of which other mode."""

    groups: list[FrameGroup]
    rejected: list[Rejected]
    passed_by: dict[str, int]


def enrich(records: list[Record], snapshot: Snapshot, check_crc: bool = False) -> Enriched:
    """Parses each record and finds its sensor in `snapshot`."""
    groups: dict[tuple[int, int], FrameGroup] = {}
    rejected: list[Rejected] = []
    passed_by: dict[str, int] = {}
    for record in records:
        try:
            parsed = parse_record(record[1], check_crc)
            if isinstance(parsed, str):
                passed_by[parsed] = passed_by.get(parsed, 0) + 1
                continue
            mac, connector, component, micros, frame = parsed
            sensor = snapshot.find(mac, connector, component)
            if sensor is None:
                raise RejectedError(Reason.UNKNOWN_DEVICE, f"{mac[:64]} {connector[:64]} {component[:64]}")
            _add(groups, sensor, frame, micros, record)
        except RejectedError as error:
            rejected.append(Rejected(record, error.reason, str(error)))
    return Enriched(list(groups.values()), rejected, passed_by)


def _add(groups: dict[tuple[int, int], FrameGroup], sensor: Sensor, frame: bytes, micros: int, record: Record) -> None:
    template = sensor.template
    group = groups.get((template.template_id, len(frame)))
    if group is None:
        if not template.datapoints:
            raise RejectedError(Reason.BAD_DATAPOINT, f"template {template.template_id} has no datapoints")
        group = groups[template.template_id, len(frame)] = FrameGroup(template)
    group.frames.append(frame)
    group.device_ids.append(sensor.device_id)
    group.micros.append(micros)
    group.records.append(record)


class Enrich(beam.PTransform):
    """Gives (groups, dead letters). The snapshot is a side input where the runner can checkpoint one, else each worker
    asks `source` for it."""

    def __init__(
        self,
        source: SnapshotSource | None,
        topic: str,
        side_input: beam.pvalue.AsSideInput | None = None,
        check_crc: bool = False,
        clock: Clock = utc_now,
    ) -> None:
        super().__init__()
        if (source is None) == (side_input is None):
            raise ValueError("exactly one of source and side_input is needed")
        self._side_input = side_input
        self._fn = _EnrichFn(source, topic, check_crc, clock)

    def expand(self, batches: PCollection) -> Any:
        sides = [] if self._side_input is None else [self._side_input]
        out = batches | "Find" >> beam.ParDo(self._fn, *sides).with_outputs(DEAD, main="groups")
        return out.groups, out[DEAD]


class _EnrichFn(beam.DoFn):
    def __init__(self, source: SnapshotSource | None, topic: str, check_crc: bool, clock: Clock) -> None:
        self._source = source
        self._topic = topic
        self._check_crc = check_crc
        self._clock = clock
        self._current: Callable[[], Snapshot] | None = None

    def setup(self) -> None:
        if self._source is not None:
            self._current = self._source()

    def process(self, records: list[Record], side_input: Any = None) -> Iterator[Any]:
        snapshot = side_input if self._current is None else self._current()
        groups, rejected, passed_by = enrich(records, snapshot, self._check_crc)
        _count(groups, rejected, passed_by)
        if groups:
            yield groups
        if rejected:
            yield TaggedOutput(DEAD, to_dead_letters(rejected, STEP, self._topic, self._clock()))


def _count(groups: list[FrameGroup], rejected: list[Rejected], passed_by: dict[str, int]) -> None:
    metrics.CACHE_HITS.inc(sum(len(group.frames) for group in groups))
    metrics.CACHE_MISSES.inc(sum(item.reason is Reason.UNKNOWN_DEVICE for item in rejected))
    for mode, count in passed_by.items():
        metrics.PASSED_BY.labels(mode=mode).inc(count)
