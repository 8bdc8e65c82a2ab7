"""Fields of a metadata database that may not be ours: made to fit where they can be, else wrong and told so."""

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from faces2.models.frame import Datapoint
from faces2.models.metadata import PinKey

INT32 = range(-(2**31), 2**31)
INT64 = range(-(2**63), 2**63)
FOREVER = 2**63 - 1
TIMES = range(-(2**63), FOREVER)
"""Microseconds since 1970 of what has an end."""


class Mapping(NamedTuple):
    """A sensor device on a pin from `since` until `until`; one without a template gives no readings."""

    device_id: int
    name: str
    template_id: int | None
    since: int
    until: int = FOREVER


def scalar(field: Any) -> Any:
    """The field as JSON can hold it: a whole number of any type as int, what is neither that nor text as text."""
    if field is None or isinstance(field, str):
        return field
    if isinstance(field, (Decimal, float)) and math.isfinite(field) and field == int(field):
        field = int(field)
    return field if is_whole(field, INT64) else str(field)


def is_whole(number: object, among: range) -> bool:
    """Whether it is one of those whole numbers; true and false are none."""
    return type(number) is int and number in among  # other types would be looked for one by one


def mapping_of(row: Iterable[Any]) -> tuple[PinKey, Mapping] | None:
    """What the row puts on which pin; None where it names none, or a device whose id the table can not hold."""
    mac, connector, position, device_id, name, template_id, *times = map(scalar, row)
    if not (isinstance(mac, str) and all(is_whole(number, INT32) for number in (connector, position, device_id))):
        return None
    if not (template_id is None or is_whole(template_id, INT32)) or not all(is_whole(time, TIMES) for time in times):
        return None
    return PinKey(mac, connector, position), Mapping(device_id, "" if name is None else str(name), template_id, *times)


def datapoint_of(fields: Iterable[Any]) -> Datapoint:
    """The datapoint; one that can not be understood says why, and no frame can be read by it."""
    datapoint_id, label, offset, length, encoding, decimals, unit = map(scalar, fields)
    decimals = 0 if decimals is None else decimals
    numbers = {"datapointid": datapoint_id, "offset": offset, "length": length, "decimals": decimals}
    wrong = [
        f"{name} {number!r:.64} is no whole number of four bytes"
        for name, number in numbers.items()
        if not is_whole(number, INT32)
    ]
    if not isinstance(encoding, str):
        wrong.append(f"dataencoding {encoding!r} is no text")
    if wrong:
        return Datapoint(0, str(label), 0, 1, "", problem=f"{label}: {', '.join(wrong)}")
    return Datapoint(datapoint_id, str(label), offset, length, encoding, decimals, str(unit or ""))
