"""What Redis holds may be of somebody else: no version, no snapshot, and never an error."""

from unittest.mock import MagicMock

import pytest

from faces2.io.cache import SNAPSHOT_KEY, SnapshotCache
from faces2.models.metadata import Snapshot


def cache_of(version: bytes | None, held: int = 1, text: bytes | None = None) -> SnapshotCache:
    client = MagicMock()
    client.pipeline.return_value.__enter__.return_value.execute.return_value = (version, held)
    client.get.side_effect = lambda key: text if key == SNAPSHOT_KEY else version
    return SnapshotCache(client)


@pytest.mark.parametrize(
    ("version", "read"),
    [
        (b"7", 7),
        (None, 0),
        (b"", 0),
        (b"x", 0),
        (b"-1", 0),
        (b"1.5", 0),
        (b"9" * 19, 10**19 - 1),
        (b"9" * 20, 0),
        (b"9" * 5000, 0),
    ],
)
def test_the_version(version: bytes | None, read: int) -> None:
    assert cache_of(version).held() == cache_of(version).version() == read
    assert cache_of(version, held=0).held() == 0


@pytest.mark.parametrize(
    "text",
    [
        *(None, b"", b"[]", b'{"version": 7}', b'{"version": "7", "templates": [], "pins": []}'),
        Snapshot(7, {}).to_json().replace(b"7", b'"7"'),
    ],
)
def test_what_is_no_snapshot(text: bytes | None) -> None:
    assert cache_of(b"7", text=text).snapshot() is None


def test_a_snapshot() -> None:
    assert cache_of(b"7", text=Snapshot(7, {}).to_json()).snapshot() == Snapshot(7, {})
