"""The fuzzer's short form, and that it finds what is wrong, makes it small and keeps it."""

import re
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from faces2.io.kafka import count_dead_letters
from faces2.models.frame import Layout
from faces2.transforms.decode import numbers
from tests.fuzz.__main__ import read, run
from tests.fuzz.engine import Case, FindingError, HangError, Target, checked, fuzz, time_limit
from tests.fuzz.structured import STRATEGIES, explore
from tests.fuzz.target_encoded import Encoded
from tests.fuzz.target_last_resort import LastResort
from tests.fuzz.target_records import Records
from tests.fuzz.targets import SHARES, TARGETS

CASES = 40_000
SEED = 1


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_rubbish(target: Target) -> None:
    outcome = fuzz(target, CASES * SHARES[target.name] // sum(SHARES.values()), SEED)
    assert outcome.counts.total() == outcome.cases
    assert len(outcome.counts) > (target.name != "metadata")


@pytest.mark.parametrize("target", [t for t in TARGETS if t.name in STRATEGIES], ids=lambda target: target.name)
def test_structured_rubbish(target: Target) -> None:
    assert explore(target, 50, SEED) >= 50


class Planted:
    """Has one case with its letter among the others: fails at an x, forgets to count a z."""

    name = "planted"
    batch = 100

    def __init__(self, letter: bytes) -> None:
        self._letter = letter

    def cases(self, rng: Random, count: int) -> list[Case]:
        return [(index, rng.choice((b"a", b"bc")) + self._letter * (index == 70)) for index in range(count)]

    def check(self, cases: list[Case]) -> Counter[str]:
        texts = [text for _, text in cases]
        if any(b"x" in text for text in texts):
            raise ValueError("an x")
        return Counter("fine" for text in texts if b"z" not in text)


def test_a_failure_is_made_small_and_can_be_repeated(tmp_path: Path) -> None:
    with pytest.raises(FindingError) as found:
        fuzz(Planted(b"x"), 1000, SEED)
    assert found.value.cases == [(70, b"x")]
    file = found.value.keep(tmp_path)
    name, cases = read(file.read_text())
    assert (name, cases) == ("planted", [(70, b"x")])
    with pytest.raises(ValueError, match="an x"):
        checked(Planted(b"x"), cases)


def test_a_wrong_row_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.engine.SHRINK_SECONDS", 1.0)
    monkeypatch.setattr(
        "faces2.transforms.decode.numbers", lambda raw, layout: numbers(raw, layout) + (layout.size == 7)
    )
    with pytest.raises(FindingError):
        fuzz(Records(), 2000, SEED)


def test_a_letter_that_nobody_counts_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.engine.SHRINK_SECONDS", 1.0)
    monkeypatch.setattr("tests.fuzz.target_records.count_dead_letters", lambda letters: count_dead_letters(letters[1:]))
    with pytest.raises(FindingError):
        fuzz(Records(), 2000, SEED)


def test_what_only_the_last_resort_saves_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.engine.SHRINK_SECONDS", 1.0)

    def fails(raw: Any, layout: Layout) -> Any:
        if layout.size == 7:
            raise OverflowError("seven")
        return numbers(raw, layout)

    monkeypatch.setattr("faces2.transforms.decode.numbers", fails)
    for target in (Records(), LastResort()):
        with pytest.raises(FindingError, match="seven"):
            fuzz(target, 2000, SEED)


def test_a_record_that_is_taken_apart_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.engine.SHRINK_SECONDS", 1.0)
    monkeypatch.setattr("faces2.io.kafka_record._NO_HEADERS", re.compile(rb".*?\x01[\x00-\x7f]", re.DOTALL))
    with pytest.raises(FindingError):
        fuzz(Encoded(), 2000, SEED)


def test_a_case_that_is_in_no_count_is_a_failure() -> None:
    with pytest.raises(FindingError) as found:
        fuzz(Planted(b"z"), 100, SEED)
    assert found.value.cases == [(70, b"z")]


def test_what_hangs_is_stopped_though_it_catches_every_exception() -> None:
    began = time.monotonic()
    with pytest.raises(HangError), time_limit(0.2):
        while True:
            try:
                time.sleep(5)
            except Exception:
                continue
    assert time.monotonic() - began < 4


def test_the_same_seed_gives_the_same_cases() -> None:
    for target in TARGETS:
        assert target.cases(Random("1"), 20) == target.cases(Random("1"), 20)


def test_all_targets_have_a_share() -> None:
    assert {target.name for target in TARGETS} == SHARES.keys() > STRATEGIES.keys()


def test_a_run_tells_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SHARES, "planted", 1)
    (found,) = run([Planted(b"x")], 100, SEED, tmp_path)
    (file,) = tmp_path.iterdir()
    assert found.cases == [(70, b"x")]
    assert f"--replay {file}" in capsys.readouterr().out
