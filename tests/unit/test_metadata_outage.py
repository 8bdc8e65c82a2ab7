"""One dependency that is away: asked rarely, logged once."""

import pytest
import structlog

from faces2.io.outage import Outage


def test_pause_and_one_log_line_an_outage() -> None:
    clock, calls = [0.0], 0

    def call() -> int:
        nonlocal calls
        calls += 1
        if clock[0] < 20:
            raise OSError("away")
        return 7

    outage = Outage("it", OSError, pause=5, clock=lambda: clock[0])
    with structlog.testing.capture_logs() as lines:
        for clock[0] in (0.0, 1.0, 4.9, 5.0, 9.0, 10.1, 21.0, 21.1):
            answer = outage.attempt(call)
    assert answer == 7
    assert calls == 5
    assert [line["event"] for line in lines] == ["away", "back"]


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError):
        Outage("it", OSError, pause=5).attempt(lambda: 1 // 0)
