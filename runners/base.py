"""The interface of a runner."""

from collections.abc import Callable, Mapping
from typing import Protocol

import apache_beam as beam
from prometheus_client import CollectorRegistry

from faces2.service.health import Check

Build = Callable[[beam.Pipeline, beam.PTransform], None]
"""Puts the graph behind a read."""


class Runner(Protocol):
    """Runs a graph over a topic."""

    side_inputs: bool
    """Whether its checkpoints survive a side input; if not, workers load the metadata themselves."""

    streaming: bool
    """Whether it runs until it is told to stop, as a service with health and metrics."""

    registry: CollectorRegistry
    """Where the metrics of its workers are found."""

    checks: Mapping[str, Check]
    """What must hold for the runner itself to be ready."""

    def run(self, build: Build, topic: str) -> None:
        """Returns when the work is done, or a stream was told to stop by a signal; raises when the job failed."""
