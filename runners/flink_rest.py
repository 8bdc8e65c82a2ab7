"""Flink's REST interface: which jobs there are, whether their tasks run, how far their checkpoints are, their end."""

import time
from dataclasses import dataclass
from typing import Any

import requests

ASK_SECONDS = 2
ENDED = {"FAILED", "CANCELED", "FINISHED"}
"""States that a job does not leave. SUSPENDED is not one of them: another JobManager may go on with it."""


@dataclass(frozen=True)
class Job:
    """One job as Flink lists it."""

    id: str
    name: str
    state: str
    running: int
    """Its tasks that run."""
    total: int

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.state in ENDED

    @property
    def trouble(self) -> str | None:
        """Why it does not work, None when it does. A job is RUNNING before its tasks are: those wait for their
        Python workers to connect."""
        if self.state != "RUNNING":
            return f"the job is {self.state}"
        if self.running < self.total:
            return f"{self.running} of the job's {self.total} tasks run"
        return None


@dataclass(frozen=True)
class Checkpoints:
    """A job's, since it was submitted."""

    completed: int = 0
    failed: int = 0
    last: float = 0
    """When the last one was completed, in seconds since 1970; 0 where there was none."""


class FlinkRest:
    """Asks a JobManager; every method raises requests.RequestException when it does not answer."""

    def __init__(self, host: str, port: int) -> None:
        self.address = f"{host}:{port}"
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy stands between us

    def jobs(self) -> list[Job]:
        """All that it knows, also those that are over."""
        return [
            Job(job["jid"], job["name"], job["state"], job["tasks"]["running"], job["tasks"]["total"])
            for job in self._get("jobs/overview")["jobs"]
        ]

    def job(self, identity: str) -> Job | None:
        """The one of this id; None when it is not known, or not any more."""
        return next((job for job in self.jobs() if job.id == identity), None)

    def checkpoints(self, identity: str) -> Checkpoints:
        """The job's checkpoints."""
        told = self._get(f"jobs/{identity}/checkpoints")
        last = told["latest"].get("completed")
        return Checkpoints(
            told["counts"]["completed"], told["counts"]["failed"], last["latest_ack_timestamp"] / 1000 if last else 0
        )

    def cancel(self, identity: str, seconds: float) -> bool:
        """Ends the job; whether it was over within so long."""
        answer = self._session.patch(f"http://{self.address}/jobs/{identity}?mode=cancel", timeout=ASK_SECONDS)
        if answer.status_code != requests.codes.not_found:
            answer.raise_for_status()
        deadline = time.monotonic() + seconds
        while (job := self.job(identity)) and not job.ended:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def _get(self, path: str) -> Any:
        answer = self._session.get(f"http://{self.address}/{path}", timeout=ASK_SECONDS)
        answer.raise_for_status()
        return answer.json()
