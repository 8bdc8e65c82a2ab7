"""Controllers' timestamps: `2023-05-25 15:13:10.543400`, UTC where no zone is given."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = (datetime.min.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND


def parse_timestamp(text: object) -> int:
    """Microseconds since 1970 of an ISO 8601 time; ValueError names what was given."""
    if not isinstance(text, str):
        raise ValueError(f"timestamp is a {type(text).__name__}, not a string")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"timestamp {text[:64]!r} is not ISO 8601") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    micros = (moment - EPOCH) // _MICROSECOND
    # A zone can carry the first and last hours of the calendar beyond what a datetime in UTC holds.
    if not _FIRST <= micros <= _LAST:
        raise ValueError(f"timestamp {text[:64]!r} is not within the years 1 to 9999 UTC")
    return micros


def from_micros(micros: int) -> datetime:
    """The UTC time of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=micros)


def format_timestamp(micros: int) -> str:
    """Microseconds since 1970 -> `2023-05-25T15:13:10.543400+00:00`, always with microseconds."""
    return from_micros(micros).isoformat(timespec="microseconds")


def utc_now() -> datetime:
    """The clock that is used unless another is passed in."""
    return datetime.now(UTC)
