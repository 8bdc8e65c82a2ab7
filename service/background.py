"""A thread beside what a process is there for."""

import threading
from abc import ABC, abstractmethod

STOP_SECONDS = 5


class Background(ABC):
    """Runs from `start` until `stop`, and never keeps the process from ending."""

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ends within a few seconds."""
        self._stop.set()
        self._thread.join(timeout=STOP_SECONDS)

    @abstractmethod
    def _run(self) -> None:
        """Until `self._stop` is set."""
