"""What `faces2 run` shows while the stack runs."""

import threading

from faces2.stack.environment import enter
from faces2.stack.programs import programs
from faces2.stack.supervisor import RUNNING, Supervisor

EVERY = 2.0
"""Seconds between two lines."""


def watch(stop: threading.Event) -> None:
    """A plain line every 2 s until `stop` is set."""
    folders = enter()
    wanted = [program.name for program in programs(folders)]
    supervisor = Supervisor(folders)
    while not stop.wait(EVERY):
        states = supervisor.states()
        down = [name for name in wanted if name not in states or states[name].name != RUNNING]
        running = len(wanted) - len(down)
        print(f"{running} of {len(wanted)} parts running" + (f"; not: {', '.join(down)}" if down else ""), flush=True)
