"""Values that move like real ones: a daily course, a bounded random walk on it, the same for the same seed."""

import math
import random
import re
from dataclasses import dataclass
from typing import Protocol

from faces2.models.frame import Datapoint, layout_of

DAY = 86_400
_WARMEST_HOUR = 15


class Value(Protocol):
    """One datapoint's values over time."""

    def at(self, seconds: float) -> float:
        """The next value, at `seconds` since 1970."""


@dataclass(frozen=True, slots=True)
class Course:
    """How a quantity moves: around `middle`, by `daily` over the day, by up to `wander` at random, in its bounds."""

    middle: float
    daily: float
    wander: float
    low: float
    high: float


COURSES: tuple[tuple[str, Course], ...] = (
    (r"temperature", Course(21, 3, 1.5, -20, 60)),
    (r"humidity", Course(45, -8, 6, 0, 100)),
    (r"co2|carbon", Course(650, 200, 120, 380, 5000)),
    (r"voc|pm\d|dust|particulate", Course(20, 6, 8, 0, 500)),
    (r"pressure", Course(1013, 1, 8, 950, 1050)),
    (r"light|lux|illumin", Course(350, 300, 50, 0, 2000)),
    (r"noise|sound", Course(48, 8, 5, 25, 110)),
    (r"power factor|cos", Course(0.93, 0, 0.05, 0, 1)),
    (r"voltage", Course(230, 1, 3, 200, 255)),
    (r"current", Course(4, 2.5, 1, 0, 16)),
    (r"frequency", Course(50, 0, 0.05, 49, 51)),
    (r"power", Course(900, 500, 200, 0, 3600)),
    (r"battery", Course(85, 0, 10, 0, 100)),
    (r"signal|rssi", Course(-65, 0, 8, -110, -30)),
)
_SWITCH = re.compile(r"status|state|alarm|motion|presence|occupan|open|relay", re.IGNORECASE)
_METER = re.compile(r"energy|total|count|pulse|uptime", re.IGNORECASE)


def value_of(datapoint: Datapoint, generator: random.Random) -> Value:
    """The values that the datapoint's label suggests, all of which its encoding can hold."""
    low, high = representable(datapoint)
    if _METER.search(datapoint.label):
        return Meter(generator, high)
    if _SWITCH.search(datapoint.label) and high >= 1:
        return Switch(generator)
    for pattern, course in COURSES:
        fits = low <= course.low and course.high <= high
        if fits and re.search(pattern, datapoint.label, re.IGNORECASE):
            return Walk(course, generator)
    top = min(high, 100.0)
    return Walk(Course(top / 2, top / 10, top / 10, 0, top), generator)


def representable(datapoint: Datapoint) -> tuple[float, float]:
    """The least and the greatest value that the datapoint's bytes can hold."""
    layout, scale = layout_of(datapoint), 10.0**datapoint.decimals
    if layout.kind == "f":
        return -1e9 / scale, 1e9 / scale
    bits = 8 * layout.size
    if layout.kind == "i":
        return -(2 ** (bits - 1)) / scale, (2 ** (bits - 1) - 1) / scale
    return 0.0, (2**bits - 1) / scale


class Walk:
    """A bounded random walk on a daily course."""

    def __init__(self, course: Course, generator: random.Random) -> None:
        self._course = course
        self._random = generator.random
        self._offset = course.wander * (2 * generator.random() - 1)

    def at(self, seconds: float) -> float:
        course = self._course
        step = course.wander * 0.1 * (2 * self._random() - 1)
        self._offset = max(-course.wander, min(course.wander, self._offset + step))
        daily = course.daily * math.cos(2 * math.pi * (seconds / DAY - _WARMEST_HOUR / 24))
        return max(course.low, min(course.high, course.middle + daily + self._offset))


class Meter:
    """A counter that only grows, and starts anew at 0 when its bytes are full."""

    def __init__(self, generator: random.Random, high: float) -> None:
        self._random = generator.random
        self._high = high
        self._step = min(1.0, high / 1000)
        self._total = generator.random() * min(10_000.0, high / 2)

    def at(self, seconds: float) -> float:  # noqa: ARG002 - a meter counts, whatever the hour
        self._total += self._step * self._random()
        if self._total > self._high:
            self._total = 0.0
        return self._total


class Switch:
    """0 or 1, and mostly what it was."""

    def __init__(self, generator: random.Random) -> None:
        self._random = generator.random
        self._on = generator.random() < 0.5

    def at(self, seconds: float) -> float:  # noqa: ARG002 - a switch does not follow the hour
        if self._random() < 0.05:
            self._on = not self._on
        return float(self._on)
