"""`make soak`: a stack of its own under a steady load; exit status 1 when rows are missing or something grows."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import stack
from benchmarks.soak import heap, report
from benchmarks.soak.samples import Sample, Sampler
from benchmarks.soak.verdict import judge
from faces2.stack.environment import Folders
from faces2.stack.supervisor import Supervisor
from faces2.stack.verify import verify

ROOT = Path(__file__).resolve().parents[2]
HEAPS = 12
"""Looks at the heaps of the JVMs in a run."""
ARRIVE_SECONDS = 60
SIMULATOR_STOPS_SECONDS = 60


def main(
    minutes: Annotated[float, typer.Option(min=1, help="of load")] = 30,
    rate: Annotated[float, typer.Option(min=1, help="frames a second")] = 300,
    every: Annotated[float, typer.Option(min=1, help="seconds between two samples")] = 5,
    first_port: Annotated[int, typer.Option(help="first of the 22 ports that the stack takes")] = 28_000,
    folder: Annotated[Path, typer.Option(help="where stack, logs and results go")] = ROOT / "out" / "soak",
) -> None:
    """Load a native stack of its own steadily, and judge what grows."""
    console = Console(highlight=False)
    folder = folder.absolute()
    folders = stack.enter(folder, first_port, without="simulator")
    journal = folder / "journal.jsonl"
    journal.unlink(missing_ok=True)
    stack.fresh(folders)
    try:
        before = _started(folders)
        with simulator(folder, journal, rate) as process:
            console.print(f"{rate:g} frames/s for {minutes:g} minutes; samples go to {folder}/samples.jsonl")
            samples = watch(Sampler(folders, process.pid, every), process, minutes * 60, every, folder)
        whole = process.returncode == 0
        restarted = [name for name, at in _started(folders).items() if before.get(name) != at]
        checked = verify(journal, ARRIVE_SECONDS)
    finally:
        stack.down()
    found = judge(samples, rate)
    faults = found.pop("faults")
    faults += [f"{name} was started anew" for name in restarted]
    faults += [] if whole else ["the simulator ended with messages that nobody acknowledged"]
    total = checked.total
    if not checked:
        faults.append(f"rows: {total.missing} are missing and {total.different} differ, of {total.expected}")
    run: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": minutes,
        "frames_per_s": rate,
        "cores": os.cpu_count(),
        "machine": platform.platform(),
        "frames": total.frames,
        "rows": total.expected - total.missing,
        "missing": total.missing,
        "different": total.different,
        "dead_letters": checked.dead_letters,
        "faults": faults,
        **found,
    }
    report.write(run, samples, folder)
    report.show(run, console)
    console.print(f"Written: {folder}/latest.json, latest.md, latest.svg, latest.png")
    sys.exit(1 if faults else 0)


@contextmanager
def simulator(folder: Path, journal: Path, rate: float) -> Iterator[subprocess.Popen[bytes]]:
    """The load; at the end it waits until all that it sent is acknowledged."""
    settings: dict[str, object] = {"SIMULATOR_JOURNAL": journal, "SIMULATOR_RATE": rate}
    process = stack.start("simulate", log=folder / "simulator.log", **settings)
    try:
        yield process
    finally:
        stack.stop(process, SIMULATOR_STOPS_SECONDS)


def watch(
    sampler: Sampler, process: subprocess.Popen[bytes], seconds: float, every: float, folder: Path
) -> list[Sample]:
    """Samples until the time is over, each written down as it is taken; RuntimeError when the load ends before."""
    samples: list[Sample] = []
    began, heaps = time.monotonic(), 0
    with (folder / "samples.jsonl").open("w") as file:
        while (passed := time.monotonic() - began) < seconds:
            if process.poll() is not None:
                raise RuntimeError(f"the simulator ended; its log is {folder}/simulator.log")
            sample = sampler()
            if passed >= heaps * seconds / HEAPS:
                heaps += 1
                sample["heap"] = _heaps(sampler)
            samples.append(sample)
            file.write(json.dumps(sample) + "\n")
            file.flush()
            time.sleep(every - (time.monotonic() - began) % every)
    return samples


def _heaps(sampler: Sampler) -> dict[str, float]:
    jvms = {name: [pid for pid in pids if heap.is_jvm(pid)] for name, pids in sampler.processes().items()}
    found = {name: heap.live_megabytes(pids[0]) for name, pids in jvms.items() if pids}
    return {name: round(size, 2) for name, size in found.items() if size is not None}


def _started(folders: Folders) -> dict[str, int]:
    return {name: state.started for name, state in Supervisor(folders).states().items()}


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupted)  # the stack is stopped then, too
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
