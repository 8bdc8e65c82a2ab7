"""Enrich: records of raw-iot-data to frames with their sensor device's datapoints.

Input: lists of records. Output: lists of FrameGroup. Dead letters: what parse refuses, and frames of a controller or
pin that the metadata does not know. Access-control and alarm messages are counted and passed by.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from faces2.models.batches import FrameGroup
from faces2.models.clock import Clock, parse_usual_timestamps, utc_now
from faces2.models.dead_letter import DEAD, Reason, Record, Rejected, RejectedError, to_dead_letters
from faces2.models.metadata import Sensor, Snapshot
from faces2.service import metrics
from faces2.transforms.last_resort import divide, halve
from faces2.transforms.parse import arrival, parse_frame, parse_message, parse_time

STEP = "Enrich"

SnapshotSource = Callable[[], Callable[[], Snapshot]]
"""Called once in a worker's setup; what it gives is asked for the present snapshot for each batch."""


class Enriched(NamedTuple):
    """A batch after its look-up: frames by template and length, what was refused, how many of which other mode."""

    groups: list[FrameGroup]
    rejected: list[Rejected]
    passed_by: dict[str, int]


_Untimed = tuple[FrameGroup, list[object]]
"""A group, and its times as they were sent: they are read all at once."""


def enrich(records: list[Record], snapshot: Snapshot, check_crc: bool = False) -> Enriched:
    """Parses each record and finds the sensor that it came from when it arrived."""
    groups: dict[tuple[int, int], _Untimed] = {}
    rejected: list[Rejected] = []
    passed_by: dict[str, int] = {}
    for record in records:
        try:
            message = parse_message(record[1])
            if isinstance(message, str):
                passed_by[message] = passed_by.get(message, 0) + 1
                continue
            mac, connector, component, timestamp, data = message
            frame = parse_frame(data, check_crc)
            sensor = snapshot.unchanged(mac, connector, component)
            if sensor is None:
                sensor = snapshot.find_at(mac, connector, component, arrival(record[1]))
            if sensor is None:
                raise RejectedError(Reason.UNKNOWN_DEVICE, f"{mac[:64]} {connector[:64]} {component[:64]}")
            _add(groups, sensor, frame, timestamp, record)
        except RejectedError as error:
            rejected.append(Rejected(record, error.reason, str(error)))
    timed = [_timed(group, timestamps, rejected) for group, timestamps in groups.values()]
    return Enriched([group for group in timed if group.frames], rejected, passed_by)


def _add(
    groups: dict[tuple[int, int], _Untimed], sensor: Sensor, frame: bytes, timestamp: object, record: Record
) -> None:
    template = sensor.template
    key = id(template), len(frame)  # a changed template is another object with the same number
    untimed = groups.get(key)
    if untimed is None:
        if not template.datapoints:
            raise RejectedError(Reason.BAD_DATAPOINT, f"template {template.template_id} has no datapoints")
        untimed = groups[key] = FrameGroup(template), []
    group, timestamps = untimed
    group.frames.append(frame)
    group.device_ids.append(sensor.device_id)
    group.records.append(record)
    timestamps.append(timestamp)


def _timed(group: FrameGroup, timestamps: list[object], rejected: list[Rejected]) -> FrameGroup:
    """The group with its times; one by one, and without those that are none, only where they are not all as usual."""
    usual = parse_usual_timestamps(timestamps)
    if usual is not None:
        group.micros = usual
        return group
    good: list[int] = []
    micros: list[int] = []
    for row, timestamp in enumerate(timestamps):
        try:
            micros.append(parse_time(timestamp))
            good.append(row)
        except RejectedError as error:
            rejected.append(Rejected(group.records[row], error.reason, str(error)))
    frames, device_ids = [group.frames[row] for row in good], [group.device_ids[row] for row in good]
    return FrameGroup(group.template, frames, device_ids, micros, [group.records[row] for row in good])


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
        parts, rejected = divide(lambda some: enrich(some, snapshot, self._check_crc), records, halve, list)
        for part in parts:
            _count(*part)
            rejected += part.rejected
            if part.groups:
                yield part.groups
        if rejected:
            yield TaggedOutput(DEAD, to_dead_letters(rejected, STEP, self._topic, self._clock()))


def _count(groups: list[FrameGroup], rejected: list[Rejected], passed_by: dict[str, int]) -> None:
    metrics.CACHE_HITS.inc(sum(len(group.frames) for group in groups))
    metrics.CACHE_MISSES.inc(sum(item.reason is Reason.UNKNOWN_DEVICE for item in rejected))
    for mode, count in passed_by.items():
        metrics.PASSED_BY.labels(mode=mode).inc(count)
