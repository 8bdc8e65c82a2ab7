"""What a database error means for a batch: one pure function, by SQLSTATE. Imports no client library."""

from enum import Enum


class Fault(Enum):
    """What to do about a failed write."""

    DUPLICATE = "duplicate"  # rows exist: upsert the batch
    TEMPORARY = "temporary"  # the same batch can succeed later: try again
    TOO_MUCH = "too much"  # more at once than the server can hold: write it in parts
    PERMANENT = "permanent"  # some row can never be written: find it


_DUPLICATE = "23505"
# Out of memory, or of locks: rows of so many days that each needs a chunk of its own take a lock for each.
_TOO_MUCH = "53200"
# Not the row's fault: 08 connection, 25 transaction state (a read-only standby), 28 login, 3D no such database,
# 40 rollback (deadlock), 42 a missing table or right, 53 resources (disk full, memory), 55 object in use,
# 57 shutdown or crash, 58 and XX system errors. Dropping rows for any of them would lose good data.
_TEMPORARY = ("08", "25", "28", "3D", "40", "42", "53", "55", "57", "58", "XX")


def classify(sqlstate: str | None) -> Fault:
    """The fault of an SQLSTATE; None (no answer from the server: a lost connection) is temporary."""
    if sqlstate == _TOO_MUCH:
        return Fault.TOO_MUCH
    if sqlstate is None or sqlstate.startswith(_TEMPORARY):
        return Fault.TEMPORARY
    return Fault.DUPLICATE if sqlstate == _DUPLICATE else Fault.PERMANENT
