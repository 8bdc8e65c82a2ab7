"""One dead letter in words: headers, the original value, what it would decode to now."""

from collections.abc import Iterator

import orjson

from faces2.dead_letters.letter import Letter
from faces2.dead_letters.origin import BRIDGE, NoWayBackError, outgoing
from faces2.models.clock import format_timestamp
from faces2.models.dead_letter import RejectedError
from faces2.models.frame import Datapoint, FrameError, decode
from faces2.models.metadata import Snapshot
from faces2.service.settings import KafkaSettings
from faces2.transforms.parse import RawFrame, parse_record


def described(letter: Letter) -> Iterator[str]:
    """The letter's place, headers, key and value."""
    yield f"dead letter {letter.id}"
    for name, text in letter.headers.items():
        yield f"  {name:10} {text}"
    yield f"  {'key':10} {'none' if letter.key is None else letter.key.decode('utf-8', 'backslashreplace')}"
    yield f"value, {len(letter.value or b'')} bytes"
    yield from shown(letter.value or b"")


def shown(value: bytes) -> Iterator[str]:
    """JSON with indents, anything else as bytes in hex and ASCII."""
    try:
        text = orjson.dumps(orjson.loads(value), option=orjson.OPT_INDENT_2).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        for start in range(0, len(value), 16):
            part = value[start : start + 16]
            plain = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
            yield f"  {start:06x}  {part.hex(' '):47}  {plain}"
    else:
        yield from (f"  {line}" for line in text.splitlines())


def decoded(letter: Letter, kafka: KafkaSettings, snapshot: Snapshot, check_crc: bool) -> Iterator[str]:
    """What the pipeline would make of it with this metadata, or why it would make nothing."""
    value = letter.value
    try:
        if letter.step == BRIDGE:
            value = outgoing(letter, kafka, ()).value
        elif letter.topic != kafka.raw_topic:
            yield f"It came from {letter.topic or 'nowhere'}, which holds no frames: nothing is to be decoded."
            return
        frame = parse_record(value, check_crc)
    except NoWayBackError as error:
        yield f"It can not be replayed: {error}."
        return
    except RejectedError as error:
        yield f"It does not decode: {error.reason}, {error}."
        return
    if isinstance(frame, str):
        yield f"It is a message of {frame}, which is passed by."
    else:
        yield from _readings(frame, snapshot)


def _readings(frame: RawFrame, snapshot: Snapshot) -> Iterator[str]:
    place = f"{frame.connector} {frame.component} of {frame.mac}"
    sensor = snapshot.find(frame.mac, frame.connector, frame.component)
    if sensor is None:
        yield f"It does not decode: the metadata (version {snapshot.version}) does not know {place}."
        return
    device = f"device {sensor.device_id}, {sensor.name}, at {format_timestamp(frame.micros)}"
    yield f"With the present metadata (version {snapshot.version}) it is of {device}:"
    for point in sensor.template.datapoints:
        yield f"  {point.datapoint_id:6} {_value(frame.frame, point)}"
    if not sensor.template.datapoints:
        yield f"  nothing: template {sensor.template.template_id} has no datapoints"


def _value(frame: bytes, point: Datapoint) -> str:
    try:
        return f"{point.label} {decode(frame, point)} {point.unit}".strip()
    except FrameError as error:
        return str(error)
