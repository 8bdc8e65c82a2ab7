"""Memory of each process after the run's messages, and after ten times as many."""

from benchmarks import fleet, messages, processes, stack, table, topics
from benchmarks.messages import Workload
from benchmarks.ours import DEAD, OUT
from benchmarks.pipeline import Pipeline, pipeline
from faces2.stack.environment import Folders

TOPIC = "bench-memory"
TIMES = 10
KEPT_BYTES = str(2**30)
"""Of each partition: nobody needs all that ten loads publish."""

Figures = dict[str, object]


def measure(work: Workload, folders: Folders) -> list[Figures]:
    """One pipeline with default settings, fed ten loads; megabytes by process after the first and after the last."""
    for topic in (TOPIC, OUT, DEAD):
        topics.fresh(topic, retention_bytes=KEPT_BYTES)
    table.empty()
    micros, sizes = fleet.first_micros(), []
    settings = {"KAFKA_RAW_TOPIC": TOPIC, "KAFKA_PROCESSED_TOPIC": OUT, "KAFKA_DEAD_LETTER_TOPIC": DEAD}
    with pipeline("full", **settings) as running:
        for turn in range(TIMES):
            start = turn * work.frames
            messages.load_topic(TOPIC, work.sources, start, start + work.frames, micros)
            running.wait_for(start + work.frames, "faces2_messages_in_total")
            if turn in (0, TIMES - 1):
                sizes.append(_sizes(running, folders))
            table.empty()
    first, last = sizes
    return [
        {
            "process": name,
            "messages": work.frames,
            "megabytes": first[name],
            "after_ten_times": last[name],
        }
        for name in first
    ]


def _sizes(running: Pipeline, folders: Folders) -> dict[str, int]:
    ours = {f"pipeline: {name}": size for name, size in processes.by_program(running.process.pid).items()}
    parts = {name: processes.megabytes(processes.tree(pid)) for name, pid in sorted(stack.pids(folders).items())}
    return {name: round(size) for name, size in (ours | parts).items()}
