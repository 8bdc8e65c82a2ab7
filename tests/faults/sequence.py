"""Which faults come when: made from the seed alone, so that a run can be done again."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.faults import Fault

ALONE = 1 / 6
"""Share of the faults that wait until all before are over and their own recovery is seen: those are measured."""
PAUSE = (1.0, 5.0)
"""Seconds until the next fault, where it is not waited for; faults then overlap."""


@dataclass(frozen=True)
class Step:
    """One fault of a sequence."""

    number: int
    fault: Fault
    seconds: float
    alone: bool
    pause: float

    def __str__(self) -> str:
        length = f" {self.seconds} s" if self.seconds else ""
        return f"{self.number} {self.fault.name}{length}{', alone' if self.alone else ''}"


def sequence(faults: Sequence[Fault], count: int, seed: int) -> list[Step]:
    """Every kind comes before any comes again."""
    chosen, deck, steps = random.Random(seed), [], []
    for number in range(1, count + 1):
        deck = deck or chosen.sample(faults, len(faults))
        fault = deck.pop()
        alone = chosen.random() < ALONE
        steps.append(Step(number, fault, fault.length(chosen), alone, round(chosen.uniform(*PAUSE), 1)))
    return steps


def each(faults: Sequence[Fault], times: int, seed: int, seconds: float | None) -> list[Step]:
    """The faults in this order, each alone, so often."""
    chosen = random.Random(seed)
    every = [fault for _ in range(times) for fault in faults]
    return [
        Step(number, fault, fault.length(chosen) if seconds is None else seconds, True, 0)
        for number, fault in enumerate(every, start=1)
    ]
