"""SQLSTATEs: what is the row's fault, and what is not."""

import pytest

from faces2.io.sqlstate import Fault, classify


@pytest.mark.parametrize(
    ("sqlstate", "fault"),
    [
        ("23505", Fault.DUPLICATE),
        ("23502", Fault.PERMANENT),  # not null
        ("23514", Fault.PERMANENT),  # check
        ("22003", Fault.PERMANENT),  # out of range
        ("22008", Fault.PERMANENT),  # date out of range
        ("22P03", Fault.PERMANENT),  # bad binary form
        (None, Fault.TEMPORARY),  # connection lost
        ("08006", Fault.TEMPORARY),  # connection failure
        ("25006", Fault.TEMPORARY),  # read only: a standby
        ("28P01", Fault.TEMPORARY),  # wrong password
        ("3D000", Fault.TEMPORARY),  # no such database
        ("40001", Fault.TEMPORARY),  # serialization
        ("40P01", Fault.TEMPORARY),  # deadlock
        ("42P01", Fault.TEMPORARY),  # no such table
        ("42501", Fault.TEMPORARY),  # no right
        ("53100", Fault.TEMPORARY),  # disk full
        ("53200", Fault.TOO_MUCH),  # out of shared memory: locks
        ("53300", Fault.TEMPORARY),  # too many connections
        ("55P03", Fault.TEMPORARY),  # lock not available
        ("57014", Fault.TEMPORARY),  # statement timeout
        ("57P01", Fault.TEMPORARY),  # shutdown
        ("58030", Fault.TEMPORARY),  # I/O error
        ("XX000", Fault.TEMPORARY),  # internal
    ],
)
def test_classify(sqlstate: str | None, fault: Fault) -> None:
    assert classify(sqlstate) is fault
