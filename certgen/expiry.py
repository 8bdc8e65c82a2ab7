"""Which certificates end soon, for the metrics and the log: all are read again every now and then."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime

from faces2.certgen.authority import Authority
from faces2.service.logs import get_logger
from faces2.service.metrics import CERTIFICATE_EXPIRY, CERTIFICATES

LOOK_SECONDS = 600.0
REST = 20
"""How many times as long as a look takes it rests after it: a large fleet's files must not keep a processor busy."""
NAMED = 20
"""Controllers that one look names in the log."""

VALID, LATE, EXPIRED = "valid", "late", "expired"

log = get_logger(__name__)


def watch(authority: Authority, stop: threading.Event) -> None:
    """Looks until `stop`."""
    late, rest = 0, 0.0
    while not stop.wait(rest):
        began = time.monotonic()
        try:
            late = look(authority, datetime.now(UTC), late)
        except OSError as error:
            log.error("the certificates can not be looked at", problem=str(error))
        rest = max(LOOK_SECONDS, REST * (time.monotonic() - began))


def look(authority: Authority, now: datetime, late_before: int = 0) -> int:
    """Counts all certificates; how many controllers are late. They are named when it was another number before."""
    counts: Counter[tuple[str, str]] = Counter()
    soonest: dict[str, datetime] = {}
    named: list[str] = []
    for of, name, until in authority.ends():
        # Late: half of the time in which it should have been made anew has gone by.
        state = EXPIRED if until <= now else LATE if until - now < authority.renew_before / 2 else VALID
        counts[of, state] += 1
        if state != EXPIRED:
            soonest[of] = min(until, soonest.get(of, until))
        if (of, state) == ("controller", LATE) and len(named) < NAMED:
            named.append(name)
    for of in ("ca", "server", "controller"):
        for state in (VALID, LATE, EXPIRED):
            CERTIFICATES.labels(of, state).set(counts[of, state])
    for of, until in soonest.items():
        CERTIFICATE_EXPIRY.labels(of).set(until.timestamp())
    late = counts["controller", LATE]
    if late != late_before:
        for mac in named:
            log.warning("a controller has not had its certificate renewed", mac=mac, late=late)
    return late
