"""The last resort: an exception that nobody foresaw costs the one record that raises it, not the bundle."""

from collections.abc import Callable
from typing import TypeVar

from faces2.models.dead_letter import Reason, Record, Rejected
from faces2.service.logs import get_logger

B = TypeVar("B")
R = TypeVar("R")

log = get_logger(__name__)


def divide(
    work: Callable[[B], R], batch: B, halves: Callable[[B], tuple[B, B] | None], records: Callable[[B], list[Record]]
) -> tuple[list[R], list[Rejected]]:
    """What `work` gives for the batch; where it raises, for its halves, down to those that `halves` can not part: their
    `records` are refused. `work` must have no effects, for some of it is done again."""
    refused: list[tuple[B, Exception]] = []
    results = _divide(work, batch, halves, refused)
    if not refused:
        return results, []
    log.error("a record raises what nobody foresaw", records=len(refused), exc_info=refused[0][1])
    return results, [
        Rejected(record, Reason.INTERNAL_ERROR, f"{type(error).__name__}: {error}"[:1000])
        for part, error in refused
        for record in records(part)
    ]


def _divide(
    work: Callable[[B], R], batch: B, halves: Callable[[B], tuple[B, B] | None], refused: list[tuple[B, Exception]]
) -> list[R]:
    try:
        return [work(batch)]
    except MemoryError:  # the machine's fault, not the record's
        raise
    except Exception as error:
        parts = halves(batch)
        if parts is None:
            refused.append((batch, error))
            return []
    return [result for part in parts for result in _divide(work, part, halves, refused)]


def halve(records: list[Record]) -> tuple[list[Record], list[Record]] | None:
    """Two parts of a list of records; None when there is but one."""
    middle = len(records) // 2
    return (records[:middle], records[middle:]) if middle else None
