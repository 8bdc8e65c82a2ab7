"""What controllers had acknowledged while nobody took it from Mosquitto survives its SIGKILL."""

import socket
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import orjson
import pytest
from helpers import Rows, Stack, wait_for

from faces2.service.settings import MqttSettings, StackSettings, load

pytestmark = pytest.mark.stack

FRAMES = 3000


def publish(stack: Stack, folder: Path, name: str = "journal") -> list[dict[str, Any]]:
    """FRAMES frames and some more, within one autosave; those that Mosquitto has acknowledged."""
    file = folder / f"{name}.jsonl"
    simulator = stack.start("simulate", "--rate", str(FRAMES), "--duration", "4", "--journal", str(file))
    output, _ = simulator.communicate(timeout=120)
    assert simulator.returncode == 0, output
    frames = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    assert len(frames) >= FRAMES
    return frames


def kill_and_wait(stack: Stack) -> None:
    """SIGKILL; returns when Mosquitto listens again."""
    killed = stack.supervisor.states()["mosquitto"].pid
    stack.kill("mosquitto")
    wait_for(lambda: stack.supervisor.states()["mosquitto"].pid not in (0, killed), "Mosquitto started anew")
    wait_for(listens, "Mosquitto listens again")


def listens() -> bool:
    settings = load(MqttSettings)
    with socket.socket() as probe:
        return probe.connect_ex((settings.host, settings.port)) == 0


@pytest.mark.parametrize("away", ["bridge", "kafka"])
def test_killed_while_somebody_is_away(away: str, stack: Stack, rows: Rows, tmp_path: Path) -> None:
    absence: AbstractContextManager[None] = stack.without(away)
    with absence:
        frames = publish(stack, tmp_path)
        kill_and_wait(stack)
    wait_for(stack.ready, "all parts ready again", 90)
    rows.wait_for_all(frames)


def test_killed_three_times_within_seconds(stack: Stack, rows: Rows, tmp_path: Path) -> None:
    with stack.without("bridge"):
        first = publish(stack, tmp_path, "first")
        kill_and_wait(stack)
        kill_and_wait(stack)
        second = publish(stack, tmp_path, "second")
        kill_and_wait(stack)
    wait_for(stack.ready, "all parts ready again", 90)
    rows.wait_for_all(first + second)


def test_killed_before_the_session_was_ever_saved(stack: Stack, rows: Rows, tmp_path: Path) -> None:
    """The bridge has subscribed to a new Mosquitto and can not reach Kafka; what is started anew does not know it."""
    store = load(StackSettings).data / "mosquitto"
    frames = []
    for attempt in ("first", "second", "third"):  # on a busy machine the first save may come too early
        with stack.without("kafka"):
            with stack.without("mosquitto"):
                for file in store.iterdir():
                    file.unlink()
            frames += publish(stack, tmp_path, attempt)
            not_saved = not (store / "mosquitto.db").exists()
            kill_and_wait(stack)
        wait_for(stack.ready, "all parts ready again", 90)
        if not_saved:
            break
    assert not_saved, "killed too late to show anything"
    rows.wait_for_all(frames)
