"""Enrich and Decode as the pipeline runs them, where single records raise: those are refused, and no other."""

from collections import Counter
from collections.abc import Callable, Set
from random import Random
from typing import TypeVar

from structlog.testing import capture_logs

from faces2.models.batches import FrameGroup, Readings
from faces2.models.dead_letter import Reason, Record, Rejected
from faces2.transforms.decode import decode_groups, halve_groups, records_of
from faces2.transforms.enrich import Enriched, enrich
from faces2.transforms.last_resort import divide, halve
from tests.fuzz import columns, fleet
from tests.fuzz.engine import Case
from tests.fuzz.target_records import value

B = TypeVar("B")
R = TypeVar("R")

Outcome = tuple[dict[int, list[columns.Row]], dict[int, Rejected]]
"""The rows, and what is refused, by the record's id()."""


class LastResort:
    """(the record's value, the step that raises at it or "")."""

    name = "last-resort"
    batch = 200

    def cases(self, rng: Random, count: int) -> list[Case]:
        """In some batches none raises, in some all do."""
        share = rng.choice((0.0, 0.01, 0.1, 1.0))
        return [(value(rng), rng.choice(("Enrich", "Decode")) if rng.random() < share else "") for _ in range(count)]

    def check(self, cases: list[Case]) -> Counter[str]:
        """What does not raise comes out as if it stood alone."""
        records = columns.fresh([(b"key", text) for text, _ in cases])
        steps = [step for _, step in cases]
        raising = {step: {id(r) for r, at in zip(records, steps, strict=True) if at == step} for step in set(steps)}
        rows, refused = _through(records, raising.get("Enrich", set()), raising.get("Decode", set()))
        ends: Counter[str] = Counter()
        for record, step in zip(records, steps, strict=True):
            found, rejected = rows.pop(id(record), None), refused.pop(id(record), None)
            if step == "Enrich" or (step == "Decode" and enrich([record], fleet.SNAPSHOT).groups):
                assert found is None and rejected is not None and rejected.reason is Reason.INTERNAL_ERROR
            else:
                alone, refused_alone = _through([record])
                assert (found, rejected) == (alone.get(id(record)), refused_alone.get(id(record)))
                assert rejected is None or rejected.reason is not Reason.INTERNAL_ERROR, rejected.detail
            ends["fine" if rejected is None else str(rejected.reason)] += 1
        assert not rows and not refused, "rows or dead letters of no record"
        return ends


def _through(records: list[Record], at: Set[int] = frozenset(), at_frames: Set[int] = frozenset()) -> Outcome:
    """As the steps do it."""

    def find(some: list[Record]) -> Enriched:
        return enrich(some, fleet.SNAPSHOT)

    rows, refused = dict[int, list[columns.Row]](), list[Rejected]()
    with capture_logs():
        found, rejected = divide(_raising(find, list, at), records, halve, list)
        refused += rejected
        for enriched in found:
            refused += enriched.rejected
            decoded, rejected = _decoded(enriched.groups, at_frames)
            refused += rejected
            for readings, failed in decoded:
                refused += failed
                rows |= columns.by_record(readings)
    return rows, columns.once(refused)


def _decoded(groups: list[FrameGroup], at: Set[int]) -> tuple[list[tuple[Readings, list[Rejected]]], list[Rejected]]:
    if not groups:
        return [], []
    return divide(_raising(decode_groups, records_of, at), groups, halve_groups, records_of)


def _raising(work: Callable[[B], R], records: Callable[[B], list[Record]], at: Set[int]) -> Callable[[B], R]:
    """The work, which fails where one of those records is."""

    def raising(batch: B) -> R:
        if any(id(record) in at for record in records(batch)):
            raise ZeroDivisionError("planted")
        return work(batch)

    return raising
