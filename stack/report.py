"""Progress on the terminal: what is being done and how long it takes; plain lines where there is no terminal."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


class Report:
    """Steps in hand, several at once; each ends as one line with its time. Use as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._steps: dict[str, float] = {}
        self._lock = threading.Lock()
        self._spinner = Spinner("dots")
        self._live = Live(self, console=self.console, transient=True, refresh_per_second=8)

    def __enter__(self) -> "Report":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __rich__(self) -> Group:
        with self._lock:
            steps = list(self._steps.items())
        grid = Table.grid(padding=(0, 1))
        for what, began in steps:
            grid.add_row(self._spinner, what, Text(f"{time.monotonic() - began:.0f} s", style="dim"))
        return Group(grid)

    def say(self, line: str) -> None:
        """A line that stays."""
        self.console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Shows the step while the block runs, and its time when it has ended well."""
        began = time.monotonic()
        if not self.console.is_terminal:
            self.say(f"... {what}")
        with self._lock:
            self._steps[what] = began
        try:
            yield
        finally:
            with self._lock:
                del self._steps[what]
        self.console.print(
            Text.assemble(("  ✓ ", "green"), what, (f"  {time.monotonic() - began:.1f} s", "dim")), soft_wrap=True
        )
