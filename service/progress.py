"""How far a long command is: a bar on a terminal, elsewhere a plain line now and then; on standard error."""

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 5.0


class Steps:
    """`with Steps("back-fill", total) as steps: steps.done(5)`."""

    def __init__(
        self, title: str, total: int, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._title = title
        self._total = total
        self._console = console or Console(stderr=True, highlight=False)
        self._clock = clock
        self._done = 0
        self.rate = "0/s"
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> "Steps":
        self._began = self._said = self._clock()
        self._task = self._bar.add_task(self._title, total=self._total, rate="")
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def done(self, count: int) -> None:
        """So many more."""
        self._done += count
        now = self._clock()
        self.rate = f"{self._done / max(now - self._began, 0.001):,.0f}/s"
        self._bar.update(self._task, advance=count, rate=self.rate)
        if not self._console.is_terminal and now - self._said >= LINE_SECONDS:
            self._said = now
            self._console.print(f"{self._title}: {self._done:,} of {self._total:,}, {self.rate}", soft_wrap=True)
