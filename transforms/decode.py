"""Decode: frames to readings, all frames of a template at once, as numpy columns over their bytes.

Input: lists of FrameGroup. Output: Readings. A datapoint that does not fit its frame, or is no finite number, spoils
only itself: the other readings go on, and the frame is also a dead letter that names what failed.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection, TaggedOutput
from numpy.typing import NDArray

from faces2.models.batches import FrameGroup, Readings, join
from faces2.models.clock import Clock, utc_now
from faces2.models.dead_letter import DEAD, Reason, Record, Rejected, to_dead_letters
from faces2.models.frame import Datapoint, Layout, LayoutError, layout_of
from faces2.models.metadata import Template
from faces2.transforms.last_resort import divide

STEP = "Decode"


def decode_groups(groups: list[FrameGroup]) -> tuple[Readings, list[Rejected]]:
    """The readings of all frames, and the frames of which some datapoint could not be read."""
    parts, rejected = [], []
    for group in groups:
        readings, failed = decode_group(group)
        parts.append(readings)
        rejected += failed
    return join(parts), rejected


def decode_group(group: FrameGroup) -> tuple[Readings, list[Rejected]]:
    """Decodes frames of one template and one length (rows) datapoint by datapoint (columns)."""
    count, size = len(group.frames), len(group.frames[0])
    matrix = np.frombuffer(b"".join(group.frames), np.uint8).reshape(count, size)
    layouts, broken = _layouts(group.template)
    fitting = [(datapoint, layout) for datapoint, layout in layouts if layout.end <= size]
    short = [f"{datapoint.label}: outside {size} bytes" for datapoint, layout in layouts if layout.end > size]

    values = np.empty((count, len(fitting)))
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
        for column, (datapoint, layout) in enumerate(fitting):
            values[:, column] = numbers(matrix[:, layout.offset : layout.end], layout) / 10.0**datapoint.decimals
    finite = np.isfinite(values)

    rejected = _reject(group, [datapoint for datapoint, _ in fitting], finite, short, list(broken))
    ids = np.array([datapoint.datapoint_id for datapoint, _ in fitting], np.int32)
    readings = Readings(
        np.repeat(np.array(group.micros, np.int64), len(fitting)),
        np.repeat(np.array(group.device_ids, np.int32), len(fitting)),
        np.tile(ids, count),
        values.reshape(-1),
        np.repeat(np.arange(count, dtype=np.int32), len(fitting)),
        group.records,
    )
    return (readings if finite.all() else readings.take(finite.reshape(-1))), rejected


def numbers(raw: NDArray[np.uint8], layout: Layout) -> NDArray[np.float64]:
    """The numbers in `raw`, one a row of `layout.size` bytes; sizes that numpy has no type for are widened."""
    if layout.byteorder == "little":
        raw = raw[:, ::-1]
    size = layout.size
    if size not in (1, 2, 4, 8):
        size = 4 if size == 3 else 8
        wide = np.zeros((len(raw), size), np.uint8)
        if layout.kind == "i":
            wide[raw[:, 0] >= 0x80] = 0xFF
        wide[:, size - layout.size :] = raw
        raw = wide
    return np.ascontiguousarray(raw).view(f">{layout.kind}{size}")[:, 0].astype(np.float64)


def halve_groups(groups: list[FrameGroup]) -> tuple[list[FrameGroup], list[FrameGroup]] | None:
    """Two parts of the groups, or of a single group's frames; None when there is but one frame."""
    if len(groups) > 1:
        return groups[: len(groups) // 2], groups[len(groups) // 2 :]
    middle = len(groups[0].frames) // 2
    return ([groups[0].take(slice(0, middle))], [groups[0].take(slice(middle, None))]) if middle else None


def records_of(groups: list[FrameGroup]) -> list[Record]:
    """The records behind all frames."""
    return [record for group in groups for record in group.records]


@lru_cache(maxsize=4096)
def _layouts(template: Template) -> tuple[tuple[tuple[Datapoint, Layout], ...], tuple[str, ...]]:
    usable, broken = [], []
    for datapoint in template.datapoints:
        try:
            usable.append((datapoint, layout_of(datapoint)))
        except LayoutError as error:
            broken.append(str(error))
    return tuple(usable), tuple(broken)


def _reject(
    group: FrameGroup, datapoints: list[Datapoint], finite: NDArray[np.bool_], short: list[str], broken: list[str]
) -> list[Rejected]:
    """A frame with several failures has the reason of the first kind of: too short, bad metadata, not finite."""
    if not short and not broken and finite.all():
        return []
    rejected = []
    for row, record in enumerate(group.records):
        failed = short + broken
        failed += [f"{datapoints[i].label}: not finite" for i in np.flatnonzero(~finite[row])]
        if failed:
            reason = Reason.SHORT_FRAME if short else Reason.BAD_DATAPOINT
            rejected.append(Rejected(record, reason, "; ".join(failed)))
    return rejected


class Decode(beam.PTransform):
    """Gives (readings, dead letters)."""

    def __init__(self, topic: str, clock: Clock = utc_now) -> None:
        super().__init__()
        self._fn = _DecodeFn(topic, clock)

    def expand(self, groups: PCollection) -> Any:
        out = groups | "Columns" >> beam.ParDo(self._fn).with_outputs(DEAD, main="readings")
        return out.readings, out[DEAD]


class _DecodeFn(beam.DoFn):
    def __init__(self, topic: str, clock: Clock) -> None:
        self._topic = topic
        self._clock = clock

    def process(self, groups: list[FrameGroup]) -> Iterator[Any]:
        parts, rejected = divide(decode_groups, groups, halve_groups, records_of)
        for readings, refused in parts:
            rejected += refused
            if len(readings):
                yield readings
        if rejected:
            yield TaggedOutput(DEAD, to_dead_letters(rejected, STEP, self._topic, self._clock()))
