"""The journal: one JSON line for each acknowledged sensor frame, so that tests can look for its values in the table."""

import os
from pathlib import Path
from typing import Protocol

import orjson

from faces2.models.frame import decode
from faces2.simulator.sources import Message


class Journal(Protocol):
    """Where acknowledged messages are written down."""

    def add(self, message: Message) -> None:
        """Keeps the message for the next flush."""

    def flush(self) -> None:
        """Writes what was kept, whole lines in one write."""


class NoJournal:
    """Keeps nothing."""

    def add(self, message: Message) -> None:
        """Does nothing."""

    def flush(self) -> None:
        """Does nothing."""


class FileJournal:
    """Appends to a file; the lines of one flush go out in one write, so a killed process leaves whole lines."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._lines: list[bytes] = []

    def add(self, message: Message) -> None:
        """Keeps a sensor frame's line; other messages are not sensor frames and have none."""
        if message.sensor is not None:
            self._lines.append(journal_line(message))

    def flush(self) -> None:
        """Writes the kept lines."""
        pending, self._lines = b"".join(self._lines), []
        while pending:
            pending = pending[os.write(self._handle, pending) :]


def open_journal(path: Path | None) -> Journal:
    """The journal in the file `path`, or one that keeps nothing."""
    return FileJournal(path) if path else NoJournal()


def journal_line(message: Message) -> bytes:
    """A frame's topic, timestamp (microseconds since 1970), device and values as the codec decodes them."""
    if message.sensor is None:
        raise ValueError(f"{message.topic} is not a sensor frame")
    line = {
        "topic": message.topic,
        "timestamp": message.micros,
        "device_id": message.sensor.device_id,
        "values": {point.datapoint_id: decode(message.frame, point) for point in message.sensor.template.datapoints},
    }
    return orjson.dumps(line, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)
