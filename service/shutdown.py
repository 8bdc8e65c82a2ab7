"""Clean shutdown: SIGTERM and SIGINT set an event that the process's loop watches."""

import signal
import threading


def on_signals() -> threading.Event:
    """An event that the first SIGTERM or SIGINT sets; call it from the main thread."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
