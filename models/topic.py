"""MQTT topics of controllers: `<type>/f2-<mac>/<mode>/<connector>/<component>`."""

import re
from functools import lru_cache
from typing import NamedTuple

SENSOR_MODE = "sensor-mode"

_TOPIC = re.compile(
    r"(?P<type>tele|stat)/f2-(?P<mac>[0-9a-f]{12})/"
    r"(?:(?P<sensor>sensor-mode)/(?:J[1-4]|[1-4])/sensor-[1-6]"
    r"|(?P<access>access-control-mode)/(?:J[1-4]|[1-4])/(?:strike-[12]|door-sensors|reader-[12]|exit-buttons)"
    r"|(?P<alarm>alarm-mode)/(?:J[1-4]|[1-4])/(?:siren-[12]|motion-sensor-[1-5]))"
)


class BadTopicError(ValueError):
    """The topic is not one that a controller of ours sends on."""


class Topic(NamedTuple):
    """The parts of a controller's topic, as sent: connector `J1` or, from older controllers, `1`."""

    topic_type: str
    mac: str
    mode: str
    connector: str
    component: str


@lru_cache(maxsize=65_536)
def parse_topic(text: str) -> Topic:
    """The parts of `text`; BadTopicError when it is no topic that a controller publishes (source: domain.md)."""
    if not _TOPIC.fullmatch(text):
        raise BadTopicError(f"{text[:200]!r} is not <tele|stat>/f2-<mac>/<mode>/<connector>/<component>")
    kind, device, mode, connector, component = text.split("/")
    return Topic(kind, device[3:], mode, connector, component)


def sensor_topic(mac: str, connector: int, position: int) -> str:
    """The topic on which the sensor at pin `position` of connector J`connector` reports."""
    return f"tele/f2-{mac}/{SENSOR_MODE}/J{connector}/sensor-{position}"
