"""Our pipeline on embedded Flink as a process of its own, and what its metrics say."""

import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from benchmarks import stack
from faces2.service.settings import PipelineSettings, load

START_SECONDS = 120
STALL_SECONDS = 120
SAMPLE_SECONDS = 0.25
"""To answer costs the pipeline some 10 ms."""
LOG = Path("pipeline.log")


class Pipeline:
    """A running pipeline."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._url = f"http://127.0.0.1:{load(PipelineSettings).pipeline_http_port}"
        self._session = requests.Session()
        self._session.trust_env = False

    def wait_ready(self) -> None:
        """Returns when the job runs."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self._check_alive()
            try:
                if self._session.get(f"{self._url}/health/ready", timeout=5).ok:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.2)
        raise RuntimeError(f"the pipeline does not get ready; its log is {LOG.absolute()}")

    def total(self, metric: str, **labels: str) -> int:
        """A counter, summed over its labels but those given; 0 while it is not there."""
        self._check_alive()
        try:
            text = self._session.get(f"{self._url}/metrics", timeout=5).text
        except requests.RequestException:
            return 0
        return total(text, metric, labels)

    def wait_for(self, count: int, metric: str, **labels: str) -> None:
        """Returns when the counter has come to `count`; RuntimeError when it stands still."""
        last, since = 0, time.monotonic()
        while (now := self.total(metric, **labels)) < count:
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > STALL_SECONDS:
                raise RuntimeError(f"{metric} stands at {now} of {count}; the log is {LOG.absolute()}")
            time.sleep(SAMPLE_SECONDS)

    def _check_alive(self) -> None:
        if self.process.poll() is not None:
            raise RuntimeError(f"the pipeline ended; its log is {LOG.absolute()}")


@contextmanager
def pipeline(mode: str, **settings: object) -> Iterator[Pipeline]:
    """A pipeline in a consumer group of its own, from the start of its topic; stopped at the end."""
    command = ("pipeline", "--runner", "flink", "--mode", mode)
    process = stack.start(*command, log=LOG, **(group_of_its_own() | settings))
    try:
        yield Pipeline(process)
    finally:
        stack.stop(process)


def group_of_its_own() -> dict[str, object]:
    """The setting by which a pipeline begins at the start of its topic."""
    return {"KAFKA_GROUP_ID": f"bench-{uuid.uuid4().hex[:8]}"}


def total(text: str, metric: str, labels: dict[str, str]) -> int:
    """A counter of Prometheus' text, summed over all series that have these labels."""
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    series = re.findall(rf"^{re.escape(metric)}(\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    return int(sum(float(value) for found, value in series if all(label in found for label in wanted)))
