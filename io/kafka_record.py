"""Kafka's records as Beam's Java source encodes them, read in Python: so that no stage in Java has to take them apart.

Source: org.apache.beam.sdk.io.kafka.KafkaRecordCoder. Topic (behind its length), partition, offset, timestamp and its
type, each number a varint; the number of headers in 4 bytes, and the headers; key and value, each behind a byte that is
1 if there is one, and its length.
"""

import re
from typing import Any

from apache_beam.coders import Coder
from apache_beam.coders.slow_stream import InputStream

from faces2.models.dead_letter import Record

JAVA_CODER = "beam:coders:javasdk:0.1"
"""What Beam calls each coder that only Java knows; the pipeline has no other one of those."""

_VARINT = rb"[\x80-\xff]*[\x00-\x7f]"
_NO_HEADERS = re.compile(_VARINT * 4 + rb"\x00{4}\x01[\x00-\x7f]", re.DOTALL)
"""From behind the topic to the length of a key that is shorter than 128 bytes."""


class KafkaRecordCoder(Coder):
    """Gives Records, and encodes nothing."""

    def decode(self, encoded: bytes) -> Record:
        """Key and value."""
        return decode_record(encoded)

    def estimate_size(self, record: Record) -> int:
        """Bytes, of the few records that Beam's sampling asks for."""
        key, value = record
        return len(key or b"") + len(value or b"")


@Coder.register_urn(JAVA_CODER, bytes)
def _known_to_java(*_: Any) -> KafkaRecordCoder:
    """Workers make the coder when they find it in the graph: this module must be among those that they load."""
    return KafkaRecordCoder()


def decode_record(encoded: bytes) -> Record:
    """Key and value; this runs once a record, so the usual form has a way of its own."""
    found = _NO_HEADERS.match(encoded, 1 + encoded[0])
    if found is None or encoded[0] > 127:  # the topic's length takes two bytes: the match began in the topic
        return _decode_any(encoded)
    start = found.end()
    end = start + encoded[start - 1]
    if encoded[end] != 1:
        return encoded[start:end], None
    value = end + 2
    while encoded[value - 1] > 127:  # the value's length: what is left is the value
        value += 1
    return encoded[start:end], encoded[value:]


def _decode_any(encoded: bytes) -> Record:
    """With headers, without a key, with a long topic or key."""
    stream = InputStream(encoded)
    stream.read(stream.read_var_int64())  # the topic
    for _ in range(4):  # partition, offset, timestamp, its type
        stream.read_var_int64()
    for _ in range(stream.read_bigendian_int32()):
        stream.read(stream.read_var_int64())
        _nullable(stream)
    return _nullable(stream), _nullable(stream)


def _nullable(stream: InputStream) -> bytes | None:
    """Bytes behind the byte that says whether there are any."""
    return stream.read(stream.read_var_int64()) if stream.read_byte() else None
