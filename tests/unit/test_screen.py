"""The live screen's figures: metrics over time, lag, names of readings, and that every picture can be drawn."""

import math
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from faces2.stack.drawing import age, draw
from faces2.stack.last_readings import Name, Reading, frames, named, shown
from faces2.stack.picture import Answers, count, duration, line, picture
from faces2.stack.screen import changes
from faces2.stack.series import Samples, Window, carried, key, parse, quantile
from faces2.stack.sources import LAG, RAW_RECORDS, Page, Poller, Recorder, lag
from faces2.stack.supervisor import State

NAMES = (
    *("timescaledb", "postgresql", "redis", "kafka", "certgen", "mosquitto"),
    *("pipeline", "waiting", "bridge", "simulator", "watchdog"),
)
PAGE = """
# TYPE faces2_messages_in_total counter
faces2_messages_in_total{source="raw-iot-data"} 12.0
# TYPE faces2_dead_letters_total counter
faces2_dead_letters_total{reason="bad_json",step="parse"} 2.0
faces2_dead_letters_total{reason="bad_json",step="bridge"} 1.0
faces2_dead_letters_total{reason="bad_hex",step="decode"} 0.0
# TYPE faces2_end_to_end_seconds histogram
faces2_end_to_end_seconds_bucket{le="1.0"} 4.0
faces2_end_to_end_seconds_bucket{le="2.0"} 8.0
faces2_end_to_end_seconds_bucket{le="+Inf"} 8.0
faces2_end_to_end_seconds_sum 9.0
faces2_end_to_end_seconds_count 8.0
# TYPE faces2_in_flight gauge
faces2_in_flight 7.0
"""
N, G = key("n_total"), key("gauge")


def test_a_page_becomes_samples() -> None:
    samples = parse(PAGE)
    assert samples[key("faces2_messages_in_total", source="raw-iot-data")] == 12
    assert samples[key("faces2_end_to_end_seconds_bucket", le="+Inf")] == 8


@pytest.mark.parametrize(
    ("totals", "before", "after", "result"),
    [
        ({}, {}, {N: 5}, {N: 5}),
        ({N: 5}, {N: 5}, {N: 8}, {N: 8}),
        ({N: 5}, {N: 5}, {N: 2}, {N: 7}),
        ({N: 7}, {N: 2}, {N: 3}, {N: 8}),
        ({N: 5}, {N: 5}, {}, {N: 5}),
        ({N: 5}, {}, {N: 1}, {N: 6}),
        ({G: 5}, {G: 5}, {G: 2}, {G: 2}),
        ({G: 5}, {G: 5}, {}, {}),
    ],
    ids=["first", "growth", "restart", "after it", "gone", "back", "a gauge falls", "a gauge goes"],
)
def test_counts_go_on_over_a_restart(totals: Any, before: Any, after: Any, result: Any) -> None:
    assert carried(totals, before, after) == result


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 1000) | st.none()), max_size=30))
def test_rates_and_totals_never_fall(steps: list[tuple[float, int | None]]) -> None:
    window, now, total = Window(), 0.0, 0.0
    for wait, value in steps:
        now += wait + 0.1
        window = window.lost() if value is None else window.add(now, {N: float(value)})
        rate, seen = window.rate("n_total"), window.total("n_total")
        assert rate is None or rate >= 0
        assert seen is None or seen >= total
        total = seen or total


def test_a_rate_is_that_of_the_window() -> None:
    window = Window(seconds=5).add(0, {N: 1000})
    assert window.rate("n_total") is None
    window = window.add(1, {N: 1010})
    assert window.rate("n_total") == 10
    for second in range(2, 20):
        window = window.add(second, {N: 1010})
    assert window.rate("n_total") == 0
    assert window.total("n_total") == 1010
    assert window.lost().rate("n_total") is None


def test_rare_readings_have_a_rate_too() -> None:
    assert Window(seconds=5).add(0, {N: 0}).add(20, {N: 10}).rate("n_total") == 0.5


def test_labels_choose_the_samples() -> None:
    window = Window().add(0, {key("n_total", to="a", step="x"): 1, key("n_total", to="b"): 2, key("m_total"): 4})
    assert window.total("n_total") == 3
    assert window.total("n_total", to="a") == 1
    assert window.total("n_total", to="c") == 0
    assert window.by("n_total", "to") == {"a": 1, "b": 2}


BUCKETS = [(1.0, 50.0), (2.0, 90.0), (4.0, 100.0), (math.inf, 100.0)]


@pytest.mark.parametrize(
    ("buckets", "q", "result"),
    [
        (BUCKETS, 0.5, 1.0),
        (BUCKETS, 0.25, 0.5),
        (BUCKETS, 0.7, 1.5),
        (BUCKETS, 0.99, 3.8),
        (BUCKETS, 1.0, 4.0),
        ([(1.0, 0.0), (math.inf, 10.0)], 0.5, 1.0),
        ([(1.0, 0.0), (2.0, 10.0), (math.inf, 10.0)], 0.0, 1.0),
        ([(1.0, 0.0), (math.inf, 0.0)], 0.5, None),
        ([], 0.5, None),
    ],
)
def test_quantiles_come_from_buckets(buckets: list[tuple[float, float]], q: float, result: float | None) -> None:
    assert quantile(buckets, q) == pytest.approx(result)


def test_the_latency_is_that_of_the_window_alone() -> None:
    def buckets(one: float, two: float) -> dict[Any, float]:
        return {key("h_bucket", le=le): n for le, n in (("1.0", one), ("2.0", two), ("+Inf", two))}

    window = Window().add(0, buckets(1000, 1000)).add(1, buckets(1000, 1000))
    assert window.quantile("h", 0.5) is None
    assert window.add(2, buckets(1000, 1010)).quantile("h", 0.5) == 1.5
    assert window.add(2, buckets(10, 10)).quantile("h", 0.5) == 0.5


@pytest.mark.parametrize(
    ("committed", "held", "result"),
    [(90, (0, 100), 10), (-1001, (40, 100), 60), (10, (40, 100), 60), (120, (0, 100), 0), (-1001, (0, 0), 0)],
    ids=["behind", "no commit", "retention", "topic made anew", "empty"],
)
def test_lag(committed: int, held: tuple[int, int], result: int) -> None:
    assert lag(committed, held) == result


def test_a_failure_is_no_answer_and_the_next_answer_counts_on() -> None:
    answers: Iterator[Samples | None] = iter([{N: 5.0}, None, {N: 2.0}])

    def ask() -> Samples:
        if (answer := next(answers)) is None:
            raise OSError
        return answer

    recorder = Recorder(ask, clock=iter(range(9)).__next__)
    assert recorder().total("n_total") == 5
    with pytest.raises(OSError):
        recorder()
    assert recorder().total("n_total") == 7


def test_a_poller_outlives_its_source() -> None:
    stop, seen = threading.Event(), list[Any]()

    def ask() -> int:
        seen.append(poller.value)
        if len(seen) == 4:
            stop.set()
        if len(seen) == 2:
            raise OSError
        return len(seen)

    poller = Poller(ask, every=0)
    poller.run(stop)
    assert seen == [None, 1, None, 3]


def test_a_part_that_is_down_raises() -> None:
    with pytest.raises(OSError, match="refused"):
        Page("127.0.0.1", 1)()


AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEMPERATURE = named(("Lobby air", "aa:bb:cc:dd:ee:01", 1, 2, "Temperature", None, "°C", "0.00", 2))


def test_readings_of_a_moment_are_one_frame() -> None:
    earlier = AT.replace(second=1)
    rows = [(AT, 5, 2, 41.0), (AT, 5, 1, 21.345), (AT, 6, 4, None), (earlier, 5, 1, 20.0)]
    first, second, third = frames(rows, {(5, 1): TEMPERATURE})
    assert (first.mac, first.pin, first.sensor) == ("aa:bb:cc:dd:ee:01", "J1/2", "Lobby air")
    assert first.readings == (Reading("Temperature", "21.34 °C"), Reading("datapoint 2", "41"))
    assert (second.sensor, second.readings) == ("device 6", (Reading("datapoint 4", "–"),))
    assert third.at == earlier


@pytest.mark.parametrize(
    ("dataformat", "decimals", "value", "text"),
    [
        ("0.0", 0, 56.44, "56.4 l"),
        (None, 3, 5.76, "5.760 l"),
        (None, None, 5.76, "5.76 l"),
        ("0", 2, 925.0, "925 l"),
        (None, -2, 500.0, "500 l"),
        ("0.0", 1, None, "–"),
        ("0.0", 1, math.nan, "nan l"),
    ],
)
def test_values_have_their_digits_and_unit(
    dataformat: str | None, decimals: int | None, value: float | None, text: str
) -> None:
    assert shown(value, named(("s", None, None, None, "Volume", None, "l", dataformat, decimals))) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (0.0482, "48 ms"), (0.9999, "1 s"), (1.254, "1.25 s"), (300, "5 min")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (60, "1 min"), (7300, "2 h"), (200_000, "2 d")])
def test_ages(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_counts() -> None:
    assert (count(None), count(1234567.0)) == ("–", "1,234,567")


RUNNING = State("RUNNING", 10, 61, 1)
DOWN = Answers(None, None, None, None, None, None, None, None, None)


def _answers() -> Answers:
    pipeline = Window().add(0, {}).add(2, parse(PAGE))
    kafka = Window().add(0, {key(RAW_RECORDS): 10, key(LAG): 3}).add(1, {key(RAW_RECORDS): 20, key(LAG): 3})
    states = dict.fromkeys(NAMES, RUNNING) | {"bridge": State("BACKOFF", 0, 0, 1)}
    readings = frames([(AT, 5, 1, 21.5), (AT, 5, 9, 1.0)], {(5, 1): TEMPERATURE})
    waiting = Window().add(0, {key("faces2_waiting_frames"): 12})
    stored = "TimescaleDB 2.19.3, Apache edition"
    return Answers(states, None, pipeline, kafka, pipeline, waiting, 1234, readings * 50, stored)


def test_the_picture_and_its_line() -> None:
    drawn = picture(NAMES, _answers(), "processed-iot-data", 5)
    assert drawn.dead == {"bad_json": 6}
    assert (drawn.lag, drawn.in_flight, drawn.queued) == (3, 7, None)
    text = line(drawn)
    assert "10 of 11 parts running" in text
    assert "controllers –, bridge 0.0 msg/s, Kafka 10.0 msg/s, pipeline 6.0 msg/s" in text
    assert "lag 3 | rows 1,234 | dead letters 6 | latency p50 1 s p99 1.98 s | waiting for their device 12" in text


def test_nothing_known_is_a_picture_too() -> None:
    assert line(picture(NAMES, DOWN, "p", 0)).startswith("0 of 11 parts running | controllers –, ")


@pytest.mark.parametrize("answers", [DOWN, _answers()], ids=["down", "up"])
@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24), (40, 10), (200, 60)])
def test_the_screen_fits_the_terminal(answers: Answers, width: int, height: int) -> None:
    console = Console(width=width, height=height, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(draw(picture(NAMES, answers, "p", 3700), width, height))
    lines = console.export_text().splitlines()
    assert len(lines) <= max(height, 12 + -(-len(NAMES) // 3))
    assert all(len(text) <= width for text in lines)
    assert "1:01:40" in lines[0]


def test_changes_of_parts_are_said() -> None:
    before = {"kafka": RUNNING, "redis": RUNNING, "bridge": RUNNING, "certgen": None}
    after = {
        "kafka": State("BACKOFF", 0, 0, 2),
        "redis": State("RUNNING", 11, 0, 5),
        "bridge": RUNNING,
        "certgen": RUNNING,
    }
    assert list(changes(before, after)) == ["kafka: running -> backoff", "redis: started anew"]
    assert list(changes({}, after)) == []


def test_names_without_a_pin() -> None:
    name = named(("Spare", None, None, None, "Flow", "~", "l", None, 1))
    assert name == Name("Spare", "", None, None, "Flow", "~", "l", 1)
    assert shown(2.0, name) == "~2.0 l"
