"""Feeds a target with batches of cases, each from a seed of its own; what fails is made small and kept."""

import signal
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, Protocol

BATCH_SECONDS = 60.0
"""A batch that takes longer hangs; it takes some 0.1 s."""
SHRINK_SECONDS = 30.0

Case = tuple[Any, ...]


class HangError(BaseException):
    """The time is over; no Exception, for what is tested may catch those."""


class Target(Protocol):
    """What is fuzzed."""

    name: str
    batch: int

    def cases(self, rng: Random, count: int) -> list[Case]:
        """New cases: tuples whose `repr` gives them back (see FindingError.text)."""

    def check(self, cases: list[Case]) -> Counter[str]:
        """What became of the cases, each counted once; raises when something is wrong."""


@dataclass
class FindingError(Exception):
    """Something is wrong: the smallest cases that still show it."""

    target: str
    cases: list[Case]
    error: BaseException

    def text(self) -> str:
        """What is kept; `cases_of` reads it."""
        said = "".join(traceback.format_exception(self.error, limit=-6))
        comment = "".join(f"# {line}\n" for line in said.splitlines())
        return f"{comment}{(self.target, self.cases)!r}\n"

    def keep(self, folder: Path) -> Path:
        """Writes it there."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.target}-{zlib.crc32(repr(self.cases).encode()):08x}.txt"
        file.write_text(self.text())
        return file

    def __str__(self) -> str:
        return f"{self.target}: {type(self.error).__name__}: {self.error}\n  {self.cases!r:.2000}"


@dataclass
class Outcome:
    """What became of a target's cases."""

    cases: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)


def fuzz(target: Target, count: int, seed: int) -> Outcome:
    """`count` cases; the first that fails ends it with a FindingError."""
    outcome, began = Outcome(), time.monotonic()
    while outcome.cases < count:
        rng = Random(f"{seed} {target.name} {outcome.cases}")
        cases = target.cases(rng, min(target.batch, count - outcome.cases))
        try:
            outcome.counts += checked(target, cases)
        except (Exception, HangError) as error:
            raise shrunk(target, cases, error) from error
        outcome.cases += len(cases)
    outcome.seconds = time.monotonic() - began
    return outcome


def checked(target: Target, cases: list[Case], seconds: float = BATCH_SECONDS) -> Counter[str]:
    """The batch's counts, which add up; HangError after so many seconds."""
    with time_limit(seconds):
        counts = target.check(cases)
    assert counts.total() == len(cases), f"{len(cases)} cases are {counts.total()} in the counts: {counts}"
    return counts


def shrunk(target: Target, cases: list[Case], error: BaseException) -> FindingError:
    """Fewer cases, and those shorter, as long as they fail in the same way."""
    deadline = time.monotonic() + SHRINK_SECONDS
    found = FindingError(target.name, cases, error)

    def fails(tried: list[Case]) -> bool:
        if not tried or time.monotonic() > deadline:
            return False
        try:
            checked(target, tried, SHRINK_SECONDS / 3)
        except (Exception, HangError) as other:
            if type(other) is type(error):
                found.cases, found.error = tried, other
                return True
        return False

    shorter(found.cases, fails)
    for index in range(len(found.cases)):
        for place, value in enumerate(found.cases[index]):
            if isinstance(value, (bytes, str, list, tuple)):
                shorter(value, lambda part, i=index, p=place: fails(_with(found.cases, i, p, part)))
    return found


def shorter(whole: Any, fails: Callable[[Any], bool]) -> Any:
    """The sequence without what is not needed for it to fail: halves first, then ever smaller parts."""
    size = len(whole) // 2
    while size:
        start = 0
        while start < len(whole):
            tried = whole[:start] + whole[start + size :]
            if fails(tried):
                whole = tried
            else:
                start += size
        size //= 2
    return whole


def _with(cases: list[Case], index: int, place: int, value: Any) -> list[Case]:
    case = cases[index]
    return [*cases[:index], (*case[:place], value, *case[place + 1 :]), *cases[index + 1 :]]


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """HangError in the main thread when it takes longer."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise HangError(f"not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)  # pytest-timeout has set it, too
        signal.signal(signal.SIGALRM, before)


def counted(values: Sequence[str]) -> Counter[str]:
    """Their counts."""
    return Counter(map(str, values))
