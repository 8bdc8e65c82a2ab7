"""Latencies counted by bucket are those of the histogram, row by row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Histogram

from faces2.service import metrics

BOUNDS = metrics.END_TO_END_SECONDS._upper_bounds


def fresh() -> Histogram:
    return Histogram("latency", "Latency", buckets=BOUNDS, registry=None)


@given(st.lists(st.floats(-100, 10_000) | st.sampled_from(BOUNDS[:-1]), max_size=50))
def test_latencies(seconds: list[float]) -> None:
    expected, given_ = fresh(), fresh()
    for each in seconds:
        expected.observe(max(each, 0))  # a clock that is ahead
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "END_TO_END_SECONDS", given_)
        metrics.observe_latency(np.array(seconds, np.float64))
    ours, theirs = ({(s.name, s.labels.get("le")): s.value for s in h._samples()} for h in (given_, expected))
    for key in theirs:
        if key[0] != "_created":
            assert ours[key] == pytest.approx(theirs[key]), key
