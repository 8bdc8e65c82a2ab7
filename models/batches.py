"""What flows between the pipeline's steps: every element is a batch, and readings are columns."""

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from faces2.models.dead_letter import Record
from faces2.models.metadata import Template

T = TypeVar("T", bound=np.generic)


@dataclass(slots=True)
class FrameGroup:
    """Frames of one template and one length, so that they can be decoded together; all lists are as long. `micros` is
    the controllers' time since 1970."""

    template: Template
    frames: list[bytes] = field(default_factory=list)
    device_ids: list[int] = field(default_factory=list)
    micros: NDArray[np.int64] | list[int] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def take(self, rows: slice) -> "FrameGroup":
        """The chosen frames."""
        return FrameGroup(
            self.template, self.frames[rows], self.device_ids[rows], self.micros[rows], self.records[rows]
        )


@dataclass(frozen=True, slots=True)
class Readings:
    """One reading a row: time in microseconds since 1970, ids, value; `source` is the row's index into `records`."""

    micros: NDArray[np.int64]
    device_id: NDArray[np.int32]
    datapoint_id: NDArray[np.int32]
    value: NDArray[np.float64]
    source: NDArray[np.int32]
    records: list[Record]

    def __len__(self) -> int:
        return len(self.micros)

    def take(self, rows: NDArray[np.bool_] | slice) -> "Readings":
        """The chosen rows, with the same records behind them."""
        return Readings(
            self.micros[rows],
            self.device_id[rows],
            self.datapoint_id[rows],
            self.value[rows],
            self.source[rows],
            self.records,
        )


def join(parts: list[Readings]) -> Readings:
    """All rows of `parts`, in their order."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.records) for part in parts)])
    return Readings(
        _concat([part.micros for part in parts], np.int64),
        _concat([part.device_id for part in parts], np.int32),
        _concat([part.datapoint_id for part in parts], np.int32),
        _concat([part.value for part in parts], np.float64),
        _concat([part.source + start for part, start in zip(parts, starts, strict=False)], np.int32),
        [record for part in parts for record in part.records],
    )


def _concat(columns: list[NDArray[T]], dtype: type[T]) -> NDArray[T]:
    return np.concatenate(columns).astype(dtype, copy=False) if columns else np.empty(0, dtype)
