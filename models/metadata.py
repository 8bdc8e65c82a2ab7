"""What the metadata says of sensors: which device is on which pin, and what its frames hold."""

from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

import orjson
from pydantic import BaseModel, Field

from faces2.models.frame import Datapoint, Int32


class PinKey(NamedTuple):
    """A pin as messages name it: MAC (12 hex digits), connector number 1..4, position 1..6."""

    mac: str
    connector: int
    position: int


@dataclass(frozen=True, slots=True)
class Template:
    """All datapoints that one frame of a sensor of this kind gives."""

    template_id: Int32 | None
    datapoints: tuple[Datapoint, ...]


@dataclass(frozen=True, slots=True)
class Sensor:
    """The sensor device on a pin; readings belong to it, not to the controller."""

    device_id: int
    name: str
    template: Template


Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]

FORM: Literal[2] = 2
"""Grows when the JSON form of a snapshot changes; another form is left alone."""

Names = tuple[str, str, str]
"""MAC, connector and component as a message has them."""

Timeline = tuple[tuple[int, Sensor], ...]
"""What was on a pin before: until when (microseconds since 1970), and which sensor; oldest first."""


class Stored(BaseModel):
    """The JSON form of a snapshot; a sensor names its template by its place."""

    form: Literal[2]
    version: Int64
    templates: list[Template]
    pins: list[tuple[str, Int32, Int32, Int32, str, int]]
    earlier: list[tuple[str, Int32, Int32, Int64, Int32, str, int]]


@dataclass(frozen=True)
class Snapshot:
    """All mappings at one version of the metadata, and what they were before where frames of then are read otherwise.

    `earlier` holds a pin only if its mapping has changed; a pin that has none now is in `earlier` alone.
    """

    version: int
    sensors: dict[PinKey, Sensor]
    earlier: dict[PinKey, Timeline] = field(default_factory=dict)
    _unchanged: dict[Names, Sensor] = field(init=False, repr=False, compare=False)
    _changed: dict[Names, PinKey] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        unchanged = {
            names: sensor for pin, sensor in self.sensors.items() if pin not in self.earlier for names in _names(pin)
        }
        object.__setattr__(self, "_unchanged", unchanged)
        object.__setattr__(self, "_changed", {names: pin for pin in self.earlier for names in _names(pin)})

    def find(self, mac: str, connector: str, component: str) -> Sensor | None:
        """The sensor that a message's parts name now (`aabbccddee01`, `J1` or `1`, `sensor-2`), or None."""
        return self.unchanged(mac, connector, component) or self.find_at(mac, connector, component, None)

    def unchanged(self, mac: str, connector: str, component: str) -> Sensor | None:
        """The sensor of a pin that has had no other; None says that `find_at` is to be asked. This is the hot path."""
        return self._unchanged.get((mac, connector, component))

    def find_at(self, mac: str, connector: str, component: str, micros: int | None) -> Sensor | None:
        """The sensor at that time (now, if it is not known); where the pin had none then, the first one after it."""
        names = (mac, connector, component)
        pin = self._changed.get(names)
        if pin is None:
            return self._unchanged.get(names)
        if micros is not None:
            for until, sensor in self.earlier[pin]:
                if micros < until:
                    return sensor
        return self.sensors.get(pin)

    def to_json(self) -> bytes:
        """The form kept in Redis: each template once, sensors name it by its place in the list."""
        past = [(pin, until, sensor) for pin, timeline in self.earlier.items() for until, sensor in timeline]
        # By identity: to hash the datapoints of each sensor would cost more than all else here.
        templates = {id(s.template): s.template for s in (*self.sensors.values(), *(s for _, _, s in past))}
        place = {identity: number for number, identity in enumerate(templates)}
        stored = {
            "form": FORM,
            "version": self.version,
            "templates": list(templates.values()),
            "pins": [[*pin, s.device_id, s.name, place[id(s.template)]] for pin, s in self.sensors.items()],
            "earlier": [[*pin, until, s.device_id, s.name, place[id(s.template)]] for pin, until, s in past],
        }
        return orjson.dumps(stored)

    @classmethod
    def from_json(cls, text: bytes) -> "Snapshot":
        """Reads `to_json`'s form; ValueError or KeyError where it is something else."""
        stored = Stored.model_validate_json(text, strict=True)
        templates = dict(enumerate(stored.templates))  # which has no place -1
        sensors = {
            PinKey(mac, connector, position): Sensor(device_id, name, templates[place])
            for mac, connector, position, device_id, name, place in stored.pins
        }
        earlier: dict[PinKey, Timeline] = {}
        for mac, connector, position, until, device_id, name, place in stored.earlier:
            pin = PinKey(mac, connector, position)
            earlier[pin] = (*earlier.get(pin, ()), (until, Sensor(device_id, name, templates[place])))
        return cls(stored.version, sensors, earlier)


def _names(pin: PinKey) -> tuple[Names, Names]:
    """Newer controllers say `J1`, older ones `1`."""
    component = f"sensor-{pin.position}"
    return (pin.mac, f"J{pin.connector}", component), (pin.mac, str(pin.connector), component)
