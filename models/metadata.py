"""What the metadata says of sensors: which device is on which pin, and what its frames hold."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from faces2.models.frame import Datapoint


class PinKey(NamedTuple):
    """A pin as messages name it: MAC (12 hex digits), connector number 1..4, position 1..6."""

    mac: str
    connector: int
    position: int


@dataclass(frozen=True, slots=True)
class Template:
    """All datapoints that one frame of a sensor of this kind gives."""

    template_id: int
    datapoints: tuple[Datapoint, ...]


@dataclass(frozen=True, slots=True)
class Sensor:
    """The sensor device on a pin; readings belong to it, not to the controller."""

    device_id: int
    name: str
    template: Template


@dataclass(frozen=True)
class Snapshot:
    """All mappings at one version of the metadata."""

    version: int
    sensors: dict[PinKey, Sensor]
    _by_names: dict[tuple[str, str, str], Sensor] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_names: dict[tuple[str, str, str], Sensor] = {}
        for (mac, connector, position), sensor in self.sensors.items():
            for name in (f"J{connector}", str(connector)):
                by_names[mac, name, f"sensor-{position}"] = sensor
        object.__setattr__(self, "_by_names", by_names)

    def find(self, mac: str, connector: str, component: str) -> Sensor | None:
        """The sensor that a message's parts name (`aabbccddee01`, `J1` or `1`, `sensor-2`), or None."""
        return self._by_names.get((mac, connector, component))

    def to_json(self) -> bytes:
        """The form kept in Redis: each template once, pins by template."""
        templates = {sensor.template.template_id: sensor.template for sensor in self.sensors.values()}
        pins = [[*pin, s.device_id, s.name, s.template.template_id] for pin, s in self.sensors.items()]
        return orjson.dumps({"version": self.version, "templates": list(templates.values()), "pins": pins})

    @classmethod
    def from_json(cls, text: bytes) -> "Snapshot":
        """Reads `to_json`'s form; ValueError or KeyError where it is something else."""
        stored: dict[str, Any] = orjson.loads(text)
        templates = {
            t["template_id"]: Template(t["template_id"], tuple(Datapoint(**d) for d in t["datapoints"]))
            for t in stored["templates"]
        }
        return cls(stored["version"], _sensors(stored["pins"], templates))


def build_snapshot(version: int, datapoint_rows: Iterable[Any], pin_rows: Iterable[Any]) -> Snapshot:
    """From rows of the database: (template, id, label, offset, length, encoding, decimals, unit) and
    (mac, connector, position, device, name, template)."""
    datapoints: dict[int, list[Datapoint]] = {}
    for template_id, *fields in datapoint_rows:
        datapoints.setdefault(template_id, []).append(Datapoint(*fields))
    templates = {template_id: Template(template_id, tuple(points)) for template_id, points in datapoints.items()}
    return Snapshot(version, _sensors(pin_rows, templates))


def _sensors(pins: Iterable[Any], templates: dict[int, Template]) -> dict[PinKey, Sensor]:
    sensors = {}
    for mac, connector, position, device_id, name, template_id in pins:
        template = templates.get(template_id) or Template(template_id, ())
        sensors[PinKey(mac, connector, position)] = Sensor(device_id, name, template)
    return sensors
