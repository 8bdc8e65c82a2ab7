"""Records as Beam's Java source hands them to the workers: key and value come out as they were, whatever they hold."""

from collections import Counter
from random import Random
from string import ascii_letters

from faces2.io.kafka_record import KafkaRecordCoder
from tests.fuzz import fleet, mutations
from tests.fuzz.engine import Case
from tests.fuzz.java_record import encode

LENGTHS = (0, 1, 2, 126, 127, 128, 129, 200, 255, 256, 16_383, 16_384)
NUMBERS = (-1, 0, 1, 3, 127, 128, 1_795_000_000_000, 2**31, 2**63 - 1)


class Encoded:
    """(key, value, topic, headers, partition, offset, timestamp, its type)."""

    name = "encoded"
    batch = 1000

    def cases(self, rng: Random, count: int) -> list[Case]:
        """Records of any bytes and headers; topics of any length that Kafka takes."""
        return [_case(rng) for _ in range(count)]

    def check(self, cases: list[Case]) -> Counter[str]:
        """Each is read, in the short way or in the long one."""
        coder, ends = KafkaRecordCoder(), Counter[str]()
        for key, value, topic, headers, *numbers in cases:
            record = coder.decode(encode(key, value, topic=topic, headers=headers, numbers=tuple(numbers)))
            assert record == (key, value), f"{record!r:.200} and not {(key, value)!r:.200}"
            assert coder.estimate_size(record) == len(key or b"") + len(value or b"")
            ends["with headers" if headers else "without headers"] += 1
        return ends


def _case(rng: Random) -> Case:
    topic = "".join(rng.choices(ascii_letters, k=rng.choice((1, 12, 127, 128, 129, 249))))
    headers = [(rng.choice(mutations.TEXTS), _bytes(rng)) for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 256)))]
    return _bytes(rng), _value(rng), topic, headers, *(rng.choice(NUMBERS) for _ in range(3)), rng.choice((-1, 0, 1))


def _value(rng: Random) -> bytes | None:
    return mutations.dumped(fleet.record(rng)) if rng.random() < 0.3 else _bytes(rng)


def _bytes(rng: Random) -> bytes | None:
    """Often such as mean something in the coding: ones, noughts, lengths."""
    if rng.random() < 0.1:
        return None
    return rng.choice((rng.randbytes, bytes, lambda size: b"\1" * size))(rng.choice(LENGTHS[: rng.choice((4, 8, 12))]))
