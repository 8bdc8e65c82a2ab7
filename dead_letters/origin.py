"""Where a dead letter goes back to, and as what: the record that a replay sends."""

from collections.abc import Collection
from hashlib import blake2b
from typing import NamedTuple

from faces2.dead_letters.letter import Letter
from faces2.models.dead_letter import RejectedError
from faces2.models.messages import raw_message
from faces2.models.topic import BadTopicError, parse_topic
from faces2.service.settings import KafkaSettings

BRIDGE = "bridge"
"""The step of payloads that never became a raw message."""


class NoWayBackError(ValueError):
    """The letter can not be replayed; the text says why, in words that are the same for all of a kind."""


class Outgoing(NamedTuple):
    """What is sent back."""

    topic: str
    key: bytes | None
    value: bytes | None


def outgoing(letter: Letter, kafka: KafkaSettings, topics: Collection[str]) -> Outgoing:
    """The original bytes and key to the topic that they came from; a payload of the bridge as the raw message that it
    makes now. `topics` are those that exist: a header must not create one."""
    if letter.step == BRIDGE:
        return _raw(letter, kafka)
    if not letter.topic:
        raise NoWayBackError("it does not say which topic it came from")
    if letter.topic in (kafka.dead_letter_topic, kafka.replay_topic):
        raise NoWayBackError(f"it came from {letter.topic}, which nothing is sent back to")
    if letter.topic not in topics:
        raise NoWayBackError(f"its topic {letter.topic[:100]} does not exist")
    return Outgoing(letter.topic, letter.key, letter.value)


def _raw(letter: Letter, kafka: KafkaSettings) -> Outgoing:
    try:
        parse_topic(letter.topic)
    except BadTopicError:
        raise NoWayBackError(
            "it came to the bridge on no topic of a controller, or only its beginning is kept"
        ) from None
    received = letter.failed_at
    if received is None:
        raise NoWayBackError("it does not say when it came to the bridge")
    try:
        message = raw_message(letter.topic, letter.value or b"", 1, False, received)
    except RejectedError as error:
        raise NoWayBackError(f"the bridge would refuse it again: {error.reason}") from None
    return Outgoing(kafka.raw_topic, message.device_mac.encode(), message.to_json())


def fingerprint(key: bytes | None, value: bytes | None) -> int:
    """64 bits of a hash of key and value, by which a record that comes back as a dead letter is known again."""
    length = -1 if key is None else len(key)
    return int.from_bytes(blake2b(b"%d:%b%b" % (length, key or b"", value or b""), digest_size=8).digest(), "big")
