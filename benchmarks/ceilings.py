"""The ceilings: what the database takes when nothing else is to be done, and what Kafka gives when nothing is done."""

import time
import uuid
from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from typing import Any

from confluent_kafka import Consumer

from benchmarks import table
from benchmarks.contender import Progress, Result, WrongResultError, result_of
from benchmarks.messages import RAW, Workload
from faces2.io import timescale
from faces2.io.copy_binary import COLUMNS, to_copy_binary
from faces2.models.batches import Readings
from faces2.models.clock import format_timestamp
from faces2.service.settings import KafkaSettings, TimescaleSettings, load

UPSERT = f"""
    INSERT INTO decoded_data ({COLUMNS}) SELECT {COLUMNS} FROM staging
    ON CONFLICT (timestamp, device_id, datapoint_id) DO UPDATE SET value = EXCLUDED.value"""

Step = Callable[[Any, bytes], None]


def copy(form: str) -> Step:
    """COPY straight into the hypertable."""

    def step(cursor: Any, data: bytes) -> None:
        cursor.copy_expert(f"COPY decoded_data ({COLUMNS}) FROM STDIN (FORMAT {form})", BytesIO(data))

    return step


def upsert(cursor: Any, data: bytes) -> None:
    """COPY to a staging table, then INSERT … ON CONFLICT DO UPDATE."""
    cursor.execute("CREATE TEMP TABLE IF NOT EXISTS staging (LIKE decoded_data) ON COMMIT DELETE ROWS")
    cursor.copy_expert(f"COPY staging ({COLUMNS}) FROM STDIN (FORMAT BINARY)", BytesIO(data))
    cursor.execute(UPSERT)


def to_copy_text(readings: Readings) -> bytes:
    """The rows in COPY's text format."""
    columns = zip(
        readings.micros.tolist(),
        readings.device_id.tolist(),
        readings.datapoint_id.tolist(),
        readings.value.tolist(),
        strict=True,
    )
    return "".join(
        f"{format_timestamp(micros)}\t{device_id}\t{datapoint_id}\t{value!r}\n"
        for micros, device_id, datapoint_id, value in columns
    ).encode()


class Database:
    """All rows over one connection, a transaction a batch; the batches are made beforehand."""

    def __init__(self, name: str, what: str, step: Step, encode: Callable[[Readings], bytes] = to_copy_binary) -> None:
        self.name = name
        self.what = what
        self._step = step
        self._encode = encode
        self._data: list[bytes] = []

    def prepare(self, work: Workload) -> None:
        self._data = [self._encode(batch) for batch in work.batches]
        table.empty()

    def run(self, work: Workload) -> Result:
        progress, done = [], 0
        with closing(timescale.connect(load(TimescaleSettings))) as connection, connection.cursor() as cursor:
            for batch, data in zip(work.batches, self._data, strict=True):
                self._step(cursor, data)
                connection.commit()
                done += len(batch)
                progress.append(Progress(time.monotonic(), done))
        self._data = []
        if table.count() != work.raw.rows:
            raise WrongResultError(f"{self.name}: {table.count()} rows instead of {work.raw.rows}")
        result = result_of(progress, work.frames, done)
        return Result(0, result.rows, result.seconds)


class KafkaCount:
    """Records from Kafka to Python (confluent-kafka, batches), which only counts them."""

    name = "kafka-count"
    what = "Kafka to Python, counting only"

    def prepare(self, work: Workload) -> None:
        assert work.raw

    def run(self, work: Workload) -> Result:
        group = f"bench-count-{uuid.uuid4().hex[:8]}"
        consumer = Consumer(
            {"bootstrap.servers": load(KafkaSettings).brokers, "group.id": group, "auto.offset.reset": "earliest"}
        )
        consumer.subscribe([RAW])
        progress, done = [], 0
        while done < work.frames:
            done += sum(record.value() is not None for record in consumer.consume(5000, 0.1))
            progress.append(Progress(time.monotonic(), done))
        consumer.close()
        result = result_of(progress, work.frames, work.frames)
        return Result(result.frames, 0, result.seconds)
