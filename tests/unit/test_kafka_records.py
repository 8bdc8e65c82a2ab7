"""What is sent to Kafka: readings as models.messages.Reading has them, dead letters unchanged, none unconfirmed."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faces2.io import kafka
from faces2.io.kafka import DeliveryError, WriteRecords, count_dead_letters, dead_letter_records, reading_records
from faces2.io.kafka_range import OffsetRange
from faces2.models.batches import Readings
from faces2.models.clock import from_micros
from faces2.models.dead_letter import Reason, Rejected, to_dead_letters
from faces2.models.messages import Reading, reading_key
from faces2.runners.direct import limit
from faces2.service import metrics
from faces2.service.settings import KafkaSettings

FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
INT32 = st.integers(-(2**31), 2**31 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def readings_of(rows: list[tuple[int, int, int, float]]) -> Readings:
    micros, devices, points, values = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Readings(
        np.array(micros, np.int64),
        np.array(devices, np.int32),
        np.array(points, np.int32),
        np.array(values, np.float64),
        np.arange(len(rows), dtype=np.int32),
        [(None, None)] * len(rows),
    )


@given(st.lists(st.tuples(st.integers(FIRST, LAST), INT32, INT32, FINITE), max_size=5))
def test_readings_are_the_models(rows: list[tuple[int, int, int, float]]) -> None:
    sent = list(reading_records(readings_of(rows)))
    for (micros, device, point, value), (key, text, headers) in zip(rows, sent, strict=True):
        assert (key, headers) == (reading_key(device, point), None)
        model = Reading(device_id=device, datapoint_id=point, value=value, timestamp=from_micros(micros))
        assert Reading.model_validate_json(text or b"") == model
        assert list(orjson.loads(text or b"")) == list(Reading.model_fields)


def test_a_reading_is_the_one_of_the_existing_system() -> None:
    ((key, text, _),) = reading_records(readings_of([(1_685_027_590_543_400, 5, 1, 128.48)]))
    assert key == b"5:1"
    assert text == b'{"device_id":5,"datapoint_id":1,"value":128.48,"timestamp":"2023-05-25T15:13:10.543400+00:00"}'


def test_dead_letters_are_the_original_record() -> None:
    rejected = [Rejected((b"mac", b"\xff"), Reason.BAD_UTF8, "why")]
    letters = to_dead_letters(rejected, "Enrich", "raw", datetime(2026, 1, 1, tzinfo=UTC))
    ((key, value, headers),) = dead_letter_records(letters)
    assert (key, value) == (b"mac", b"\xff")
    assert dict(headers or [])["reason"] == b"bad_utf8"
    assert dict(headers or [])["topic"] == b"raw"


@pytest.mark.parametrize(("error", "counted"), [(None, 1), ("no leader", 0)])
def test_a_dead_letter_is_counted_once_kafka_has_it(
    error: str | None, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected = [Rejected((b"mac", b"\xff"), Reason.BAD_UTF8, "why")]
    letters = to_dead_letters(rejected, "Enrich", "raw", datetime(2026, 1, 1, tzinfo=UTC))
    fake = FakeProducer(error)
    monkeypatch.setattr(kafka, "producer", fake.told_by)
    step = WriteRecords(KafkaSettings(), "dead", dead_letter_records, count_dead_letters)._fn
    step.setup()
    step.start_bundle()
    step.process(letters)
    count = metrics.DEAD_LETTERS.labels(reason="bad_utf8", step="Enrich")._value.get
    before = count()
    with pytest.raises(DeliveryError) if error else nullcontext():
        step.finish_bundle()
    assert count() - before == counted


class FakeProducer:
    """Is full at every third record; at the flush it reports `error` for each record, and leaves `left` unconfirmed."""

    def __init__(self, error: object = None, left: int = 0) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.on_failure: Callable[[Any, Any], None] = lambda *_: None
        self._error = error
        self._left = left
        self._tries = 0

    def told_by(self, _: KafkaSettings, on_failure: Callable[[Any, Any], None]) -> "FakeProducer":
        self.on_failure = on_failure
        return self

    def produce(self, topic: str, value: Any, key: Any, headers: Any) -> None:
        self._tries += 1
        if self._tries % 3 == 0:
            raise BufferError
        self.sent.append((topic, key, value, headers))

    def poll(self, _: float) -> int:
        return 0

    def flush(self, _: float) -> int:
        for _record in self.sent if self._error else []:
            self.on_failure(self._error, None)
        return self._left


def send(fake: FakeProducer, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "producer", fake.told_by)
    step = WriteRecords(KafkaSettings(), "processed", reading_records)._fn
    step.setup()
    step.start_bundle()
    step.process(readings_of([(i, i, 1, 0.5) for i in range(rows)]))
    step.finish_bundle()


def test_all_is_sent_in_order_though_the_queue_is_full_at_times(monkeypatch: pytest.MonkeyPatch) -> None:
    count = metrics.MESSAGES_OUT.labels(target="processed")._value.get
    before, fake = count(), FakeProducer()
    send(fake, 10, monkeypatch)
    assert [key for _, key, _, _ in fake.sent] == [b"%d:1" % i for i in range(10)]
    assert count() - before == 10


@pytest.mark.parametrize(("error", "left", "says"), [("no leader", 0, "no leader"), (None, 2, "2 records not conf")])
def test_what_is_not_confirmed_fails_the_bundle(
    error: str | None, left: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeliveryError, match=f"processed: {says}"):
        send(FakeProducer(error, left), 3, monkeypatch)


def test_a_bundle_without_records_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    send(FakeProducer("would fail"), 0, monkeypatch)


RANGES = [OffsetRange("t", 0, 5, 10), OffsetRange("t", 1, 0, 0), OffsetRange("t", 2, 3, 6)]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (None, [(0, 5, 10), (2, 3, 6)]),
        (100, [(0, 5, 10), (2, 3, 6)]),
        (8, [(0, 5, 10), (2, 3, 6)]),
        (6, [(0, 5, 10), (2, 3, 4)]),
        (5, [(0, 5, 10)]),
        (1, [(0, 5, 6)]),
        (0, []),
    ],
)
def test_limit(most: int | None, expected: list[tuple[int, int, int]]) -> None:
    assert [part[1:] for part in limit(RANGES, most)] == expected
