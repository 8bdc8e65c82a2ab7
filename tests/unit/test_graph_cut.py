"""The step in Java is taken out of the graph that is submitted."""

import apache_beam as beam
import pytest

from faces2.runners.graph_cut import STEP, GraphError, cut_out


class Read(beam.PTransform):
    """As Beam's ReadFromKafka: a source, and a composite around the step."""

    def expand(self, begin):
        return begin | "Source" >> beam.Create([1]) | STEP >> beam.Map(str)


def graph(read):
    pipeline = beam.Pipeline()
    records = pipeline | "Read" >> read
    records | "First" >> beam.Map(str)
    records | "Second" >> beam.Map(str)
    return pipeline.to_runner_api()


def names(proto):
    return {each.unique_name for each in proto.components.transforms.values()}


def test_the_steps_behind_it_read_what_it_read():
    proto = graph(Read())
    (taken,) = (each for each in proto.components.transforms.values() if each.unique_name.endswith(STEP))
    (given,), (made,) = taken.inputs.values(), taken.outputs.values()
    cut_out(proto, STEP)
    assert not any(STEP in name for name in names(proto))
    transforms = proto.components.transforms
    readers = [each for each in transforms.values() if given in each.inputs.values()]
    assert {each.unique_name for each in readers} >= {"First", "Second"}
    assert all(made not in (*each.inputs.values(), *each.outputs.values()) for each in transforms.values())
    assert made not in proto.components.pcollections
    assert all(sub in transforms for each in transforms.values() for sub in each.subtransforms)


def test_a_graph_without_it_is_refused():
    with pytest.raises(GraphError, match="0 steps"):
        cut_out(graph(beam.Create([1])), STEP)
