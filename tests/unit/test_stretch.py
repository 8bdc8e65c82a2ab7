"""The ends of a stretch as users write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from faces2.models.stretch import Moment, Offsets, StretchError, parse_end

NOW = datetime(2026, 5, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", Moment(NOW - timedelta(hours=2))),
        ("2 hours ago", Moment(NOW - timedelta(hours=2))),
        ("1 hour ago", Moment(NOW - timedelta(hours=1))),
        ("90s", Moment(NOW - timedelta(seconds=90))),
        ("30m", Moment(NOW - timedelta(minutes=30))),
        ("30 Min", Moment(NOW - timedelta(minutes=30))),
        ("1.5d", Moment(NOW - timedelta(hours=36))),
        ("2w", Moment(NOW - timedelta(days=14))),
        ("2026-05-24", Moment(datetime(2026, 5, 24, tzinfo=UTC))),
        ("2026-05-24 10:30", Moment(datetime(2026, 5, 24, 10, 30, tzinfo=UTC))),
        ("2026-05-24T10:30:00.5Z", Moment(datetime(2026, 5, 24, 10, 30, 0, 500_000, tzinfo=UTC))),
        (
            "2026-05-24T10:30+02:00",
            Moment(datetime(2026, 5, 24, 10, 30, tzinfo=timezone(timedelta(hours=2)))),
        ),
        ("0:1500", Offsets(((0, 1500),))),
        (" 1:7, 0:3 ", Offsets(((0, 3), (1, 7)))),
        (None, None),
    ],
)
def test_what_is_read(text: str | None, expected: object) -> None:
    assert parse_end(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yesterday", "ISO 8601"),
        ("", "ISO 8601"),
        ("0:-1", "partition:offset"),
        ("0:1,", "partition:offset"),
        ("0:1,0:2", "twice"),
        ("2 years", "how long ago"),
        ("99999999999d", "before the calendar begins"),
        ("2026-13-01", "ISO 8601"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(StretchError, match=said):
        parse_end(text, NOW)


def test_a_moment_is_milliseconds_for_kafka() -> None:
    end = parse_end("1970-01-01T00:00:01.5", NOW)
    assert isinstance(end, Moment)
    assert end.millis == 1500
