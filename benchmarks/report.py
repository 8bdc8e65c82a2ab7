"""The figures of a run: tables on the terminal, latest.json, latest.md and a chart."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Report = dict[str, Any]
"""What latest.json holds: contenders, ratios, latency, mqtt, memory, failures, and what the run was."""

Rows = list[list[str]]


def tables(report: Report) -> list[tuple[str, Sequence[str], Rows]]:
    """Title, head and rows of each table for which there are figures."""
    run = report["run"]
    title = f"{run['frames']:,} frames, {run['rows']:,} rows, {run['rounds']} rounds: median (least to greatest)"
    every = [
        (
            title,
            ("contender", "what", "frames/s", "rows/s"),
            [
                [each["name"], each["what"], _spread(each["frames_per_s"]), _spread(each["rows_per_s"])]
                for each in report["contenders"]
            ],
        ),
        ("ratios of the medians", ("ratio", ""), [[name, f"{value:.2f}"] for name, value in report["ratios"].items()]),
        (
            "publish to committed row",
            ("settings", "into", "frames/s", "p50", "p95", "p99"),
            [
                [each["settings"], each["into"], f"{each['frames_per_s']:,}", *_percentiles(each)]
                for each in report["latency"]
            ],
        ),
        (
            "MQTT, QoS 1, publishers over mTLS: publish to record in Kafka",
            ("path", "published/s", "in Kafka/s", "p50", "p95", "p99"),
            [
                [
                    each["name"],
                    f"{each['published_per_s']:,}" if "published_per_s" in each else "",
                    f"{each['messages_per_s']:,}",
                    *_percentiles(each),
                ]
                for each in report["mqtt"]
            ],
        ),
        (
            "memory, MB",
            ("process", "after one load", "after ten"),
            [
                [each["process"], f"{each['megabytes']:,}", f"{each['after_ten_times']:,}"]
                for each in [*report["memory"], *_bridge_memory(report)]
            ],
        ),
        ("not measured", ("what", "why"), [[name, why] for name, why in report["failures"].items()]),
    ]
    return [(title, head, rows) for title, head, rows in every if rows]


def show(report: Report, console: Console) -> None:
    """The tables on the terminal."""
    for title, head, rows in tables(report):
        table = Table(title=title, title_justify="left")
        for index, column in enumerate(head):
            numeric = all(row[index][:1].isdigit() or not row[index] for row in rows)
            table.add_column(column, justify="right" if numeric else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def markdown(report: Report) -> str:
    """The tables for docs/performance.md."""
    return "\n".join(f"**{title}**\n\n{_markdown_table(head, rows)}" for title, head, rows in tables(report))


def write(report: Report, folder: Path) -> None:
    """latest.json, latest.md and latest.svg."""
    (folder / "latest.json").write_text(json.dumps(report, indent=2) + "\n")
    (folder / "latest.md").write_text(markdown(report))
    if report["contenders"]:
        chart(report, folder / "latest.svg")


def chart(report: Report, target: Path) -> None:
    """Bars of frames/s and rows/s, with the spread of the rounds."""
    import matplotlib as mpl  # noqa: PLC0415 - loading it takes a second that no measurement should meet

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    contenders = report["contenders"][::-1]
    figure, axes = plt.subplots(1, 2, figsize=(12, 1 + 0.42 * len(contenders)), sharey=True, layout="constrained")
    for axis, unit in zip(axes, ("frames_per_s", "rows_per_s"), strict=True):
        spreads = [each[unit] for each in contenders]
        medians = [spread["median"] for spread in spreads]
        errors = [
            [spread["median"] - spread["min"] for spread in spreads],
            [spread["max"] - spread["median"] for spread in spreads],
        ]
        colors = ["#2a6f97" if each["ours"] else "#a9a9a9" for each in contenders]
        axis.barh([each["name"] for each in contenders], medians, xerr=errors, color=colors, capsize=3)
        axis.set_xlabel(unit.replace("_per_s", "/s"))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.grid(axis="x", alpha=0.3)
        axis.set_axisbelow(True)
    figure.savefig(target)
    plt.close(figure)


def _bridge_memory(report: Report) -> list[dict[str, Any]]:
    """The MQTT section measures the bridge, as it feeds it."""
    return [{"process": "bridge", **each["bridge_memory"]} for each in report["mqtt"] if "bridge_memory" in each]


def _markdown_table(head: Iterable[str], rows: Rows) -> str:
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _spread(spread: dict[str, float]) -> str:
    if not spread["median"]:
        return ""
    text = f"{spread['median']:,.0f}"
    return text if spread["min"] == spread["max"] else f"{text} ({spread['min']:,.0f} to {spread['max']:,.0f})"


def _percentiles(figures: dict[str, Any]) -> list[str]:
    return [f"{figures[name]:,.0f} ms" if name in figures else "" for name in ("p50_ms", "p95_ms", "p99_ms")]
