"""Opens connections in a few threads, so that one that takes long holds up nothing else."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from faces2.service.logs import get_logger
from faces2.service.metrics import RETRIES
from faces2.simulator.controller import Controller

log = get_logger(__name__)


class Dialer:
    """Keeps every controller connected, or on the way to it."""

    def __init__(self, controllers: Sequence[Controller], clock: Callable[[], float] = time.monotonic) -> None:
        self._controllers = controllers
        self._clock = clock
        self._dialing: dict[Controller, Future[None]] = {}
        self._not_before: dict[Controller, float] = {}
        self._closed = threading.Event()
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="dial")

    def tend(self) -> list[Controller]:
        """Dials for those without a connection; gives the controllers that have one and may be used."""
        now = self._clock()
        connected = []
        for controller in self._controllers:
            future = self._dialing.get(controller)
            if future is not None and not future.done():
                continue
            if future is not None:
                del self._dialing[controller]
                future.result()
            if controller.socket is not None:
                connected.append(controller)
            elif now >= self._not_before.get(controller, now):
                # A broker that accepts connections and then refuses the session is not asked without a pause.
                self._not_before[controller] = now + random.uniform(0.2, 1.0)  # noqa: S311 - jitter
                self._dialing[controller] = self._pool.submit(self._dial, controller)
        return connected

    def close(self) -> None:
        """Ends the attempts that are under way."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _dial(self, controller: Controller) -> None:
        retrying = Retrying(
            retry=retry_if_exception_type(OSError),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            stop=stop_when_event_set(self._closed),
            sleep=sleep_using_event(self._closed),
            before_sleep=lambda state: _log_failure(controller, state),
        )
        retrying(controller.connect)


def _log_failure(controller: Controller, state: RetryCallState) -> None:
    RETRIES.labels("mqtt_connect").inc()
    if state.attempt_number == 1:
        log.warning("can not connect", mac=controller.mac, error=str(state.outcome and state.outcome.exception()))
