"""What nobody foresaw: an exception costs the one record that raises it, and the rest goes on."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that
from structlog.testing import capture_logs

from faces2.models.batches import FrameGroup
from faces2.models.dead_letter import DeadLetter, Reason, Record
from faces2.models.frame import Datapoint
from faces2.models.metadata import PinKey, Sensor, Snapshot, Template
from faces2.transforms import decode, enrich, readings
from faces2.transforms.last_resort import divide, halve
from faces2.transforms.parse import Message

RECORDS: list[Record] = [(b"key", b"%d" % number) for number in range(100)]
AIR = Template(1, (Datapoint(1, "Temperature", 0, 2, "Int16", 2),))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def failing(*bad: int) -> Callable[[list[Record]], list[Record]]:
    def work(records: list[Record]) -> list[Record]:
        for number in bad:
            if RECORDS[number] in records:
                raise ZeroDivisionError(f"at {number}")
        return records

    return work


@pytest.mark.parametrize("bad", [(), (0,), (99,), (50,), (3, 4, 97), tuple(range(100))])
def test_only_those_that_raise_are_refused(bad: tuple[int, ...]) -> None:
    results, refused = divide(failing(*bad), RECORDS, halve, list)
    assert [record for result in results for record in result] == [
        record for number, record in enumerate(RECORDS) if number not in bad
    ]
    assert [(each.record, each.reason) for each in refused] == [
        (RECORDS[number], Reason.INTERNAL_ERROR) for number in bad
    ]
    assert all(each.detail.startswith("ZeroDivisionError: at ") for each in refused)


def test_a_batch_without_trouble_is_worked_once() -> None:
    calls = []
    assert divide(lambda records: calls.append(len(records)), RECORDS, halve, list) == ([None], [])
    assert calls == [100]


def test_the_trace_is_logged_once_a_batch() -> None:
    with capture_logs() as logged:
        divide(failing(*range(10)), RECORDS, halve, list)
    assert [(line["log_level"], line["records"]) for line in logged] == [("error", 10)]
    assert isinstance(logged[0]["exc_info"], ZeroDivisionError)


def test_no_memory_is_not_the_records_fault() -> None:
    def work(_: list[Record]) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        divide(work, RECORDS, halve, list)


def test_the_rest_of_a_decoded_batch_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [group([b"\0\1", b"\0\2", b"\0\3"]), group([b"\0\4"])]
    sound = decode.numbers

    def numbers(raw: Any, layout: Any) -> Any:
        if 2 in raw[:, 1]:
            raise IndexError("nobody foresaw it")
        return sound(raw, layout)

    monkeypatch.setattr(decode, "numbers", numbers)
    run(groups, decode.Decode("raw", lambda: NOW), b"\0\2", lambda out: sorted(out.value.tolist()), 3)


def test_the_rest_of_an_enriched_batch_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = Snapshot(1, {PinKey("m", 1, 1): Sensor(1, "air", AIR)})

    def parse(value: bytes) -> Message:
        if value == b"7":
            raise RecursionError("nobody foresaw it")
        return Message("m", "J1", "sensor-1", "2026-01-01", value.hex())

    monkeypatch.setattr(enrich, "parse_message", parse)
    step = enrich.Enrich(lambda: lambda: snapshot, "raw", clock=lambda: NOW)
    run(RECORDS, step, b"7", lambda out: [frame for each in out for frame in each.frames], 99)


def test_the_rest_of_parsed_readings_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(value: bytes) -> tuple[int, int, int, float]:
        return int(value), 1, 1, 1.0 / (int(value) - 7)

    monkeypatch.setattr(readings, "parse_reading", parse)
    step = readings.ParseReadings("processed", lambda: NOW)
    run(RECORDS, step, b"7", lambda out: out.micros.tolist(), 99)


def group(frames: list[bytes]) -> FrameGroup:
    return FrameGroup(AIR, frames, [1] * len(frames), [0] * len(frames), [(b"key", frame) for frame in frames])


def run(batch: list[Any], step: beam.PTransform, bad: bytes, items: Callable[[Any], list[Any]], whole: int) -> None:
    """The step gives `whole` items of a batch, and one dead letter: that of the record `bad`."""

    def check(letters: list[list[DeadLetter]]) -> None:
        (letter,) = [each for some in letters for each in some]
        assert (letter.value, letter.reason, letter.step) == (bad, Reason.INTERNAL_ERROR, type(step).__name__)
        assert "nobody foresaw it" in letter.detail or "ZeroDivisionError" in letter.detail

    def count(outputs: list[Any]) -> None:
        assert len([item for output in outputs for item in items(output)]) == whole

    with TestPipeline() as pipeline:
        out, dead = pipeline | beam.Create([batch]) | step
        assert_that(out, count, label="the rest")
        assert_that(dead, check, label="the dead letter")
