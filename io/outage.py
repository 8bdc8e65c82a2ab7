"""A dependency that may be away: asked again only after a pause, each outage logged once, each failure counted."""

import time
from collections.abc import Callable
from typing import TypeVar

from faces2.service.logs import get_logger
from faces2.service.metrics import RETRIES

T = TypeVar("T")

log = get_logger(__name__)


class Outage:
    """Guards the calls to one dependency; `errors` are those that mean that it is away."""

    def __init__(
        self,
        name: str,
        errors: type[Exception] | tuple[type[Exception], ...],
        pause: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._errors = errors
        self._pause = pause
        self._clock = clock
        self._again = float("-inf")
        self._away = False

    def attempt(self, call: Callable[[], T]) -> T | None:
        """The call's answer; None when it fails, and without calling during the pause after a failure."""
        if self._clock() < self._again:
            return None
        try:
            answer = call()
        except self._errors as error:
            self._again = self._clock() + self._pause
            RETRIES.labels(f"metadata_{self._name}").inc()
            if not self._away:
                log.warning("away", dependency=self._name, error=str(error).strip())
            self._away = True
            return None
        if self._away:
            log.info("back", dependency=self._name)
        self._away = False
        return answer
