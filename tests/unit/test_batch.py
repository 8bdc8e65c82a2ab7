"""Batch: all records, in their order, in batches of at most `size`; nothing stays behind a bundle."""

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import GlobalWindow
from hypothesis import given
from hypothesis import strategies as st

from faces2.models.dead_letter import Record
from faces2.service import metrics
from faces2.transforms.batch import Batch


def records(count: int) -> list[Record]:
    return [(b"%d" % i, b"value") for i in range(count)]


@given(st.integers(1, 12), st.lists(st.integers(0, 30), max_size=4))
def test_bundles(size: int, bundles: list[int]) -> None:
    gather = Batch(size, "raw", clock=lambda: 1000.0)._gather
    for count in bundles:
        gather.start_bundle()
        full = [batch for record in records(count) for batch in gather.process(record) or []]
        rest = list(gather.finish_bundle())
        assert [len(batch) for batch in full] == [size] * (count // size)
        assert [len(each.value) for each in rest] == ([count % size] if count % size else [])
        assert all(each.timestamp == 1000 and each.windows == (GlobalWindow(),) for each in rest)
        assert [record for batch in [*full, *(each.value for each in rest)] for record in batch] == records(count)


def test_a_size_that_is_none() -> None:
    with pytest.raises(ValueError, match="size 0 is not positive"):
        Batch(0, "raw")


def test_in_a_pipeline() -> None:
    def holds(batches: list[list[Record]]) -> None:
        assert max(len(batch) for batch in batches) <= 4
        assert sorted(record for batch in batches for record in batch) == sorted(records(10))

    count = metrics.MESSAGES_IN.labels(source="test-batch")._value.get
    before = count()
    with TestPipeline(runner="FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create(records(10)) | Batch(4, "test-batch"), holds)
    assert count() - before == 10
