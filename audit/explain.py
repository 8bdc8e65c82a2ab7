"""A frame that is not where it must be, in words: who sent it, when, and what of it is missing. Pure."""

from contextlib import suppress
from typing import Any

import numpy as np
import orjson

from faces2.audit.compare import Fetch, compare
from faces2.audit.expect import Expected
from faces2.audit.verdict import Fault
from faces2.models.clock import format_timestamp
from faces2.models.dead_letter import Record


def explain(record: Record, place: tuple[int, int], arrived_ms: int, expected: Expected, fetch: Fetch) -> Fault:
    """Looks at the table once more for this frame alone."""
    mac, topic, timestamp = _who(record)
    what = _of_rows(expected, fetch) or [f"not in the dead letters ({item.reason})" for item in expected.rejected[:1]]
    arrived = format_timestamp(arrived_ms * 1000)
    return Fault(*place, arrived, mac, topic, timestamp, "; ".join(what) or "in the table by now")


def _of_rows(expected: Expected, fetch: Fetch) -> list[str]:
    readings = expected.readings
    present, stored, right = compare(readings, fetch)
    missing = [str(point) for point in readings.datapoint_id[~present].tolist()]
    what = [f"device {readings.device_id[0]}: no row of datapoint {', '.join(missing)}"] if missing else []
    for row in np.flatnonzero(present & ~right):
        names = f"device {readings.device_id[row]}, datapoint {readings.datapoint_id[row]}"
        what.append(f"{names} is {float(stored[row])!r}, not {float(readings.value[row])!r}")
    return what


def _who(record: Record) -> tuple[str, str, str]:
    """MAC, topic and time as the record has them; what it does not say is a question mark."""
    key, value = record
    content: Any = None
    with suppress(orjson.JSONDecodeError):  # it may be here because it is no JSON
        content = orjson.loads(value or b"")
    message = content if isinstance(content, dict) else {}
    payload = message.get("payload")
    timestamp = payload.get("timestamp") if isinstance(payload, dict) else None
    mac = (key or b"?").decode("ascii", "backslashreplace")
    return tuple(str(text or "?")[:100] for text in (mac, message.get("topic"), timestamp))  # type: ignore[return-value]
