"""Dead letters: the original bytes, and headers that any text can go into."""

import ast
from datetime import UTC, datetime
from pathlib import Path

import pytest

from faces2.models.dead_letter import Reason, Rejected, to_dead_letters

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


def test_the_record_is_unchanged_and_the_headers_say_why() -> None:
    rejected = [Rejected((b"key", b"\xff\x00"), Reason.BAD_UTF8, "why"), Rejected((None, None), Reason.BAD_JSON, "")]
    first, second = to_dead_letters(rejected, "Enrich", "raw-iot-data", NOW)
    assert (first.key, first.value) == (b"key", b"\xff\x00")
    assert (second.key, second.value) == (None, None)
    assert dict(first.headers()) == {
        "reason": b"bad_utf8",
        "detail": b"why",
        "step": b"Enrich",
        "topic": b"raw-iot-data",
        "failed_at": b"2026-01-01T00:00:00+00:00",
        "version": b"1",
    }


def test_a_detail_that_is_no_utf8_still_makes_a_header() -> None:
    (letter,) = to_dead_letters([Rejected((None, b""), Reason.BAD_HEX, "\udcff ü")], "s", "t", NOW)
    assert dict(letter.headers())["detail"] == b"\\udcff " + "ü".encode()


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_given_somewhere(reason: Reason) -> None:
    sources = [*ROOT.glob("models/*.py"), *ROOT.glob("transforms/*.py"), *ROOT.glob("io/*.py")]
    used = {
        node.attr
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason"
    }
    assert reason.name in used
