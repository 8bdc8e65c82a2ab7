"""The simulated values: in their encoding's range, moving, and the same for the same seed."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faces2.models.frame import Datapoint, build_frame, decode
from faces2.simulator.values import representable, value_of

ENCODINGS = {"Int8": 1, "UInt8": 1, "Int16": 2, "Uint16": 2, "UInt16LE": 2, "Int32": 4, "UInt32": 4, "Int64": 8}
LABELS = ["Temperature", "Humidity", "CO2", "Voltage", "Power factor", "Energy total", "Status", "RSSI", "Something"]


def values(point: Datapoint, seed: int, count: int) -> list[float]:
    value = value_of(point, random.Random(seed))
    return [value.at(1_700_000_000 + 30.0 * i) for i in range(count)]


@given(
    st.sampled_from(LABELS), st.sampled_from([*ENCODINGS.items(), ("Float32", 4), ("Float64", 8)]), st.integers(0, 9)
)
def test_every_value_fits_its_bytes(label: str, encoding: tuple[str, int], decimals: int) -> None:
    point = Datapoint(1, label, 3, encoding[1], encoding[0], decimals)
    low, high = representable(point)
    for value in values(point, 1, 50):
        assert low <= value <= high
        decoded = decode(build_frame([point], {1: value}), point)
        assert decoded == pytest.approx(value, abs=0.51 / 10**decimals, rel=1e-6)


@pytest.mark.parametrize("label", LABELS)
def test_values_are_the_seeds_and_move(label: str) -> None:
    point = Datapoint(1, label, 3, 4, "Int32", 2)
    assert values(point, 1, 500) == values(point, 1, 500)
    assert values(point, 1, 500) != values(point, 2, 500)
    assert len(set(values(point, 1, 500))) > 1


def test_a_temperature_looks_like_one() -> None:
    course = values(Datapoint(1, "Room temperature", 3, 2, "Int16", 2), 1, 2880)
    assert 15 < min(course) < max(course) < 27
    assert max(abs(a - b) for a, b in pairwise(course)) < 0.5


def test_a_meter_only_grows() -> None:
    course = values(Datapoint(1, "Energy", 3, 4, "UInt32", 2), 1, 500)
    assert course == sorted(course)
