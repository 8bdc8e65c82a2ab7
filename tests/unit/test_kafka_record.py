"""Records as Beam's Java source encodes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faces2.io.kafka_record import JAVA_CODER, KafkaRecordCoder, decode_record
from tests.fuzz.java_record import Headers, encode


@pytest.mark.parametrize("length", [0, 1, 127, 128, 400, 16_383, 16_384, 3_000_000])
def test_values_of_every_length(length: int) -> None:
    value = bytes(range(256)) * (length // 256) + bytes(length % 256)
    assert decode_record(encode(b"aabbccddee01", value)) == (b"aabbccddee01", value)


@pytest.mark.parametrize("key", [None, b"", b"5:1", b"k" * 127, b"k" * 128, b"k" * 5000])
@pytest.mark.parametrize("value", [None, b"", b"{}"])
@pytest.mark.parametrize("headers", [[], [("trace", b"1"), ("none", None)]])
def test_every_form(key: bytes | None, value: bytes | None, headers: Headers) -> None:
    assert decode_record(encode(key, value, headers=headers)) == (key, value)


@given(
    key=st.none() | st.binary(max_size=300),
    value=st.none() | st.binary(max_size=300),
    topic=st.text("abc.-", min_size=1, max_size=249),
    numbers=st.tuples(*[st.integers(-1, 2**63 - 1)] * 4),
    headers=st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3),
)
def test_any_record(
    key: bytes | None, value: bytes | None, topic: str, numbers: tuple[int, int, int, int], headers: Headers
) -> None:
    encoded = encode(key, value, topic=topic, numbers=numbers, headers=headers)
    assert decode_record(encoded) == (key, value)


def test_a_long_topic_with_a_header() -> None:
    encoded = encode(b"key", b"value", topic="t" * 128, headers=[("name", b"content")])
    assert decode_record(encoded) == (b"key", b"value")


def test_workers_find_the_coder_in_the_graph() -> None:
    _, make = KafkaRecordCoder._known_urns[JAVA_CODER]
    assert make(b"", [], None).decode(encode(b"k", b"v")) == (b"k", b"v")
