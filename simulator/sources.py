"""What a controller sends: its sensors' frames, and now and then an access-control or alarm message."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from faces2.models.clock import from_micros
from faces2.models.frame import FrameError, build_frame, format_hex
from faces2.models.metadata import PinKey, Sensor, Snapshot
from faces2.models.topic import sensor_topic
from faces2.service.logs import get_logger
from faces2.simulator.values import value_of

log = get_logger(__name__)

Clock = Callable[[], int]
"""Microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a controller; a sensor's has its frame, others have none."""

    topic: str
    payload: bytes
    micros: int
    sensor: Sensor | None = None
    frame: bytes = b""


class SensorSource:
    """One sensor's frames, with strictly increasing timestamps; FrameError where its template allows none."""

    def __init__(self, pin: PinKey, sensor: Sensor, seed: int) -> None:
        if not sensor.template.datapoints:
            raise FrameError(f"template {sensor.template.template_id} has no datapoints")
        self._topic = sensor_topic(*pin)
        self._sensor = sensor
        self._micros = 0
        self._values = {
            point.datapoint_id: value_of(point, _generator(seed, sensor.device_id, point.datapoint_id))
            for point in sensor.template.datapoints
        }

    def next(self, now: int) -> Message:
        """The frame at `now`, microseconds since 1970, or just after the one before."""
        self._micros = max(self._micros + 1, now)
        seconds = self._micros / 1e6
        values = {datapoint_id: value.at(seconds) for datapoint_id, value in self._values.items()}
        frame = build_frame(self._sensor.template.datapoints, values)
        payload = orjson.dumps({"timestamp": controller_time(self._micros), "data": format_hex(frame)})
        return Message(self._topic, payload, self._micros, self._sensor, frame)


class EventSource:
    """Access-control and alarm messages of one controller, about one for 20 frames."""

    def __init__(self, mac: str, seed: int) -> None:
        self._random = _generator(seed, mac)
        self._device = f"stat/f2-{mac}"

    def maybe(self, now: int) -> Message | None:
        """A message at `now`, microseconds since 1970; mostly None."""
        if self._random.random() >= 0.05:
            return None
        mode, component = self._random.choice(_COMPONENTS)
        status = (
            f"{self._random.getrandbits(32):08X}" if component.startswith("reader") else self._random.random() < 0.5
        )
        payload = orjson.dumps({"timestamp": controller_time(now), "status": status})
        return Message(f"{self._device}/{mode}/J4/{component}", payload, now)


_COMPONENTS = (
    *(("access-control-mode", name) for name in ("strike-1", "door-sensors", "reader-1", "reader-2", "exit-buttons")),
    *(("alarm-mode", name) for name in ("siren-1", "motion-sensor-1", "motion-sensor-2")),
)


def controller_macs(snapshot: Snapshot, wanted: int) -> list[str]:
    """The first `wanted` controllers of the metadata that have sensors, or as many as there are."""
    return sorted({pin.mac for pin in snapshot.sensors})[:wanted]


def sensor_sources(snapshot: Snapshot, macs: Iterable[str], seed: int) -> dict[str, list[SensorSource]]:
    """Each controller's sensors; one whose template can not make a frame is left out, and the log says so."""
    sources: dict[str, list[SensorSource]] = {mac: [] for mac in macs}
    for pin, sensor in sorted(snapshot.sensors.items()):
        if pin.mac not in sources:
            continue
        try:
            source = SensorSource(pin, sensor, seed)
            source.next(0)
        except FrameError as error:
            log.warning("sensor left out", mac=pin.mac, sensor=sensor.name, problem=str(error))
        else:
            sources[pin.mac].append(source)
    return sources


def controller_time(micros: int) -> str:
    """Microseconds since 1970 -> `2023-05-25 15:13:10.543400`, UTC and without saying so, as controllers write it."""
    return from_micros(micros).replace(tzinfo=None).isoformat(" ", "microseconds")


def _generator(*parts: object) -> random.Random:
    return random.Random(":".join(map(str, parts)))  # noqa: S311 - values of sensors, no secrets
