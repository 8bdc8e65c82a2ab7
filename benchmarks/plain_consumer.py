"""A plain consumer: the pipeline's work by hand, in one process, as fast as it was found to go.

    .venv/bin/python -m benchmarks.plain_consumer [--publish] [--overlap] [--batch FRAMES]

Records by confluent-kafka in batches; JSON by orjson; metadata in a dict; a template's datapoints by one precompiled
struct.Struct, and its rows of COPY's binary format by another; COPY into decoded_data itself, and on a unique violation
staging and upsert; published readings flushed before, and offsets committed after, the database's commit. Bad frames go
to the dead letters with their reason. One JSON line a batch on standard output says how far it is.

What it leaves out, and the pipeline has: changes of metadata while it runs, Redis, windows, checkpoints, restart after
a failure, retries, splitting a batch to find a row that the database refuses, encodings that are not big-endian or of
an unusual length, a dead letter for each value that is not finite, the check of what type each JSON field has, metrics,
latency, health, structured logs, more than one worker.
"""

import argparse
import math
import os
import signal
import struct
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, NamedTuple

import orjson
import psycopg2
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from faces2.io.metadata import MetadataDatabase
from faces2.models.frame import Datapoint
from faces2.models.metadata import Snapshot
from faces2.service.settings import KafkaSettings, PostgresSettings, TimescaleSettings, load

COPY = "COPY {} (timestamp, device_id, datapoint_id, value) FROM STDIN (FORMAT BINARY)"
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
ROW = "hiqiiiiid"
EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - PostgreSQL's, as naive as the controllers' times
STRUCT = {
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}
UPSERT = """
    INSERT INTO decoded_data (timestamp, device_id, datapoint_id, value)
    SELECT DISTINCT ON (timestamp, device_id, datapoint_id) * FROM staging
    ORDER BY timestamp, device_id, datapoint_id, ctid DESC
    ON CONFLICT (timestamp, device_id, datapoint_id) DO UPDATE SET value = excluded.value"""


class BadFrameError(Exception):
    """A frame that is of no use; the text is the reason."""


class Point(NamedTuple):
    """A datapoint of a short frame, read alone."""

    datapoint_id: int
    layout: struct.Struct
    offset: int
    scale: float


class Decoder:
    """A template's frames to rows."""

    def __init__(self, datapoints: tuple[Datapoint, ...]) -> None:
        layout, end = ">", 0
        self._points = []
        for point in sorted(datapoints, key=lambda point: point.offset):
            code = STRUCT[point.encoding.lower()]
            if point.offset < end or struct.calcsize(code) != point.length:
                raise NotImplementedError(f"{point}: overlaps another, or is of an unusual length")
            layout += f"{point.offset - end}x{code}"
            end = point.offset + point.length
            self._points.append(
                Point(point.datapoint_id, struct.Struct(f">{code}"), point.offset, 10.0**point.decimals)
            )
        self.size = end
        self._frame = struct.Struct(layout)
        self._rows = struct.Struct(">" + ROW * len(self._points))
        self._row = struct.Struct(">" + ROW)
        self._ids = [point.datapoint_id for point in self._points]
        self._scales = [point.scale for point in self._points]

    def values(self, frame: bytes) -> list[tuple[int, float]]:
        """Datapoint and value of all that the frame holds; what is not finite is left out."""
        if len(frame) >= self.size:
            values = [
                number / scale for number, scale in zip(self._frame.unpack_from(frame), self._scales, strict=True)
            ]
            if all(map(math.isfinite, values)):
                return list(zip(self._ids, values, strict=True))
        found = []
        for datapoint_id, layout, offset, scale in self._points:
            if offset + layout.size <= len(frame):
                value = layout.unpack_from(frame, offset)[0] / scale
                if math.isfinite(value):
                    found.append((datapoint_id, value))
        return found

    def copy_rows(self, micros: int, device_id: int, values: list[tuple[int, float]]) -> bytes:
        """The rows in COPY's binary format."""
        columns: list[Any] = []
        for datapoint_id, value in values:
            columns += (4, 8, micros, 4, device_id, 4, datapoint_id, 8, value)
        if len(values) == len(self._points):
            return self._rows.pack(*columns)
        return b"".join(self._row.pack(*columns[i : i + 9]) for i in range(0, len(columns), 9))


class Batch:
    """What comes of the records of one turn."""

    def __init__(self) -> None:
        self.copy: list[bytes] = []
        self.readings: list[tuple[bytes, bytes]] = []
        self.dead: list[tuple[Message, str]] = []
        self.rows = 0


class Work(NamedTuple):
    """A batch that is being written, and how far its records reach."""

    written: Future[None]
    batch: Batch
    frames: int
    offsets: list[TopicPartition]


class PlainConsumer:
    """The loop; `publish`: readings also go to the processed topic; `overlap`: one batch is decoded while a second
    thread writes the one before."""

    def __init__(self, publish: bool, size: int, overlap: bool) -> None:
        self._kafka, timescale = load(KafkaSettings), load(TimescaleSettings)
        self._publish = publish
        self._size = size
        self._overlap = overlap
        self._frames = self._rows = self._dead = 0
        self._sensors = _sensors()
        self._errors: list[object] = []
        self._database = psycopg2.connect(
            host=timescale.host,
            port=timescale.port,
            user=timescale.user,
            password=timescale.password.get_secret_value(),
            dbname=timescale.db,
            options="-c timezone=UTC",
        )
        self._producer = Producer(
            {
                "bootstrap.servers": self._kafka.brokers,
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 5,
                "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.kbytes": 262_144,
                "delivery.report.only.error": True,
                "on_delivery": lambda error, _: self._errors.append(error),
            }
        )
        self._consumer = Consumer(
            {
                "bootstrap.servers": self._kafka.brokers,
                "group.id": self._kafka.group_id,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        self._consumer.subscribe([self._kafka.raw_topic])

    def run(self) -> None:
        """Until SIGTERM."""
        waiting: Work | None = None
        with ThreadPoolExecutor(1) as writer:
            while True:
                records = self._consumer.consume(self._size, 0.1)
                if records:
                    offsets = self._consumer.position(self._consumer.assignment())
                    batch = self._decode(records)
                    self._send(batch)
                if waiting:
                    self._finish(waiting)
                    waiting = None
                if records:
                    waiting = Work(writer.submit(self._write, batch), batch, len(records), offsets)
                    if not self._overlap:
                        self._finish(waiting)
                        waiting = None

    def _finish(self, work: "Work") -> None:
        """The batch is in the database; its offsets are committed, and it is told."""
        work.written.result()
        self._consumer.commit(offsets=[each for each in work.offsets if each.offset >= 0], asynchronous=False)
        self._frames += work.frames
        self._rows += work.batch.rows
        self._dead += len(work.batch.dead)
        line = {"at": time.monotonic(), "frames": self._frames, "rows": self._rows, "dead_letters": self._dead}
        sys.stdout.write(orjson.dumps(line).decode() + "\n")
        sys.stdout.flush()

    def _decode(self, records: list[Message]) -> Batch:
        batch = Batch()
        for record in records:
            if record.error():
                raise KafkaException(record.error())
            try:
                self._decode_one(record, batch)
            except BadFrameError as error:
                batch.dead.append((record, str(error)))
        return batch

    def _decode_one(self, record: Message, batch: Batch) -> None:
        try:
            message = orjson.loads(record.value() or b"")
            if message["mode"] != "sensor-mode":
                return
            payload = message["payload"]
            sensor = self._sensors.get((message["device_mac"], message["connector"], message["component"]))
            data, timestamp = payload["data"], payload["timestamp"]
        except orjson.JSONDecodeError:
            raise BadFrameError("bad_json") from None
        except (KeyError, TypeError):
            raise BadFrameError("bad_message") from None
        if sensor is None:
            raise BadFrameError("unknown_device")
        try:
            frame = bytes.fromhex(data)
        except (ValueError, TypeError):
            raise BadFrameError("bad_hex") from None
        try:
            moment = datetime.fromisoformat(timestamp)
        except (ValueError, TypeError):
            raise BadFrameError("bad_timestamp") from None
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        passed = moment - EPOCH
        micros = (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds

        device_id, decoder = sensor
        values = decoder.values(frame)
        batch.copy.append(decoder.copy_rows(micros, device_id, values))
        batch.rows += len(values)
        if len(frame) < decoder.size:
            batch.dead.append((record, "short_frame"))
        if self._publish:
            at = moment.isoformat("T", "microseconds")
            for datapoint_id, value in values:
                text = (
                    f'{{"device_id":{device_id},"datapoint_id":{datapoint_id},"value":{value!r},'
                    f'"timestamp":"{at}+00:00"}}'
                )
                batch.readings.append((b"%d:%d" % (device_id, datapoint_id), text.encode()))

    def _send(self, batch: Batch) -> None:
        """The readings and dead letters are in Kafka when this returns."""
        if not (batch.readings or batch.dead):
            return
        for key, value in batch.readings:
            self._produce(self._kafka.processed_topic, key, value)
        for record, reason in batch.dead:
            headers = [("reason", reason), ("topic", self._kafka.raw_topic)]
            self._produce(self._kafka.dead_letter_topic, record.key(), record.value(), headers)
        left = self._producer.flush(60)
        if left or self._errors:
            raise RuntimeError(f"{left} records are not confirmed {self._errors[:1]}")

    def _produce(self, topic: str, key: bytes | None, value: bytes | None, headers: Any = None) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, headers=headers)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _write(self, batch: Batch) -> None:
        if not batch.rows:
            return
        data = b"".join((HEADER, *batch.copy, TRAILER))
        try:
            with self._database, self._database.cursor() as cursor:
                cursor.copy_expert(COPY.format("decoded_data"), BytesIO(data))
        except psycopg2.errors.UniqueViolation:
            with self._database, self._database.cursor() as cursor:
                cursor.execute("CREATE TEMP TABLE IF NOT EXISTS staging (LIKE decoded_data) ON COMMIT DELETE ROWS")
                cursor.copy_expert(COPY.format("staging"), BytesIO(data))
                cursor.execute(UPSERT)


def _sensors() -> dict[tuple[str, str, str], tuple[int, Decoder]]:
    """By MAC, connector and component, in both spellings of the connector."""
    with closing(MetadataDatabase(load(PostgresSettings))) as database:
        snapshot: Snapshot = database.snapshot()
    templates = {sensor.template.template_id: sensor.template for sensor in snapshot.sensors.values()}
    decoders = {template_id: Decoder(template.datapoints) for template_id, template in templates.items()}
    return {
        (pin.mac, connector, f"sensor-{pin.position}"): (sensor.device_id, decoders[sensor.template.template_id])
        for pin, sensor in snapshot.sensors.items()
        for connector in (f"J{pin.connector}", str(pin.connector))
    }


def main() -> None:
    """Runs until SIGTERM."""
    parser = argparse.ArgumentParser(description="A plain Kafka consumer that does the pipeline's work.")
    parser.add_argument("--publish", action="store_true", help="readings also go to the processed topic")
    parser.add_argument("--batch", type=int, default=5000, help="frames of a batch")
    parser.add_argument("--overlap", action="store_true", help="decode while the batch before is written")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    PlainConsumer(arguments.publish, arguments.batch, arguments.overlap).run()


if __name__ == "__main__":
    main()
