"""The graph as it is submitted, without the stage in Java between Kafka's source and the first step in Python.

Beam's ReadFromKafka is a source of whole records and a step, "Remove Kafka Metadata", that leaves each one's key and
value. For that step alone every record would be sent to a harness of Java's and back, which took longer than all else
that happens in the JVM. Here the step is taken out; io/kafka_record.py does its work in the worker.
"""

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineResult

STEP = "Remove Kafka Metadata"


class GraphError(RuntimeError):
    """Beam's graph is not as it is known here: another version?"""


class CutPortableRunner(PortableRunner):
    """Submits the graph without the step."""

    def run_portable_pipeline(self, pipeline: beam_runner_api_pb2.Pipeline, options: PipelineOptions) -> PipelineResult:
        """As Beam's, on the cut graph."""
        cut_out(pipeline, STEP)
        return super().run_portable_pipeline(pipeline, options)


def cut_out(pipeline: beam_runner_api_pb2.Pipeline, step: str) -> None:
    """Takes out the step of one input and one output, and gives its input to those who read its output."""
    transforms = pipeline.components.transforms
    names = [name for name, each in transforms.items() if each.unique_name.split("/")[-1] == step]
    if len(names) != 1:
        raise GraphError(f"{len(names)} steps are called {step!r}")
    (given,), (made,) = transforms[names[0]].inputs.values(), transforms[names[0]].outputs.values()
    for name in [*names, *transforms[names[0]].subtransforms]:
        del transforms[name]
    for each in transforms.values():
        left = [sub for sub in each.subtransforms if sub not in names]
        if len(left) != len(each.subtransforms):
            each.subtransforms[:] = left
        for ends in (each.inputs, each.outputs):
            for tag, collection in ends.items():
                if collection == made:
                    ends[tag] = given
    del pipeline.components.pcollections[made]
