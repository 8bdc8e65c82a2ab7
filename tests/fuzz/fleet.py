"""A small fleet with every encoding, lengths that numpy has no type for, and metadata that is wrong on purpose."""

from random import Random
from typing import Any

from faces2.models.clock import from_micros
from faces2.models.frame import Datapoint, format_hex, modbus_crc
from faces2.models.metadata import PinKey, Sensor, Snapshot, Template
from faces2.models.topic import sensor_topic
from tests.fuzz import mutations

MACS = ("aabbccddee01", "aabbccddee02", "0123456789ab")

_NAMES = ("Int8", "UInt8", "Int16", "Uint16", "UInt24", "Int32", "UInt32", "int48", "Int64", "UInt64")


def _whole(start: int, names: tuple[str, ...], suffix: str) -> tuple[Datapoint, ...]:
    return tuple(
        Datapoint(start + n, f"{name}{suffix}", 3 + n, 1 + (start + n) % 8, name + suffix, (n % 5) - 1)
        for n, name in enumerate(names)
    )


TEMPLATES = (
    Template(1, _whole(1, _NAMES, "")),
    Template(2, _whole(11, _NAMES, " le")),
    Template(3, (Datapoint(21, "float", 0, 4, "Float32", 2), Datapoint(22, "double", 4, 8, "Float64LE", -18))),
    Template(4, (Datapoint(31, "good", 1, 2, "Int16", 18), Datapoint(32, "text", 1, 2, "Text"))),
    Template(5, ()),
)
SENSORS = {
    PinKey(mac, connector, position): Sensor(
        100 * index + 10 * connector + position,
        "sensor",
        TEMPLATES[(index + connector + position) % len(TEMPLATES)],
    )
    for index, mac in enumerate(MACS)
    for connector in (1, 2, 4)
    for position in (1, 2, 6)
}
SNAPSHOT = Snapshot(1, SENSORS)
_PINS = [*SENSORS, PinKey(MACS[0], 3, 1), PinKey("ffffffffffff", 1, 1)]


def frame(rng: Random) -> bytes:
    """A frame's bytes; floats are often no finite number."""
    body = b"\x01\x03" + rng.randbytes(rng.choice((0, 1, 3, 8, 12, 19, 19, 24)))
    if rng.random() < 0.1:
        body = rng.choice((b"\x7f\xf8", b"\xff\x80", b"\x7f\x80", b"\xff\xff")) + body[2:4] + body
    return body + modbus_crc(body).to_bytes(2, "little")


def payload(rng: Random) -> dict[str, Any]:
    """What a sensor sends."""
    at = from_micros(rng.randrange(10**15, 2 * 10**15)).isoformat(" ", "microseconds")[:26]
    shown = format_hex(frame(rng))
    return {"timestamp": at, "data": rng.choice((shown, shown, shown.lower(), shown.replace(" ", "")))}


def pin(rng: Random) -> PinKey:
    """A pin; now and then one that the metadata does not know."""
    return rng.choice(_PINS)


def topic(rng: Random) -> str:
    """A topic that a controller may send on."""
    mac, connector, position = pin(rng)
    kind, name = rng.choice(("tele", "stat")), rng.choice((f"J{connector}", str(connector)))
    match rng.randrange(6):
        case 0:
            part = rng.choice(("strike-1", "door-sensors", "reader-2", "exit-buttons"))
            return f"{kind}/f2-{mac}/access-control-mode/{name}/{part}"
        case 1:
            return f"{kind}/f2-{mac}/alarm-mode/{name}/{rng.choice(('siren-1', 'motion-sensor-5'))}"
        case _:
            return sensor_topic(mac, connector, position)


def record(rng: Random) -> dict[str, Any]:
    """A message of the raw topic."""
    where = topic(rng)
    kind, device, mode, connector, component = where.split("/")
    return {
        "timestamp": "2026-01-01T00:00:00+00:00",
        "topic": where,
        "topic_type": kind,
        "device_mac": device[3:],
        "mode": mode,
        "connector": connector,
        "component": component,
        "payload": payload(rng) if mode == "sensor-mode" else {"status": mutations.value(rng)},
        "qos": 1,
        "retain": False,
    }
