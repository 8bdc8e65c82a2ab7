"""Frames that wait for their device: which they are, when their turn is, what is sent of them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faces2.dead_letters.index import Index, Skip, waits_for
from faces2.dead_letters.letter import Letter, pin_of
from faces2.dead_letters.schedule import MOST_SECONDS, SETTLE_SECONDS, Schedule
from faces2.models.metadata import PinKey

MAC = "aabbccddee01"
PIN, OTHER = PinKey(MAC, 1, 2), PinKey(MAC, 1, 3)
MESSAGE = {"device_mac": MAC, "mode": "sensor-mode", "connector": "J1", "component": "sensor-2"}
VALUE = b'{"device_mac":"aabbccddee01","mode":"sensor-mode","connector":"1","component":"sensor-2"}'


@pytest.mark.parametrize(
    ("changed", "pin"),
    [
        ({}, PIN),
        ({"connector": "1"}, PIN),
        ({"component": "sensor-6"}, PinKey(MAC, 1, 6)),
        ({"component": "sensor-7"}, None),
        ({"connector": "J5"}, None),
        ({"connector": 1}, None),
        ({"device_mac": "AABBCCDDEE01"}, None),
        ({"device_mac": None}, None),
        ({"mode": "alarm-mode"}, None),
        ({"component": ["sensor-2"]}, None),
    ],
)
def test_the_pin_that_a_message_names(changed: dict[str, object], pin: PinKey | None) -> None:
    assert pin_of(MESSAGE | changed) == pin


@pytest.mark.parametrize(
    ("reason", "topic", "value", "result"),
    [
        ("unknown_device", "raw", VALUE, PIN),
        ("bad_hex", "raw", VALUE, Skip.OTHER_REASON),
        ("", "raw", VALUE, Skip.OTHER_REASON),
        ("unknown_device", "else", VALUE, Skip.OTHER_TOPIC),
        ("unknown_device", "raw", b"rubbish", Skip.NO_PIN),
        ("unknown_device", "raw", None, Skip.NO_PIN),
        ("unknown_device", "raw", b"[]", Skip.NO_PIN),
    ],
)
def test_what_waits(reason: str, topic: str, value: bytes | None, result: PinKey | Skip) -> None:
    assert waits_for(Letter(0, 0, None, value, {"reason": reason, "topic": topic}), "raw") == result


def test_what_was_replayed_before_a_restart_does_not_wait() -> None:
    index = Index({PIN: {0: 5}})
    assert not index.add(PIN, 0, 4)
    assert index.add(PIN, 0, 5)
    assert index.add(PIN, 1, 0)
    assert index.add(OTHER, 0, 3)
    assert index.frames == 3
    assert index.firsts([PIN]) == {0: 5, 1: 0}
    assert index.firsts([PIN, OTHER]) == {0: 3, 1: 0}
    assert not index.waits(PIN, 0, 4)
    assert index.waits(PIN, 0, 5)
    assert not index.waits(PIN, 2, 9)
    assert not index.waits(PinKey(MAC, 4, 4), 0, 9)


def test_a_pin_that_had_its_turn_waits_no_more() -> None:
    index = Index({})
    for offset, pin in enumerate([PIN, OTHER, PIN]):
        index.add(pin, 0, offset)
    assert index.mark(PIN, {0: 3}) == {0: 3}
    index.clear([PIN])
    assert (list(index.pins), index.frames) == ([OTHER], 1)
    assert not index.add(PIN, 0, 2)
    assert index.add(PIN, 0, 3), "it came back"
    assert index.mark(PIN, {1: 1}) == {0: 3, 1: 1}


@given(st.lists(st.tuples(st.sampled_from([PIN, OTHER]), st.integers(0, 1), st.booleans()), max_size=40))
def test_every_frame_is_sent_once(steps: list[tuple[PinKey, int, bool]]) -> None:
    """Letters come, pins have their turn in between; what is sent is each letter of the pin, once."""
    index, topic, sent = Index({}), {0: [], 1: []}, []  # type: ignore[var-annotated]
    for pin, partition, turn in steps:
        topic[partition].append(pin)
        index.add(pin, partition, len(topic[partition]) - 1)
        if turn:
            for part, first in index.firsts([pin]).items():
                for offset in range(first, len(topic[part])):
                    if topic[part][offset] == pin and index.waits(pin, part, offset):
                        sent.append((part, offset))
                        index.mark(pin, {part: offset + 1})
            index.clear([pin])
    waiting = sum(len(each) for each in topic.values()) - len(sent)
    assert len(sent) == len(set(sent))
    assert index.frames == waiting


def test_a_pin_has_its_turn_some_seconds_after_it_is_known() -> None:
    schedule = Schedule()
    assert schedule.due([PIN, OTHER], {}, 0) == set()
    assert schedule.due([PIN, OTHER], {PIN}, 10) == set()
    assert schedule.due([PIN, OTHER], {PIN}, 10 + SETTLE_SECONDS) == {PIN}


def test_what_comes_back_waits_ever_longer() -> None:
    schedule, now, turns = Schedule(), 0.0, []
    while len(turns) < 12:
        if schedule.due([PIN], {PIN}, now):
            turns.append(now)
            schedule.replayed([PIN], now)
        now += 1
    pauses = [later - before for before, later in pairwise(turns)]
    assert pauses[:3] == [2 * SETTLE_SECONDS, 4 * SETTLE_SECONDS, 8 * SETTLE_SECONDS]
    assert pauses == sorted(pauses)
    assert pauses[-1] == MOST_SECONDS


@pytest.mark.parametrize("waiting", [[], [PIN]], ids=["nothing came back", "it was not known in between"])
def test_a_pin_begins_anew(waiting: list[PinKey]) -> None:
    schedule = Schedule()
    schedule.due([PIN], {PIN}, 0)
    schedule.replayed([PIN], SETTLE_SECONDS)
    schedule.due(waiting, {}, 5 * SETTLE_SECONDS)
    later = 6 * SETTLE_SECONDS
    assert schedule.due([PIN], {PIN}, later) == set()
    assert schedule.due([PIN], {PIN}, later + SETTLE_SECONDS) == {PIN}
