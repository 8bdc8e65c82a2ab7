"""The pipeline's parts on the real services."""

import numpy as np
import pytest
from helpers import Rows, Stack, now

from faces2.io import timescale
from faces2.io.kafka_range import whole_topic
from faces2.models.batches import Readings
from faces2.service.settings import KafkaSettings, TimescaleSettings, load

pytestmark = pytest.mark.stack

TABLE = "SELECT count(*), sum(hashtext(decoded_data::text)::bigint) FROM decoded_data"


def test_a_bounded_run_again_changes_nothing(stack: Stack, rows: Rows) -> None:
    records = sum(part.stop - part.start for part in whole_topic(load(KafkaSettings), load(KafkaSettings).raw_topic))
    before = rows.query(TABLE)
    stack.run("pipeline", "--runner", "direct", "--max", str(min(records, 5000)), timeout=300)
    assert rows.query(TABLE) == before


def test_the_same_batch_twice_is_written_once(stack: Stack, rows: Rows) -> None:
    start = now() + 86_400_000_000
    count = 1000
    readings = Readings(
        np.arange(start, start + count, dtype=np.int64),
        np.full(count, 7, np.int32),
        np.full(count, 1, np.int32),
        np.linspace(-1, 1, count),
        np.zeros(count, np.int32),
        [(None, b"")],
    )
    writer = timescale.Writer(lambda: timescale.connect(load(TimescaleSettings)))
    for _ in range(2):
        assert writer.write(readings) == []
    assert rows.count(start, start + count) == count
    doubled = readings.take(np.r_[0:10, 0:10])
    doubled.value[10:] = 5.0
    assert writer.write(doubled) == []
    assert rows.at(7, start) == {1: 5.0}, "the last of two values for one key holds"
    rows.query("DELETE FROM decoded_data WHERE timestamp >= to_timestamp(%s) RETURNING 1", start / 1e6)
    writer.close()
