"""Controllers that fall silent: counted, named once, and only while somebody listens."""

import numpy as np
import pytest
from prometheus_client import REGISTRY

from faces2.bridge.silence import NAMED, Silence, SilenceWatch


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def mac(number: int) -> bytes:
    return f"{number:012x}".encode()


def expecting(clock: Clock, *numbers: int) -> Silence:
    silence = Silence(300, clock)
    silence.expect(np.array(numbers, np.int64))
    return silence


def test_who_sends_is_not_silent_and_who_does_not_is_named_once(clock: Clock) -> None:
    silence = expecting(clock, 1, 2, 0xFFFFFFFFFFFF)
    assert silence.look(True) == (0, [])
    clock.now += 200
    silence.heard(mac(2))
    silence.heard(mac(5))  # which the metadata does not know
    assert silence.look(True) == (0, [])
    clock.now += 101
    assert silence.look(True) == (2, ["000000000001", "ffffffffffff"])
    assert silence.look(True) == (2, [])
    silence.heard(mac(1))
    assert silence.look(True) == (1, [])
    clock.now += 301
    assert silence.look(True) == (3, ["000000000001", "000000000002"])


def test_nobody_is_silent_while_nobody_listens(clock: Clock) -> None:
    silence = expecting(clock, 1)
    clock.now += 200
    assert silence.look(True) == (0, [])
    clock.now += 3600
    assert silence.look(False) == (0, [])
    clock.now += 100
    assert silence.look(True) == (0, [])
    clock.now += 1
    assert silence.look(True) == (1, ["000000000001"])


def test_the_metadata_changes(clock: Clock) -> None:
    silence = expecting(clock, 1, 3)
    clock.now += 301
    assert silence.look(True) == (2, ["000000000001", "000000000003"])
    silence.expect(np.array([2, 3], np.int64))  # 1 is gone, 2 is new, 3 stays silent
    assert silence.look(True) == (1, [])
    clock.now += 301
    assert silence.look(True) == (2, ["000000000002"])
    silence.expect(np.array([], np.int64))
    silence.heard(mac(3))
    assert silence.look(True) == (0, [])


def test_the_log_names_a_bounded_number(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr("faces2.bridge.silence.log.warning", lambda event, **fields: lines.append((event, fields)))
    silence = expecting(clock, *range(NAMED + 5))
    clock.now += 301
    SilenceWatch(silence, None, lambda: True).look()  # type: ignore[arg-type]
    assert REGISTRY.get_sample_value("faces2_silent_controllers") == NAMED + 5
    assert lines[0] == ("a controller is silent", {"mac": "000000000000"})
    assert lines[NAMED:] == [("more controllers are silent", {"controllers": 5})]
