"""What every job on Flink has in common, embedded or on a cluster: Beam's options, and what is no progress."""

from collections.abc import Mapping

from apache_beam.options.pipeline_options import PipelineOptions

from faces2.runners.flink_rest import Checkpoints
from faces2.runners.progress import Progress
from faces2.service import metrics
from faces2.service.health import Check, failures
from faces2.service.settings import PipelineSettings

START_SECONDS = 60
STATE_SECONDS = 1.0
STALL_SECONDS = 60
"""Without a completed checkpoint, beyond two intervals: a worker, the JVM or a connection hangs."""


class JobError(RuntimeError):
    """The job ended, though a stream never should."""


def job_options(
    settings: PipelineSettings, *, name: str, job_server: str, worker_port: int, parallelism: int, workers: int
) -> PipelineOptions:
    """Beam's options. `workers` is how many Python processes each JVM that runs tasks takes from the pool, which
    listens on `worker_port` beside it."""
    return PipelineOptions(
        [
            f"--job_endpoint={job_server}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{worker_port}",
            f"--sdk_worker_parallelism={workers}",
            f"--job_name={name}",
            "--streaming",
            "--experiments=use_deprecated_read",
            f"--parallelism={parallelism}",
            f"--checkpointing_interval={settings.processing_interval * 1000}",
            "--finish_bundle_before_checkpointing",
            # Updating Beam's metrics at each record and copying it between operators took half of the JVM's time.
            "--disable_metrics",
            "--object_reuse",
            "--faster_copy",
            f"--max_bundle_size={settings.bundle_size}",
            # A bundle was seen to grow up to twice as old as this.
            f"--max_bundle_time_mills={settings.max_batch_wait_ms // 2}",
        ]
    )


class Patience:
    """How long a job may complete no checkpoint. `dependencies` are what it can not go on without: while one of them is
    away there is nothing to be mended in the job."""

    def __init__(self, settings: PipelineSettings, dependencies: Mapping[str, Check]) -> None:
        self._progress = Progress(START_SECONDS * 2, STALL_SECONDS + 2 * settings.processing_interval)
        self._dependencies = dependencies

    def look(self, checkpoints: Checkpoints | None) -> None:
        """JobError when it is at its end; `checkpoints` are the job's, None when Flink can not be asked."""
        if checkpoints:
            metrics.CHECKPOINTS_COMPLETED.set(checkpoints.completed)
            metrics.CHECKPOINTS_FAILED.set(checkpoints.failed)
            metrics.CHECKPOINT_LAST.set(checkpoints.last)
        self._progress.note(checkpoints.completed if checkpoints else None)
        if self._progress.late and any(failures(self._dependencies).values()):
            self._progress.excuse()
        elif self._progress.stalled:
            raise JobError("its checkpoints stay out")
