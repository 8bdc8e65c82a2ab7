"""Progress where there is no terminal: a line now and then."""

from io import StringIO

from rich.console import Console

from faces2.service.progress import LINE_SECONDS, Steps


def test_a_line_now_and_then() -> None:
    now, out = [0.0], StringIO()
    with Steps("work", 1000, Console(file=out), lambda: now[0]) as steps:
        steps.done(100)
        now[0] = LINE_SECONDS
        steps.done(400)
        steps.done(100)
    assert out.getvalue().splitlines() == ["work: 500 of 1,000, 100/s"]
    assert steps.rate == "120/s"


def test_a_terminal_has_a_bar() -> None:
    out = StringIO()
    with Steps("work", 1000, Console(file=out, force_terminal=True, width=100)) as steps:
        steps.done(1000)
    assert "1000/1000" in out.getvalue()
