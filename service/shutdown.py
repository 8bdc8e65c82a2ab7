"""Clean shutdown: SIGTERM and SIGINT set an event that the process's loop watches."""

import signal
import threading


def on_signals() -> threading.Event:
    """An event that the first SIGTERM or SIGINT sets; call it from the main thread."""
    stop = threading.Event()

    def handle(*_: object) -> None:
        # Not in the handler itself: it may run while the main thread holds the event's lock.
        threading.Thread(target=stop.set, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return stop
