"""Controllers' times: microseconds since 1970, UTC where no zone is given."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faces2.models.clock import format_timestamp, from_micros, parse_timestamp, parse_usual_timestamps, utc_now

MICROS = 1_685_027_590_543_400


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2023-05-25 15:13:10.543400", MICROS),
        ("2023-05-25T15:13:10.543400", MICROS),
        ("2023-05-25T15:13:10.543400Z", MICROS),
        ("2023-05-25T17:13:10.543400+02:00", MICROS),
        ("2023-05-25 15:13:10", 1_685_027_590_000_000),
        ("1970-01-01", 0),
        ("1969-12-31T23:59:59.999999", -1),
        ("0001-01-01", -62_135_596_800_000_000),
        ("9999-12-31T23:59:59.999999", 253_402_300_799_999_999),
    ],
)
def test_times(text: str, micros: int) -> None:
    assert parse_timestamp(text) == micros
    assert parse_timestamp(format_timestamp(micros)) == micros


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        (None, "is a NoneType, not a string"),
        (1685027590, "is a int, not a string"),
        ("", "is not ISO 8601"),
        ("yesterday", "'yesterday' is not ISO 8601"),
        ("2023-13-01 00:00:00", "is not ISO 8601"),
        ("2023-05-25 24:13:10", "is not ISO 8601"),
        ("x" * 1000, f"'{'x' * 64}' is not"),
        # Zones carry these beyond what can be written out again.
        ("0001-01-01T00:00:00+14:00", "years 1 to 9999"),
        ("9999-12-31T23:59:59-01:00", "years 1 to 9999"),
    ],
)
def test_what_is_none(given_: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_timestamp(given_)


@given(st.datetimes(timezones=st.timezones() | st.none()))
def test_whatever_is_parsed_is_the_moment_and_can_be_written(moment: datetime) -> None:
    try:
        expected = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        return
    offset = moment.utcoffset() or timedelta()
    if offset % timedelta(seconds=1):
        return
    micros = parse_timestamp(moment.isoformat())
    assert from_micros(micros) == expected
    assert parse_timestamp(format_timestamp(micros)) == micros


def test_the_clock_is_in_utc() -> None:
    assert utc_now().tzinfo is UTC


USUAL = st.datetimes().map(lambda moment: moment.isoformat(" ", "microseconds")) | st.just("2023-05-25T15:13:10.543400")
# What is nearly as usual: other digits, separators, lengths and types, days and hours that do not exist.
ODD = st.one_of(
    st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}\Z"),
    st.text("0123456789-+:. TZN\u0661", min_size=26, max_size=26),
    st.sampled_from(["", "NaT", "now", "2023-05-25 15:13:10.543400" * 2, "-001-01-01 00:00:00.000000", [1] * 26, None]),
    st.sampled_from(["2023-05-25 15:13:10.54340Z", "2023-05-25 15:13:10.543+01", "0000-01-01 00:00:00.000000"]),
    st.sampled_from(["2023-02-29 00:00:00.000000", "2023-05-25 24:00:00.000000", "2023-05-25 15:13:60.000000"]),
)


@given(st.lists(USUAL, min_size=1))
def test_usual_times_at_once(texts: list[str]) -> None:
    found = parse_usual_timestamps(texts)
    assert found is not None
    assert found.tolist() == [parse_timestamp(text) for text in texts]


@given(st.lists(USUAL | ODD))
def test_times_that_are_not_all_usual(texts: list[object]) -> None:
    found = parse_usual_timestamps(texts)
    assert found is None or found.tolist() == [parse_timestamp(text) for text in texts]
