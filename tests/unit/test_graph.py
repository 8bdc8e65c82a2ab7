"""The graph as runners see it: every step has its label, and all of Python's steps are one stage."""

from collections.abc import Callable

import apache_beam as beam
import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as proto
from apache_beam.runners.portability.fn_api_runner import translations

from faces2.beam_pipeline.graph import Graph, Mode
from faces2.models.metadata import Snapshot
from faces2.service.settings import KafkaSettings, PipelineSettings, TimescaleSettings

DO_FNS = {
    Mode.FULL: {"Batch", "Enrich", "Decode", "Window", "Write", "Publish", "DeadLetters"},
    Mode.PROCESS: {"Batch", "Enrich", "Decode", "Window", "Publish", "DeadLetters"},
    Mode.SINK: {"Batch", "ParseReadings", "Window", "Write", "DeadLetters"},
}


class Source:
    """A worker's metadata."""

    def __call__(self) -> Callable[[], Snapshot]:
        return lambda: Snapshot(1, {})


def pipeline_of(mode: Mode, metadata: Snapshot | Source | None) -> proto.Pipeline:
    pipeline = beam.Pipeline(runner="FnApiRunner")
    timescale = None if mode is Mode.PROCESS else TimescaleSettings(password="secret")
    graph = Graph(mode, KafkaSettings(), timescale, PipelineSettings(), metadata)
    graph.build(pipeline, beam.Create([(b"key", b"value")]))
    return pipeline.to_runner_api()


def top_level(pipeline: proto.Pipeline) -> set[str]:
    (root,) = pipeline.root_transform_ids
    transforms = pipeline.components.transforms
    return {transforms[each].unique_name for each in transforms[root].subtransforms}


def python_stages(pipeline: proto.Pipeline) -> list[set[str]]:
    """For each fused stage, the top-level steps whose DoFns it holds."""
    phases = translations.standard_optimize_phases()
    urns = frozenset([common_urns.primitives.IMPULSE.urn, common_urns.primitives.GROUP_BY_KEY.urn])
    _, stages = translations.create_and_optimize_stages(pipeline, phases, urns)
    names = [
        {t.unique_name.split("/")[0] for t in stage.transforms if t.spec.urn == common_urns.primitives.PAR_DO.urn}
        for stage in stages
    ]
    return [each for each in names if each]


@pytest.mark.parametrize("mode", Mode)
def test_one_python_stage_after_the_read(mode: Mode) -> None:
    stages = python_stages(pipeline_of(mode, None if mode is Mode.SINK else Source()))
    (stage,) = [each for each in stages if each != {"ReadFromKafka"}]
    fused = stage - {"ReadFromKafka", "Unwindow"}
    assert fused == DO_FNS[mode]


@pytest.mark.parametrize("mode", Mode)
def test_every_step_of_the_design_has_its_label(mode: Mode) -> None:
    steps = {"ReadFromKafka", "AllDeadLetters"} | DO_FNS[mode] | ({"Unwindow"} if "Write" in DO_FNS[mode] else set())
    assert top_level(pipeline_of(mode, None if mode is Mode.SINK else Source())) == steps


def test_a_snapshot_is_a_side_input() -> None:
    pipeline = pipeline_of(Mode.FULL, Snapshot(1, {}))
    assert "Metadata" in top_level(pipeline)
    (find,) = [t for t in pipeline.components.transforms.values() if t.unique_name == "Enrich/Find"]
    payload = proto.ParDoPayload.FromString(find.spec.payload)
    assert len(payload.side_inputs) == 1


@pytest.mark.parametrize("mode", Mode)
def test_no_state_and_no_shuffle_is_on_the_hot_path(mode: Mode) -> None:
    pipeline = pipeline_of(mode, None if mode is Mode.SINK else Source())
    for transform in pipeline.components.transforms.values():
        if transform.unique_name.startswith("ReadFromKafka"):
            continue
        assert transform.spec.urn != common_urns.primitives.GROUP_BY_KEY.urn
        if transform.spec.urn == common_urns.primitives.PAR_DO.urn:
            payload = proto.ParDoPayload.FromString(transform.spec.payload)
            assert not payload.state_specs
            assert not payload.timer_family_specs


@pytest.mark.parametrize(
    ("mode", "topic"), [(Mode.FULL, "raw-iot-data"), (Mode.PROCESS, "raw-iot-data"), (Mode.SINK, "processed-iot-data")]
)
def test_the_topic_that_is_read(mode: Mode, topic: str) -> None:
    assert Graph(mode, KafkaSettings(), None, PipelineSettings(), None).source_topic == topic
