"""What a run showed, as JSON and as the table of docs/reliability.md."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from tests.faults.checker import Findings
from tests.faults.watch import Injection

REACH_SECONDS = 60.0
"""A reading that is missing is held against the faults that went on when it was sent, or so soon after or before it."""


def summary(injections: Sequence[Injection], found: Findings, **facts: object) -> dict[str, Any]:
    """Everything of a run."""
    names = sorted({injection.step.fault.name for injection in injections})
    kinds = [_kind(name, [i for i in injections if i.step.fault.name == name], found) for name in names]
    return {
        **facts,
        "good": found.good,
        "frames": found.frames,
        "readings": found.readings,
        "rows": found.rows,
        "missing": len(found.missing),
        "unexplained": len(found.unexplained),
        "dead_letters": found.dead_letters,
        "readings_in_dead_letters": found.dead,
        "doubled_on_the_wire": found.doubled_on_the_wire,
        "faults": kinds,
        "sequence": [_entry(injection) for injection in injections],
    }


def _kind(name: str, injections: list[Injection], found: Findings) -> dict[str, Any]:
    done = [injection for injection in injections if injection.skipped is None]
    alone = [i.recovery for i in done if i.step.alone and i.recovery is not None]
    every = [i.recovery for i in done if i.recovery is not None]
    return {
        "fault": name,
        "injected": len(done),
        "skipped": len(injections) - len(done),
        "alone": len(alone),
        "recovery_median": round(median(alone), 1) if alone else None,
        "recovery_max": round(max(alone), 1) if alone else None,
        "recovery_max_among_others": round(max(every), 1) if every else None,
        "missing": _near(found.missing, done),
        "doubled": _near(found.unexplained, done),
    }


def _near(readings: list[tuple[int, str]], injections: list[Injection]) -> int:
    spans = [(i.began - REACH_SECONDS, (i.recovered or i.ended or i.began) + REACH_SECONDS) for i in injections]
    return sum(any(low <= micros / 1e6 <= high for low, high in spans) for micros, _ in readings)


def _entry(injection: Injection) -> dict[str, Any]:
    return {
        "number": injection.step.number,
        "fault": injection.step.fault.name,
        "seconds": injection.step.seconds,
        "alone": injection.step.alone,
        "began": injection.began,
        "ended": injection.ended,
        "recovery": injection.recovery,
        "skipped": injection.skipped,
        "load_average": injection.machine,
    }


def markdown(run: dict[str, Any]) -> str:
    """The table of a run."""
    lines = [
        f"`{run['command']}`: {run['injected']} faults in {run['minutes']:.0f} minutes, {run['frames']:,} frames "
        f"acknowledged, {run['readings']:,} readings, {run['missing']:,} missing, {run['unexplained']:,} "
        f"rows too many, {run['doubled_on_the_wire']:,} records doubled on the wire.",
        "",
        "| fault | injected | recovery alone, median | longest | longest among other faults | rows lost | doubled |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind in run["faults"]:
        seconds = [kind[name] for name in ("recovery_median", "recovery_max", "recovery_max_among_others")]
        shown = " | ".join("" if each is None else f"{each} s" for each in seconds)
        lines.append(f"| {kind['fault']} | {kind['injected']} | {shown} | {kind['missing']} | {kind['doubled']} |")
    return "\n".join(lines) + "\n"


def forget(folder: Path) -> None:
    """What the run before showed."""
    for name in ("latest.json", "latest.md"):
        (folder / name).unlink(missing_ok=True)


def write(run: dict[str, Any], folder: Path) -> None:
    """latest.json and latest.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_bytes(orjson.dumps(run, option=orjson.OPT_INDENT_2))
    (folder / "latest.md").write_text(markdown(run))
