"""Mosquitto's journal, a plugin of ours: compiled where Mosquitto is installed."""

from pathlib import Path

from faces2.stack.environment import DEPLOY
from faces2.stack.shell import run

SOURCE = DEPLOY / "mosquitto" / "journal.c"
PACKAGES = ("gcc", "libc6-dev", "libmosquitto-dev", "mosquitto-dev", "zlib1g-dev")
"""What compiles it."""
FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-O2", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra", "-Werror")


def build(target: Path) -> None:
    """Makes the plugin, whole or not at all; StackError when it can not be compiled."""
    part = target.with_name(f".{target.name}.part")
    run(["gcc", *FLAGS, "-o", str(part), str(SOURCE), "-lz"], f"Mosquitto's journal {SOURCE} can not be compiled")
    part.replace(target)
