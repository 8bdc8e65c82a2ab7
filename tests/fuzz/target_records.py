"""Records of the raw topic into Enrich, Decode and COPY's bytes: the rows of the plain codec, or a dead letter."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import TypeVar

from faces2.io.kafka import count_dead_letters, dead_letter_records
from faces2.models.clock import parse_timestamp
from faces2.models.dead_letter import Reason, Rejected, to_dead_letters
from faces2.models.frame import crc_holds, parse_hex
from faces2.models.metadata import Sensor
from faces2.service.metrics import DEAD_LETTERS
from faces2.transforms.decode import decode_groups
from faces2.transforms.enrich import enrich
from tests.fuzz import columns, fleet, mutations, plain
from tests.fuzz.counters import grows
from tests.fuzz.engine import Case

T = TypeVar("T")

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OTHER_MODES = ("access-control-mode", "alarm-mode")


class Records:
    """(key, value) of a record, either of which may be missing."""

    batch = 1000

    def __init__(self, name: str = "records", check_crc: bool = False) -> None:
        self.name = name
        self._check_crc = check_crc

    def cases(self, rng: Random, count: int) -> list[Case]:
        """Good records among the others: those must come in whatever stands beside them."""
        return [(rng.choice((None, b"", b"aabbccddee01", b"\xff")), value(rng)) for _ in range(count)]

    def check(self, cases: list[Case]) -> Counter[str]:
        """Each record's rows and reason against the plain reading; the dead letters against the counter."""
        records = columns.fresh(cases)
        enriched = enrich(records, fleet.SNAPSHOT, self._check_crc)
        readings, undecoded = decode_groups(enriched.groups)
        rows, refused = columns.by_record(readings), columns.once(enriched.rejected + undecoded)
        _check_letters(enriched.rejected, "Enrich")
        _check_letters(undecoded, "Decode")
        ends: Counter[str] = Counter()
        for record in records:
            found, rejected = rows.pop(id(record), []), refused.pop(id(record), None)
            end = self._compare(record[1], found, rejected)
            ends[end] += 1
        assert not rows and not refused, "rows or dead letters of no record"
        assert {mode: ends[mode] for mode in OTHER_MODES if ends[mode]} == enriched.passed_by
        return ends

    def _compare(self, value: bytes | None, rows: list[columns.Row], rejected: Rejected | None) -> str:
        reason = rejected.reason if rejected else None
        try:
            content = plain.read_json(value)
            if _mode(content) in OTHER_MODES:
                assert not rows and reason is None
                return str(_mode(content))
            sensor, micros, frame = self._read(content)
        except plain.RefusedError as refused:
            assert reason is refused.reason and not rows, f"{reason} and not {refused.reason}"
            return str(reason)
        expected, failures = columns.plain_rows(sensor.template, frame, micros, sensor.device_id)
        assert rows == expected
        if not failures:
            assert reason is None
            return "all rows"
        assert reason is (Reason.SHORT_FRAME if "short" in failures else Reason.BAD_DATAPOINT)
        return str(reason)

    def _read(self, content: object) -> tuple[Sensor, int, bytes]:
        if not isinstance(content, dict) or _mode(content) != "sensor-mode":
            raise plain.RefusedError(Reason.BAD_MESSAGE)
        payload = content.get("payload")
        if not isinstance(payload, dict) or not {"timestamp", "data"} <= payload.keys():
            raise plain.RefusedError(Reason.BAD_MESSAGE)
        parts = [content.get(name) for name in ("device_mac", "connector", "component")]
        if not all(isinstance(part, str) for part in parts):
            raise plain.RefusedError(Reason.BAD_MESSAGE)
        try:
            frame = plain.read_hex(payload["data"])
        except plain.UnsureError:
            frame = _ours(parse_hex, payload["data"], Reason.BAD_HEX)
        if self._check_crc and not crc_holds(frame):
            raise plain.RefusedError(Reason.BAD_CRC)
        sensor = _sensor(*parts)
        if sensor is None:
            raise plain.RefusedError(Reason.UNKNOWN_DEVICE)
        if not sensor.template.datapoints:
            raise plain.RefusedError(Reason.BAD_DATAPOINT)
        try:  # last, because the times of a batch are read at once
            micros = plain.read_timestamp(payload["timestamp"])
        except plain.UnsureError:
            micros = _ours(parse_timestamp, payload["timestamp"], Reason.BAD_TIMESTAMP)
        return sensor, micros, frame


def _mode(content: object) -> object:
    mode = content.get("mode") if isinstance(content, dict) else None
    return mode if isinstance(mode, str) else None


def _sensor(mac: object, connector: object, component: object) -> Sensor | None:
    """By going through all pins."""
    for pin, sensor in fleet.SENSORS.items():
        if (mac, component) == (pin.mac, f"sensor-{pin.position}") and connector in (
            f"J{pin.connector}",
            f"{pin.connector}",
        ):
            return sensor
    return None


def _ours(read: Callable[[object], T], value: object, reason: Reason) -> T:
    """Where the plain reader has no opinion, ours must still say the same with and without a batch."""
    try:
        return read(value)
    except ValueError:
        raise plain.RefusedError(reason) from None


def _check_letters(rejected: list[Rejected], step: str) -> None:
    letters = to_dead_letters(rejected, step, "raw", NOW)
    for (key, value, headers), each in zip(dead_letter_records(letters), rejected, strict=True):
        texts = dict(headers or [])
        assert (key, value) == each.record
        assert (texts["reason"], texts["step"]) == (each.reason.encode(), step.encode())
        assert len(texts["detail"] or b"") < 2000
    with grows(DEAD_LETTERS, {(reason, step): n for reason, n in columns.reasons(rejected).items()}):
        count_dead_letters(letters)


def value(rng: Random) -> bytes | None:
    """A record's value: right, spoilt, or none."""
    content, kind = fleet.record(rng), rng.random()
    if kind < 0.3:
        return mutations.dumped(content)
    if kind < 0.65:
        return mutations.dumped(mutations.document(rng, content, "payload"))
    return mutations.data(rng, mutations.dumped(content)) if kind < 0.995 else None
