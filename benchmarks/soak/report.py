"""The figures of a run: latest.json, latest.md, the picture, and the terminal."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from benchmarks.soak import charts, verdict
from benchmarks.soak.samples import Sample

Run = dict[str, Any]

UNITS = {
    "messages_per_s": "messages acknowledged a second",
    "rows_per_s": "rows written a second",
    "p50_s": "latency p50, s (over 30 s)",
    "p99_s": "latency p99, s",
    "lag": "records not committed",
    "checkpoint_kb": "checkpoint, kB",
    "checkpoint_s": "checkpoint, s",
}


def write(run: Run, samples: Sequence[Sample], folder: Path) -> None:
    """latest.json, latest.md, latest.svg and latest.png."""
    (folder / "latest.json").write_text(json.dumps({"run": run, "samples": samples}) + "\n")
    (folder / "latest.md").write_text(markdown(run))
    charts.draw(samples, run | {"title": title(run)}, [folder / "latest.svg", folder / "latest.png"])


def show(run: Run, console: Console) -> None:
    """The same on the terminal."""
    console.print(Markdown(markdown(run)))


def title(run: Run) -> str:
    """What the run was and how it ended."""
    count = len(run["faults"])
    end = f"{count} fault{'s' * (count > 1)}" if count else "nothing is missing, nothing grows"
    return f"{run['minutes']:g} minutes at {run['frames_per_s']:g} frames/s: {run['rows']:,} rows, {end}"


def markdown(run: Run) -> str:
    """Verdict, flow and processes."""
    lines = [f"**{title(run)}**", "", *(f"- {fault}" for fault in run["faults"]), ""]
    lines += [
        f"{run['frames']:,} frames acknowledged, {run['rows']:,} rows in the table, {run['missing']:,} missing, "
        f"{run['different']:,} different, {run['dead_letters']} dead letters. {run['cores']} cores. Growth is a line "
        f"by least squares after the first {run['warm_up_s']:,} s, and counts beyond {verdict.MEMORY_PER_HOUR:g} MB or "
        f"{verdict.HANDLES_PER_HOUR:g} handles an hour where it is more than {verdict.SCATTERS:g} times the scatter; a "
        f"JVM is judged by its live heap. Lag may be {verdict.LAG_SECONDS:g} s of load.",
        "",
        *_table(("after the warm-up", "median", "most"), _flow(run)),
        "",
        *_table(("process", "memory, MB", "MB/h", "live heap, MB", "MB/h", "handles", "handles/h"), _processes(run)),
        "",
    ]
    return "\n".join(lines)


def _flow(run: Run) -> list[list[str]]:
    return [
        [name, *(f"{run['figures'][key][column]:,.4g}" for column in ("median", "max"))]
        for key, name in UNITS.items()
        if run["figures"][key]
    ]


def _processes(run: Run) -> list[list[str]]:
    rows = []
    for name, figures in run["processes"].items():
        cells = [name]
        for key in ("memory", "heap", "handles"):
            found = figures[key]
            cells += [f"{found['median']:,.0f}", f"{round(found['per_hour'], 1) + 0:+,.1f}"] if found else ["", ""]
        rows.append(cells)
    return rows


def _table(head: Sequence[str], rows: list[list[str]]) -> list[str]:
    every = [list(head), ["---"] + ["--:"] * (len(head) - 1), *rows]
    return [f"| {' | '.join(cells)} |" for cells in every]
