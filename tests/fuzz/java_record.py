"""Records as Beam's Java source encodes them: KafkaRecordCoder of Beam 2.70, written down again."""

from collections.abc import Sequence

Headers = Sequence[tuple[str, bytes | None]]


def encode(
    key: bytes | None,
    value: bytes | None,
    *,
    topic: str = "raw-iot-data",
    numbers: tuple[int, int, int, int] = (3, 1_234_567, 1_795_000_000_000, 0),
    headers: Headers = (),
) -> bytes:
    """`numbers` are partition, offset, timestamp and its type."""
    head = _sized(topic.encode()) + b"".join(map(_varint, numbers))
    pairs = b"".join(_sized(name.encode()) + _nullable(content) for name, content in headers)
    return head + len(headers).to_bytes(4, "big") + pairs + _nullable(key) + _nullable(value)


def _varint(number: int) -> bytes:
    number &= 2**64 - 1  # a record without a timestamp has -1
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def _sized(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _nullable(content: bytes | None) -> bytes:
    return b"\0" if content is None else b"\1" + _sized(content)
