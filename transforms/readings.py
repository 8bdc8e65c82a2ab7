"""ParseReadings: records of processed-iot-data to readings, for mode `sink`. The shape is models.messages.Reading.

Input: lists of records. Output: Readings. Dead letters: records that are no reading.
"""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection, TaggedOutput

from faces2.models.batches import Readings
from faces2.models.clock import Clock, parse_timestamp, utc_now
from faces2.models.dead_letter import DEAD, Reason, Record, Rejected, RejectedError, to_dead_letters
from faces2.models.messages import parse_json
from faces2.transforms.last_resort import divide, halve

STEP = "ParseReadings"
INT32 = range(-(2**31), 2**31)


def parse_reading(value: bytes | None) -> tuple[int, int, int, float]:
    """Microseconds since 1970, device, datapoint, value; RejectedError says why it is no reading."""
    message = parse_json(value)
    try:
        device_id, datapoint_id = message["device_id"], message["datapoint_id"]
        number, timestamp = message["value"], message["timestamp"]
    except KeyError as error:
        raise RejectedError(Reason.BAD_MESSAGE, f"{error} is missing") from None
    except TypeError:
        raise RejectedError(Reason.BAD_MESSAGE, "the record is no object") from None
    # By type and not by isinstance: to Python true is an int.
    if type(device_id) is not int or type(datapoint_id) is not int or type(number) not in (int, float):
        raise RejectedError(Reason.BAD_MESSAGE, "device_id, datapoint_id or value is no number")
    if device_id not in INT32 or datapoint_id not in INT32:
        raise RejectedError(Reason.BAD_MESSAGE, f"device_id {device_id} or datapoint_id {datapoint_id} is out of range")
    try:
        return parse_timestamp(timestamp), device_id, datapoint_id, float(number)
    except ValueError as error:
        raise RejectedError(Reason.BAD_TIMESTAMP, str(error)) from None


def parse_readings(records: list[Record]) -> tuple[Readings, list[Rejected]]:
    """The readings of a batch, and what is none."""
    rows, kept, rejected = [], [], []
    for record in records:
        try:
            rows.append(parse_reading(record[1]))
            kept.append(record)
        except RejectedError as error:
            rejected.append(Rejected(record, error.reason, str(error)))
    micros, device_ids, datapoint_ids, values = zip(*rows, strict=True) if rows else ((), (), (), ())
    readings = Readings(
        np.array(micros, np.int64),
        np.array(device_ids, np.int32),
        np.array(datapoint_ids, np.int32),
        np.array(values, np.float64),
        np.arange(len(rows), dtype=np.int32),
        kept,
    )
    return readings, rejected


class ParseReadings(beam.PTransform):
    """Gives (readings, dead letters)."""

    def __init__(self, topic: str, clock: Clock = utc_now) -> None:
        super().__init__()
        self._fn = _ParseFn(topic, clock)

    def expand(self, batches: PCollection) -> Any:
        out = batches | "Parse" >> beam.ParDo(self._fn).with_outputs(DEAD, main="readings")
        return out.readings, out[DEAD]


class _ParseFn(beam.DoFn):
    def __init__(self, topic: str, clock: Clock) -> None:
        self._topic = topic
        self._clock = clock

    def process(self, records: list[Record]) -> Iterator[Any]:
        parts, rejected = divide(parse_readings, records, halve, list)
        for readings, refused in parts:
            rejected += refused
            if len(readings):
                yield readings
        if rejected:
            yield TaggedOutput(DEAD, to_dead_letters(rejected, STEP, self._topic, self._clock()))
