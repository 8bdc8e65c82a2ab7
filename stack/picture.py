"""What the live screen shows, as values: put together from the sources, drawn elsewhere, or written as one line."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from faces2.stack.last_readings import Frame
from faces2.stack.series import Window
from faces2.stack.sources import LAG, RAW_RECORDS
from faces2.stack.supervisor import RUNNING, State

LATENCY = "faces2_end_to_end_seconds"
NOTHING = Window()


@dataclass(frozen=True)
class Answers:
    """The sources' last answers; None where one is down."""

    states: Mapping[str, State] | None
    simulator: Window | None
    bridge: Window | None
    kafka: Window | None
    pipeline: Window | None
    waiting: Window | None
    rows: int | None
    frames: Sequence[Frame] | None
    storage: str | None


@dataclass(frozen=True)
class Station:
    """A place on the way from the controllers to the table: what passes a second, and what has passed."""

    name: str
    unit: str
    rate: float | None
    total: float | None


@dataclass(frozen=True)
class Picture:
    """The screen; what is not known is None."""

    seconds: float
    parts: Mapping[str, State | None]
    stations: Sequence[Station]
    lag: float | None
    in_flight: float | None
    queued: float | None
    rows: int | None
    dead: Mapping[str, float] | None
    """Dead letters by reason."""
    waiting: float | None
    """Frames that wait for their device."""
    p50: float | None
    p99: float | None
    frames: Sequence[Frame] | None
    storage: str | None


def picture(names: Sequence[str], answers: Answers, processed_topic: str, seconds: float) -> Picture:
    """The answers at one moment, `seconds` after the watching began; `names` are the parts that are wanted."""
    simulator, bridge = answers.simulator or NOTHING, answers.bridge or NOTHING
    kafka, pipeline = answers.kafka or NOTHING, answers.pipeline or NOTHING
    return Picture(
        seconds=seconds,
        parts={name: (answers.states or {}).get(name) for name in names},
        stations=(
            _station("controllers", "msg", simulator, "faces2_messages_out_total", target="mqtt"),
            _station("bridge", "msg", bridge, "faces2_messages_in_total", source="mqtt"),
            _station("Kafka", "msg", kafka, RAW_RECORDS),
            _station("pipeline", "msg", pipeline, "faces2_messages_in_total"),
            _station("table", "rows", pipeline, "faces2_rows_total"),
            _station("published", "rows", pipeline, "faces2_messages_out_total", target=processed_topic),
        ),
        lag=kafka.total(LAG),
        in_flight=bridge.total("faces2_in_flight"),
        queued=simulator.total("faces2_queued"),
        rows=answers.rows,
        dead=_dead(window for window in (answers.bridge, answers.pipeline) if window),
        waiting=(answers.waiting or NOTHING).total("faces2_waiting_frames"),
        p50=pipeline.quantile(LATENCY, 0.5),
        p99=pipeline.quantile(LATENCY, 0.99),
        frames=answers.frames,
        storage=answers.storage,
    )


def _station(name: str, unit: str, window: Window, metric: str, **labels: str) -> Station:
    return Station(name, unit, window.rate(metric, **labels), window.total(metric, **labels))


def _dead(windows: Iterable[Window]) -> Mapping[str, float] | None:
    known, sums = False, dict[str, float]()
    for window in windows:
        known = True
        for reason, count in window.by("faces2_dead_letters_total", "reason").items():
            sums[reason] = sums.get(reason, 0.0) + count
    return {reason: count for reason, count in sums.items() if count} if known else None


def line(shown: Picture) -> str:
    """The picture in one line, without the readings."""
    running = sum(state is not None and state.name == RUNNING for state in shown.parts.values())
    flow = ", ".join(f"{station.name} {rate(station)}" for station in shown.stations)
    dead = "–" if shown.dead is None else count(sum(shown.dead.values()))
    return (
        f"{running} of {len(shown.parts)} parts running | {flow} | lag {count(shown.lag)} | rows {count(shown.rows)} | "
        f"dead letters {dead} | latency p50 {duration(shown.p50)} p99 {duration(shown.p99)} | "
        f"waiting for their device {count(shown.waiting)}"
    )


def rate(station: Station) -> str:
    """`12.5 msg/s`; one decimal below a hundred."""
    if station.rate is None:
        return "–"
    return f"{station.rate:,.{0 if station.rate >= 99.95 else 1}f} {station.unit}/s"


def count(number: float | None) -> str:
    """`1,234,567`."""
    return "–" if number is None else f"{number:,.0f}"


def duration(seconds: float | None) -> str:
    """`480 ms`, `1.25 s`, `12 min`."""
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds / 60:.0f} min"
