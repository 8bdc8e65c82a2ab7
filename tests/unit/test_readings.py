"""Mode sink: records of processed-iot-data to readings, or refusals with their reasons."""

from typing import Any

import apache_beam as beam
import orjson
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that

from faces2.models.batches import Readings
from faces2.models.dead_letter import DeadLetter, Reason, Record, RejectedError
from faces2.transforms.readings import ParseReadings, parse_reading, parse_readings

MICROS = 1_685_027_590_543_400


def reading(**changes: Any) -> bytes:
    fields = {"device_id": 5, "datapoint_id": 1, "value": 128.48, "timestamp": "2023-05-25T15:13:10.543400+00:00"}
    return orjson.dumps({key: value for key, value in (fields | changes).items() if value != "absent"})


def test_a_reading() -> None:
    assert parse_reading(reading()) == (MICROS, 5, 1, 128.48)
    assert parse_reading(reading(value=13874)) == (MICROS, 5, 1, 13874.0)
    assert isinstance(parse_reading(reading(value=13874))[3], float)


@pytest.mark.parametrize(
    ("value", "reason", "says"),
    [
        (None, Reason.BAD_JSON, "must be bytes"),
        (b"{", Reason.BAD_JSON, "line 1"),
        (b'"\xff"', Reason.BAD_UTF8, "UTF-8"),
        (b"null", Reason.BAD_MESSAGE, "no object"),
        (b"[]", Reason.BAD_MESSAGE, "no object"),
        (reading(device_id="absent"), Reason.BAD_MESSAGE, "'device_id' is missing"),
        (reading(timestamp="absent"), Reason.BAD_MESSAGE, "'timestamp' is missing"),
        (reading(device_id="5"), Reason.BAD_MESSAGE, "is no number"),
        (reading(device_id=5.0), Reason.BAD_MESSAGE, "is no number"),
        (reading(datapoint_id=True), Reason.BAD_MESSAGE, "is no number"),
        (reading(value="128.48"), Reason.BAD_MESSAGE, "is no number"),
        (reading(value=False), Reason.BAD_MESSAGE, "is no number"),
        (reading(value=None), Reason.BAD_MESSAGE, "is no number"),
        (reading(device_id=2**31), Reason.BAD_MESSAGE, "2147483648 or datapoint_id 1 is out of range"),
        (reading(datapoint_id=-(2**31) - 1), Reason.BAD_MESSAGE, "out of range"),
        (reading(timestamp=0), Reason.BAD_TIMESTAMP, "is a int"),
        (reading(timestamp="yesterday"), Reason.BAD_TIMESTAMP, "is not ISO 8601"),
    ],
)
def test_every_refusal_has_its_reason(value: bytes | None, reason: Reason, says: str) -> None:
    with pytest.raises(RejectedError, match=says) as refused:
        parse_reading(value)
    assert refused.value.reason is reason


def test_good_ones_go_on_when_others_do_not() -> None:
    records: list[Record] = [(b"5:1", reading()), (b"x", b"rubbish"), (b"6:1", reading(device_id=6))]
    readings, rejected = parse_readings(records)
    assert readings.device_id.tolist() == [5, 6]
    assert [readings.records[i] for i in readings.source] == [records[0], records[2]]
    assert [each.record for each in rejected] == [records[1]]
    assert len(parse_readings([(None, None)])[0]) == 0


def test_in_a_pipeline() -> None:
    def readings_hold(elements: list[Readings]) -> None:
        (readings,) = elements
        assert (readings.micros.tolist(), readings.value.tolist()) == ([MICROS], [128.48])

    def letters_hold(elements: list[list[DeadLetter]]) -> None:
        ((letter,),) = elements
        assert (letter.key, letter.value, letter.reason) == (b"k", b"rubbish", Reason.BAD_JSON)
        assert (letter.step, letter.topic) == ("ParseReadings", "processed")

    with TestPipeline(runner="FnApiRunner") as pipeline:
        batch = [(b"5:1", reading()), (b"k", b"rubbish")]
        readings, letters = pipeline | beam.Create([batch]) | ParseReadings("processed")
        assert_that(readings, readings_hold, label="readings")
        assert_that(letters, letters_hold, label="letters")
