"""MAC addresses: three spellings in, one out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faces2.models.mac import colon_mac, compact_mac


@pytest.mark.parametrize(
    "text", ["aabbccddee01", "AABBCCDDEE01", "aa:bb:cc:dd:ee:01", "AA-BB-CC-DD-EE-01", "  aa:bb:cc:dd:ee:01\n"]
)
def test_spellings(text: str) -> None:
    assert compact_mac(text) == "aabbccddee01"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "aabbccddee0",
        "aabbccddee011",
        "aa:bb:cc:dd:ee",
        "aa:bb-cc:dd:ee:01",
        "aa:bbcc:dd:ee:01",
        "gg:bb:cc:dd:ee:01",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no MAC address: twelve hex digits"):
        compact_mac(text)


@given(st.from_regex(r"[0-9a-f]{12}", fullmatch=True))
def test_there_and_back(mac: str) -> None:
    assert compact_mac(colon_mac(mac)) == mac
