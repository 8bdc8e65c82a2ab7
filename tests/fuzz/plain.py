"""The same bytes read in the plainest way, by other code than ours: what the fuzzer compares with.

Where they may rightly differ from ours, these have no opinion: how deep JSON may nest, unusual forms of ISO 8601.
"""

import calendar
import json
import re
from typing import Any

import orjson

from faces2.models.dead_letter import Reason

DEEP = 200
"""Brackets after which the libraries' limits of nesting may matter."""

_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)\.(\d{6})(?:\+00:00|Z)?", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-fA-F]{2} ?)+", re.ASCII)


class RefusedError(Exception):
    """The bytes are refused for `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class UnsureError(Exception):
    """This reader has no opinion."""


def read_json(value: bytes | None) -> Any:
    """What the JSON says."""
    if value is None:
        raise RefusedError(Reason.BAD_JSON)
    if is_deep(value):
        return _orjson(value)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise RefusedError(Reason.BAD_UTF8) from None
    try:
        content = json.loads(text, parse_constant=_constant, parse_int=_whole, parse_float=_float)
        if "\\u" in text:  # half of a surrogate pair is no text, also where a field of the same name follows
            json.dumps(json.loads(text, object_pairs_hook=list), ensure_ascii=False).encode()
    except ValueError:
        raise RefusedError(Reason.BAD_JSON) from None
    return content


def is_deep(value: bytes) -> bool:
    """Whether it may nest deeper than some reader or writer of JSON goes."""
    return value.count(b"[") + value.count(b"{") > DEEP


def read_timestamp(value: object) -> int:
    """Microseconds since 1970 of the form that controllers send."""
    if not isinstance(value, str):
        raise RefusedError(Reason.BAD_TIMESTAMP)
    match = _STAMP.fullmatch(value)
    if not match:
        raise UnsureError
    year, month, day, hour, minute, second, micros = map(int, match.groups())
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not (year and 1 <= month <= 12 and 1 <= day <= days[month - 1] and hour < 24 and minute < 60 and second < 60):
        raise RefusedError(Reason.BAD_TIMESTAMP)
    return calendar.timegm((year, month, day, hour, minute, second)) * 1_000_000 + micros


def read_hex(value: object) -> bytes:
    """The bytes of pairs of hex digits."""
    if not isinstance(value, str):
        raise RefusedError(Reason.BAD_HEX)
    if _HEX.fullmatch(value):
        digits = value.replace(" ", "")
        return bytes(int(digits[at : at + 2], 16) for at in range(0, len(digits), 2))
    if any(not (character.isspace() or character in "0123456789abcdefABCDEF") for character in value):
        raise RefusedError(Reason.BAD_HEX)
    raise UnsureError


def is_topic(text: str) -> bool:
    """Whether a controller may send on it."""
    parts = text.split("/")
    if len(parts) != 5:
        return False
    kind, device, mode, connector, component = parts
    components = {
        "sensor-mode": [f"sensor-{n}" for n in range(1, 7)],
        "access-control-mode": ["strike-1", "strike-2", "door-sensors", "reader-1", "reader-2", "exit-buttons"],
        "alarm-mode": ["siren-1", "siren-2", *(f"motion-sensor-{n}" for n in range(1, 6))],
    }
    return (
        kind in ("tele", "stat")
        and device[:3] == "f2-"
        and len(device) == 15
        and set(device[3:]) <= set("0123456789abcdef")
        and connector in ("J1", "J2", "J3", "J4", "1", "2", "3", "4")
        and component in components.get(mode, [])
    )


def _orjson(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except ValueError:
        pass
    try:
        value.decode()
    except UnicodeDecodeError:
        raise RefusedError(Reason.BAD_UTF8) from None
    raise RefusedError(Reason.BAD_JSON)


def _constant(name: str) -> None:
    raise ValueError(name)


def _whole(digits: str) -> int | float:
    """Whole numbers of more than 64 bits are floating point, as JSON has one kind of number only."""
    if len(digits) > 20:
        return _finite(float(digits))
    return number if -(2**63) <= (number := int(digits)) < 2**64 else float(number)


def _float(digits: str) -> float:
    return _finite(float(digits))


def _finite(number: float) -> float:
    if number in (float("inf"), float("-inf")):
        raise ValueError("too large")
    return number
