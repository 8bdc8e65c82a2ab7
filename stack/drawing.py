"""The live screen as rich draws it: parts, the way of the messages, figures, last readings."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from faces2.stack.last_readings import Frame
from faces2.stack.picture import Picture, Station, count, duration, rate
from faces2.stack.supervisor import RUNNING, State

WIDE = 110
"""Columns from which a MAC is shown whole."""
PARTS_A_ROW = 3
STYLES = {RUNNING: "green", "STARTING": "yellow", "STOPPING": "yellow", "BACKOFF": "yellow"}


def draw(shown: Picture, width: int, height: int) -> RenderableType:
    """The picture on so many columns and lines."""
    above: list[RenderableType] = [
        _title(shown),
        _rule("parts"),
        _parts(shown.parts),
        _rule("on the way"),
        _stations(shown.stations),
        _rule("now"),
        _figures(shown),
        _dead_letters(shown.dead, shown.waiting),
        _rule("last readings"),
    ]
    used = 11 + -(-len(shown.parts) // PARTS_A_ROW)
    return Group(*above, _frames(shown.frames, width, max(1, height - used)))


def _title(shown: Picture) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True)
    grid.add_row(
        Text.assemble(("FACES2  ", "bold cyan"), f"storage: {shown.storage or '–'}"),
        Text(f"{_clock(shown.seconds)}  Ctrl-C ends", style="dim"),
    )
    return grid


def _parts(parts: Mapping[str, State | None]) -> RenderableType:
    cells = [_part(name, state) for name, state in parts.items()]
    grid = _row(PARTS_A_ROW)
    rows = -(-len(cells) // PARTS_A_ROW)
    for row in range(rows):
        grid.add_row(*cells[row::rows])
    return grid


def _part(name: str, state: State | None) -> Text:
    style = "dim" if state is None else STYLES.get(state.name, "bold red")
    said = "–" if state is None else f"up {age(state.seconds)}" if state.name == RUNNING else state.name.lower()
    return Text.assemble(("● ", style), f"{name:12}", (said, style))


def _stations(stations: Sequence[Station]) -> RenderableType:
    grid = _row(len(stations))
    last = len(stations) - 1
    grid.add_row(*(Text.assemble(s.name, ("" if i == last else " →", "dim")) for i, s in enumerate(stations)))
    grid.add_row(*(Text(rate(s), style="bold" if s.rate else "dim") for s in stations))
    grid.add_row(*(Text(count(s.total), style="dim") for s in stations))
    return grid


def _figures(shown: Picture) -> RenderableType:
    grid = _row(3)
    grid.add_row(
        _figure("rows in table", count(shown.rows)),
        _figure("latency p50", duration(shown.p50)),
        _figure("p99", duration(shown.p99)),
    )
    grid.add_row(
        _figure("lag", count(shown.lag)),
        _figure("in flight", count(shown.in_flight)),
        _figure("queued at controllers", count(shown.queued)),
    )
    return grid


def _figure(what: str, value: str) -> Text:
    return Text.assemble((f"{what} ", "dim"), (value, "bold"))


def _dead_letters(dead: Mapping[str, float] | None, waiting: float | None) -> Text:
    text = Text(no_wrap=True)
    if waiting:
        text.append_text(_figure("waiting for their device", f"{count(waiting)}  "))
    if not dead:
        return text.append_text(_figure("dead letters", count(None if dead is None else 0)))
    reasons = sorted(dead.items(), key=lambda item: -item[1])
    text.append_text(Text.assemble(("dead letters ", "dim"), (count(sum(dead.values())), "bold yellow")))
    text.append(": " + ", ".join(f"{reason} {count(number)}" for reason, number in reasons), style="yellow")
    text.overflow = "ellipsis"
    return text


def _frames(frames: Sequence[Frame] | None, width: int, room: int) -> RenderableType:
    if not frames:
        return Text("–" if frames is None else "none yet", style="dim")
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for frame in frames[:room]:
        mac = frame.mac if width >= WIDE or not frame.mac else f"…{frame.mac[-5:]}"
        at = Text(f"{frame.at.astimezone():%H:%M:%S}", style="dim")
        table.add_row(at, Text(f"{mac} {frame.pin}", style="cyan"), frame.sensor[:20], _readings(frame))
    return table


def _readings(frame: Frame) -> Text:
    pairs: Iterable[Text] = (Text.assemble((f"{r.label} ", "dim"), r.value) for r in frame.readings)
    return Text("  ").join(pairs)


def _rule(title: str) -> Rule:
    return Rule(Text(title, style="bold"), align="left", style="dim")


def _row(columns: int) -> Table:
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
    for _ in range(columns):
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    return grid


def age(seconds: float) -> str:
    """`44 s`, `12 min`, `3 h`, `2 d`."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
