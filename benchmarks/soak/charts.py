"""The picture: a small chart for each process and for each figure of the flow, all over the same minutes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.soak.samples import Sample, names
from benchmarks.soak.verdict import line, series

COLUMNS = 4
BLUE, ORANGE, GREY, RED = "#2a6f97", "#e07a1f", "#8a8a8a", "#c1121f"

LEGEND = "blue: memory of its own; red: its line after the warm-up (grey ground), of a JVM what lives in its heap"

FIGURES: Sequence[tuple[str, str, Sequence[tuple[str, str, str, float]]]] = (
    ("rate", "a second", (("rows_per_s", "rows", BLUE, 1), ("messages_per_s", "messages", ORANGE, 1))),
    ("latency, controller to table", "s", (("p50_s", "p50", BLUE, 1), ("p99_s", "p99", ORANGE, 1))),
    ("lag", "records not committed", (("lag", "lag", BLUE, 1),)),
    ("checkpoint, size", "kB", (("checkpoint_kb", "size", BLUE, 1),)),
    ("checkpoint, duration", "ms", (("checkpoint_s", "duration", BLUE, 1000),)),
)
"""Title, unit, and each line's figure, name, colour and factor."""


def draw(samples: Sequence[Sample], run: dict[str, Any], targets: Sequence[Path]) -> None:
    """The charts into each of `targets`."""
    import matplotlib as mpl  # noqa: PLC0415 - loading it takes a second that no measurement should meet

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    processes = names(samples)
    rows = -(-(len(FIGURES) + len(processes)) // COLUMNS)
    style = {"font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.spines.top": False}
    with plt.rc_context(style):
        figure, grid = plt.subplots(rows, COLUMNS, figsize=(15, 0.8 + 2.3 * rows), sharex=True, layout="constrained")
        axes = list(grid.flat)
        for axis, (title, unit, lines) in zip(axes, FIGURES, strict=False):
            _flow(axis, samples, title, unit, lines)
        for axis, process in zip(axes[len(FIGURES) :], processes, strict=False):
            _process(axis, samples, process, run["warm_up_s"])
        used = len(FIGURES) + len(processes)
        for index, axis in enumerate(axes):
            axis.axvspan(0, run["warm_up_s"] / 60, color="#eeeeee", zorder=0)
            axis.set_visible(index < used)
            if index + COLUMNS >= used:
                axis.set_xlabel("minutes")
                axis.tick_params(labelbottom=True)
        figure.suptitle(f"{run['title']}\n{LEGEND}", fontsize=11, x=0.01, ha="left")
        for target in targets:
            figure.savefig(target, dpi=110)
        plt.close(figure)


def _flow(axis: Any, samples: Sequence[Sample], title: str, unit: str, lines: Any) -> None:
    for name, label, color, factor in lines:
        points = series(samples, name)
        axis.plot([at / 60 for at, _ in points], [value * factor for _, value in points], color=color, label=label)
    axis.set_title(f"{title} ({unit})", fontweight="bold")
    axis.set_ylim(0, 1.2 * axis.get_ylim()[1])
    axis.spines["right"].set_visible(False)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    if len(lines) > 1:
        axis.legend(frameon=False, ncols=2, loc="upper right")


def _process(axis: Any, samples: Sequence[Sample], process: str, warm_up: float) -> None:
    """Memory and its line on the left, handles on the right; of a JVM also what lives in its heap."""
    memory, handles = series(samples, "memory", process), series(samples, "handles", process)
    axis.plot([at / 60 for at, _ in memory], [value for _, value in memory], color=BLUE)
    judged, what = memory, ""
    if heap := series(samples, "heap", process):
        axis.plot([at / 60 for at, _ in heap], [value for _, value in heap], "o", color=RED, markersize=3)
        judged, what = heap, "live heap "
    title = f"{process}: {memory[-1][1]:,.0f} MB"
    if found := line([point for point in judged if point[0] >= warm_up]):
        axis.plot([found.start / 60, found.end / 60], [found.first, found.last], "--", color=RED, linewidth=1.2)
        title += f"  ({what}{round(found.per_hour, 1) + 0:+,.1f} MB/h)"
    axis.set_title(title, fontweight="bold")
    axis.set_ylim(0, 1.25 * max(value for _, value in memory) or 1)
    axis.set_ylabel("MB", color=BLUE, fontsize=8)
    axis.tick_params(axis="y", colors=BLUE)
    other = axis.twinx()
    other.plot([at / 60 for at, _ in handles], [value for _, value in handles], color=GREY, linewidth=1)
    other.set_ylim(0, 2.5 * max(value for _, value in handles) or 1)
    other.tick_params(axis="y", colors=GREY)
    other.set_ylabel("open handles", color=GREY, fontsize=8)
