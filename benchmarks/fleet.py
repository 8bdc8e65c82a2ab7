"""A mixed fleet: controllers put into the bench's metadata, and the frames that they send."""

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from psycopg2 import sql

from faces2.io.metadata import MetadataDatabase, connect
from faces2.models.clock import from_micros
from faces2.models.frame import build_frame, format_hex, layout_of
from faces2.models.metadata import PinKey, Sensor, Snapshot
from faces2.models.topic import sensor_topic
from faces2.service.settings import PostgresSettings, load
from faces2.simulator.values import value_of

CONTROLLERS = 200
MAC = "aabbccdd{:04x}"
STEP_MICROS = 25_000
"""Between two frames of the fleet: 1,200 sensors that each report every 30 s."""
BAD_EVERY = 1000
FRAMES_KEPT = 20
"""Different frames of one sensor, sent in turn; encoding each anew would make loading the slowest part."""
SHORT_BYTES = 7

_FLEET = """
    INSERT INTO {s}.devices (deviceid, devicename, devicetemplateid, macaddress)
    SELECT 1000 + n, 'Bench controller ' || n, 4, 'aa:bb:cc:dd:' || substr(to_hex(65536 + n), 2, 2) || ':'
           || substr(to_hex(65536 + n), 4, 2)
    FROM generate_series(1, {count}) AS n;
    INSERT INTO {s}.devices (deviceid, devicename, devicetemplateid)
    SELECT 10000 + n * 10 + k, 'Bench sensor ' || n || '.' || k, 1 + (n + k) % 3
    FROM generate_series(1, {count}) AS n, generate_series(1, 6) AS k;
    INSERT INTO {s}.connectors (connectorid, controllerid, connectornumber, connectortypeid)
    SELECT 1000 + n * 10 + c, 1000 + n, c, 1
    FROM generate_series(1, {count}) AS n, generate_series(1, 2) AS c;
    INSERT INTO {s}.pins (connectorid, position, deviceid)
    SELECT 1000 + n * 10 + 1 + (k - 1) / 3, 1 + (k - 1) % 3, 10000 + n * 10 + k
    FROM generate_series(1, {count}) AS n, generate_series(1, 6) AS k"""


class Message(NamedTuple):
    """A record of the raw topic, and how many rows it must give."""

    key: bytes
    value: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class Source:
    """A sensor: the parts of its messages around the two timestamps and the frame, and its frames as hex."""

    key: bytes
    topic: str
    head: bytes
    middle: bytes
    frames: tuple[bytes, ...]
    rows: int
    rows_when_short: int


def install() -> Snapshot:
    """Puts the fleet into the metadata; the snapshot then."""
    settings = load(PostgresSettings)
    with closing(connect(settings)) as connection, connection.cursor() as cursor:
        schema = sql.Identifier(settings.schema_name)
        cursor.execute(sql.SQL(_FLEET).format(s=schema, count=sql.Literal(CONTROLLERS)))
    with closing(MetadataDatabase(settings)) as database:
        return database.snapshot()


def sources(snapshot: Snapshot, controllers: int = CONTROLLERS) -> list[Source]:
    """The sensors of the first controllers, shuffled, so that neighbours in time have different keys."""
    macs = {MAC.format(number) for number in range(1, controllers + 1)}
    chosen = [(pin, sensor) for pin, sensor in sorted(snapshot.sensors.items()) if pin.mac in macs]
    random.Random(1).shuffle(chosen)
    return [_source(pin, sensor) for pin, sensor in chosen]


def _source(pin: PinKey, sensor: Sensor) -> Source:
    points = sensor.template.datapoints
    values = {point.datapoint_id: value_of(point, random.Random(f"{pin}{point.label}")) for point in points}
    frames = tuple(
        format_hex(build_frame(points, {key: value.at(30.0 * turn) for key, value in values.items()})).encode()
        for turn in range(FRAMES_KEPT)
    )
    topic = sensor_topic(*pin)
    middle = (
        f'","topic":"{topic}","topic_type":"tele","device_mac":"{pin.mac}","mode":"sensor-mode",'
        f'"connector":"J{pin.connector}","component":"sensor-{pin.position}","payload":{{"timestamp":"'
    ).encode()
    short = sum(layout_of(point).end <= SHORT_BYTES for point in points)
    return Source(pin.mac.encode(), topic, b'{"timestamp":"', middle, frames, len(points), short)


def first_micros() -> int:
    """Where the fleet's time begins: yesterday at midnight, UTC; the newest rows of a run are never in the future."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int(today.timestamp() - 86_400) * 1_000_000


def messages(fleet: list[Source], start: int, stop: int, micros: int) -> Iterator[Message]:
    """The fleet's messages `start` up to `stop`, the first of all at `micros`; every 1,000th is bad."""
    for index in range(start, stop):
        source = fleet[index % len(fleet)]
        at = from_micros(micros + index * STEP_MICROS).isoformat(" ", "microseconds")[:26].encode()
        frame = source.frames[index // len(fleet) % FRAMES_KEPT]
        if index % BAD_EVERY == BAD_EVERY - 1:
            yield _bad(source, index // BAD_EVERY, at, frame)
        else:
            yield Message(source.key, value(source, at, frame), source.rows)


def value(source: Source, at: bytes, frame: bytes) -> bytes:
    """The record's value: a frame, as hex, that was sent `at`."""
    return b'%b%b%b%b","data":"%b"},"qos":1,"retain":false}' % (source.head, at, source.middle, at, frame)


def _bad(source: Source, turn: int, at: bytes, frame: bytes) -> Message:
    match turn % 4:
        case 0:
            return Message(source.key, value(source, at, frame[:-1] + b"Z"), 0)
        case 1:
            unknown = b"f" * 12
            return Message(unknown, value(source, at, frame).replace(source.key, unknown), 0)
        case 2:
            return Message(source.key, value(source, at, frame)[:-30], 0)
        case _:
            return Message(source.key, value(source, at, frame[: 3 * SHORT_BYTES - 1]), source.rows_when_short)
