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


PAR_DO, FLATTEN, IMPULSE, GROUP_BY_KEY = (
    getattr(common_urns.primitives, name).urn for name in ("PAR_DO", "FLATTEN", "IMPULSE", "GROUP_BY_KEY")
)


def pipeline_of(mode: Mode, metadata: Snapshot | Source | None) -> proto.Pipeline:
    pipeline = beam.Pipeline(runner="FnApiRunner")
    timescale = None if mode is Mode.PROCESS else TimescaleSettings(password="secret")
    graph = Graph(mode, KafkaSettings(), timescale, PipelineSettings(), metadata)
    graph.build(pipeline, beam.Create([(b"key", b"value")], reshuffle=False))
    return pipeline.to_runner_api()


def top_level(pipeline: proto.Pipeline) -> set[str]:
    (root,) = pipeline.root_transform_ids
    transforms = pipeline.components.transforms
    return {transforms[each].unique_name for each in transforms[root].subtransforms}


def python_stages(pipeline: proto.Pipeline) -> list[set[str]]:
    """The top-level steps whose DoFns and windows each fused stage runs.

    Beam's Python fuser ends a stage at a Flatten; Flink's, which is Java's, puts one into the stage that all of its
    inputs come from, and what follows it, too (tried with GreedyPipelineFuser of 2.70). So here.
    """
    urns = frozenset([IMPULSE, GROUP_BY_KEY])
    _, found = translations.create_and_optimize_stages(pipeline, translations.standard_optimize_phases(), urns)
    stages = [list(stage.transforms) for stage in found]
    for flatten in [t for stage in stages for t in stage if t.spec.urn == FLATTEN]:
        inputs, outputs = {*flatten.inputs.values()}, {*flatten.outputs.values()}
        before = [stage for stage in stages if any(inputs & {*t.outputs.values()} for t in stage)]
        after = [stage for stage in stages if any(outputs & {*t.inputs.values()} for t in stage)]
        if len(before) == 1:
            stages = [stage for stage in stages if stage not in (*before, *after, [flatten])]
            stages.append([t for stage in (*before, *after) for t in stage])
    names = [{t.unique_name.split("/")[0] for t in stage if t.spec.urn != IMPULSE} for stage in stages]
    return [stage for stage in names if stage]


@pytest.mark.parametrize("mode", Mode)
def test_one_python_stage_after_the_read(mode: Mode) -> None:
    (stage,) = python_stages(pipeline_of(mode, None if mode is Mode.SINK else Source()))
    assert stage - {"ReadFromKafka", "Unwindow"} == DO_FNS[mode]


def test_a_shuffle_would_be_seen_as_a_second_stage() -> None:
    pipeline = beam.Pipeline(runner="FnApiRunner")
    records = pipeline | "ReadFromKafka" >> beam.Create([1], reshuffle=False)
    parts = [records | "One" >> beam.Map(id), records | beam.Reshuffle() | "Two" >> beam.Map(id)]
    parts | "Both" >> beam.Flatten() | "Three" >> beam.Map(id)
    assert len([stage for stage in python_stages(pipeline.to_runner_api()) if stage & {"One", "Two", "Three"}]) > 1


@pytest.mark.parametrize("mode", Mode)
def test_every_step_of_the_design_has_its_label(mode: Mode) -> None:
    steps = {"ReadFromKafka", "AllDeadLetters"} | DO_FNS[mode] | ({"Unwindow"} if "Write" in DO_FNS[mode] else set())
    assert top_level(pipeline_of(mode, None if mode is Mode.SINK else Source())) == steps


def test_a_snapshot_is_a_side_input() -> None:
    pipeline = pipeline_of(Mode.FULL, Snapshot(1, {}))
    assert "Metadata" in top_level(pipeline)
    transforms = pipeline.components.transforms.values()
    payloads = [proto.ParDoPayload.FromString(t.spec.payload) for t in transforms if t.spec.urn == PAR_DO]
    assert sum(len(payload.side_inputs) for payload in payloads) == 1


@pytest.mark.parametrize("mode", Mode)
def test_no_state_and_no_shuffle_is_on_the_hot_path(mode: Mode) -> None:
    pipeline = pipeline_of(mode, None if mode is Mode.SINK else Source())
    for transform in pipeline.components.transforms.values():
        if transform.unique_name.startswith("ReadFromKafka"):
            continue
        assert transform.spec.urn != GROUP_BY_KEY
        if transform.spec.urn == PAR_DO:
            payload = proto.ParDoPayload.FromString(transform.spec.payload)
            assert not payload.state_specs
            assert not payload.timer_family_specs


@pytest.mark.parametrize(
    ("mode", "topic"), [(Mode.FULL, "raw-iot-data"), (Mode.PROCESS, "raw-iot-data"), (Mode.SINK, "processed-iot-data")]
)
def test_the_topic_that_is_read(mode: Mode, topic: str) -> None:
    assert Graph(mode, KafkaSettings(), None, PipelineSettings(), None).source_topic == topic
