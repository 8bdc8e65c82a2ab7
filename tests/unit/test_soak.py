"""The soak's pure parts: which growth counts, and what the report and the picture say."""

import math
from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks.soak import report
from benchmarks.soak.samples import Sample, handles, own_megabytes
from benchmarks.soak.verdict import judge, line, series

RATE = 300.0


def samples(minutes: int = 30, **changes: Any) -> list[Sample]:
    """A calm run: a sample each 5 s; `changes` are functions of the seconds, for figures or `process memory`."""
    rng = Random(1)

    def at(seconds: int) -> Sample:
        sample: Sample = {
            "at": float(seconds),
            "memory": {"bridge": 60 + rng.random(), "pipeline JVM": 400 + seconds / 10},
            "handles": {"bridge": 20 + rng.randrange(3), "pipeline JVM": 300},
            **{"lag": rng.randrange(2000), "checkpoint_kb": 20 + rng.random(), "checkpoint_s": 0.05},
            **{"rows_per_s": 1200.0, "messages_per_s": 300.0, "p50_s": 0.6, "p99_s": 1.0 + rng.random() / 10},
        }
        if seconds % 150 == 0:
            sample["heap"] = {"pipeline JVM": 80 + rng.random()}
        for name, change in changes.items():
            target, _, process = name.partition("_of_")
            if process:
                sample.setdefault(target, {})[process] = change(seconds)
            else:
                sample[name] = change(seconds)
        return sample

    return [at(seconds) for seconds in range(0, minutes * 60, 5)]


def test_a_line() -> None:
    found = line([(0, 5), (1800, 10), (3600, 15), (5400, 20)])
    assert found is not None
    assert (found.per_hour, found.first, found.last) == pytest.approx((10, 5, 20))
    assert found.scatter == pytest.approx(0, abs=1e-9)
    assert line([(0, 1), (1, 2), (2, 3)]) is None


def test_a_calm_run_has_no_fault() -> None:
    found = judge(samples(), RATE)
    assert found["faults"] == []
    assert found["warm_up_s"] == pytest.approx(600, abs=5)
    # All of its heap is taken in time; what lives in it does not grow.
    assert found["processes"]["pipeline JVM"]["memory"]["per_hour"] == pytest.approx(360, abs=1)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"memory_of_bridge": lambda s: 60 + s / 60}, "bridge: memory grows by 60.0 MB an hour; 30 are allowed"),
        ({"heap_of_pipeline JVM": lambda s: 80 + s / 50}, "pipeline JVM: live heap grows by 72.0 MB an hour"),
        ({"handles_of_bridge": lambda s: 20 + s // 60}, "bridge: open handles grows by"),
        ({"checkpoint_kb": lambda s: 20 + s}, "checkpoint size grows by 3,600.0 kB an hour"),
        ({"lag": lambda s: 100 + 10 * s}, "lag grows by 36,000.0 records an hour"),
        ({"lag": lambda s: 20_000 if s == 900 else 100}, "lag 20,000 records: more than 60 s of load"),
        ({"p99_s": lambda s: None}, "p99_s was never seen"),
    ],
)
def test_what_grows_is_named(changes: dict[str, Any], fault: str) -> None:
    faults = judge(samples(**changes), RATE)["faults"]
    assert any(fault in each for each in faults), faults


@pytest.mark.parametrize(
    "memory",
    [
        lambda s: 200 if s < 500 else 300,  # in the warm-up
        lambda s: 100 + 50 * math.sin(s / 30),  # up and down
        lambda s: 100 + s / 180,  # 20 MB an hour
    ],
)
def test_what_does_not_grow_for_ever(memory: Any) -> None:
    assert judge(samples(memory_of_bridge=memory), RATE)["faults"] == []


def test_a_figure_that_is_missing_now_and_then() -> None:
    assert series([{"at": 0.0}, {"at": 5.0, "lag": 3}], "lag") == [(5.0, 3.0)]
    assert series([{"at": 0.0, "memory": {}}, {"at": 5.0, "memory": {"a": 1}}], "memory", "a") == [(5.0, 1.0)]


def test_of_ourselves() -> None:
    import os

    assert own_megabytes(os.getpid()) > 5
    assert handles(os.getpid()) > 2
    assert (own_megabytes(2**30), handles(2**30)) == (0.0, 0)


def test_the_report(tmp_path: Path) -> None:
    taken = samples(minutes=3)
    run = {"minutes": 3, "frames_per_s": 300, "cores": 2, "frames": 54_000, "rows": 216_000, "missing": 0}
    run |= {"different": 0, "dead_letters": 0, **judge(taken, RATE)}
    report.write(run, taken, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["latest.json", "latest.md", "latest.png", "latest.svg"]
    text = (tmp_path / "latest.md").read_text()
    assert "3 minutes at 300 frames/s: 216,000 rows, nothing is missing, nothing grows" in text
    assert "| bridge | 6" in text
    assert "| latency p50, s (over 30 s) | 0.6 | 0.6 |" in text
