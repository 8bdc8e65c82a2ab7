"""The Prometheus metrics of every process of ours; their names are a contract with dashboards and the live screen."""

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Gauge, Histogram

MESSAGES_IN = Counter("faces2_messages_in", "Messages taken in", ["source"])
MESSAGES_OUT = Counter("faces2_messages_out", "Messages handed on and confirmed", ["target"])
PASSED_BY = Counter("faces2_passed_by", "Messages that are not sensor frames", ["mode"])
DEAD_LETTERS = Counter("faces2_dead_letters", "Messages that became dead letters", ["reason", "step"])
ROWS = Counter("faces2_rows", "Rows written to decoded_data", ["path"])
BATCH_ROWS = Histogram(
    "faces2_batch_rows", "Rows of a batch", buckets=[1, 10, 100, 500, 1000, 2000, 5000, 10000, 20000]
)
BATCH_SECONDS = Histogram("faces2_batch_seconds", "Time to write a batch, commit included", ["step"])
END_TO_END_SECONDS = Histogram(
    "faces2_end_to_end_seconds",
    "From the controller's timestamp to the committed row",
    buckets=[0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 3600],
)
CACHE_HITS = Counter("faces2_cache_hits", "Look-ups of a sensor that the in-process map answered")
CACHE_MISSES = Counter("faces2_cache_misses", "Look-ups of a sensor that the metadata does not know")
METADATA_LOADS = Counter("faces2_metadata_loads", "Snapshots of the metadata loaded", ["source"])
IN_FLIGHT = Gauge("faces2_in_flight", "Messages taken in and not yet confirmed", multiprocess_mode="livesum")
QUEUED = Gauge("faces2_queued", "Messages kept to be sent later", multiprocess_mode="livesum")
CONNECTED = Gauge("faces2_connected", "1 while connected", ["to"], multiprocess_mode="livemin")
WAITING_FRAMES = Gauge("faces2_waiting_frames", "Frames that wait for their device", multiprocess_mode="livesum")
WAITING_PINS = Gauge("faces2_waiting_pins", "Pins that frames wait for", multiprocess_mode="livesum")
REPLAYED = Counter("faces2_replayed", "Frames put back because their device is known now")
WAITING_SKIPPED = Counter("faces2_waiting_skipped", "Dead letters that do not wait for a device", ["reason"])
RETRIES = Counter("faces2_retries", "Tries again after a temporary failure", ["step"])
READY = Gauge("faces2_ready", "1 while the dependency is well, else 0", ["dependency"], multiprocess_mode="livemin")
CONSUMER_LAG = Gauge(
    "faces2_consumer_lag",
    "Records of a partition that the pipeline's group has not committed",
    ["topic", "partition"],
    multiprocess_mode="max",
)
# What others count is a gauge here: it begins again when they do, not when we do. `increase` takes it as it is.
CHECKPOINTS_COMPLETED = Gauge(
    "faces2_checkpoints_completed", "Checkpoints that Flink's job has completed", multiprocess_mode="max"
)
CHECKPOINTS_FAILED = Gauge(
    "faces2_checkpoints_failed", "Checkpoints of Flink's job that failed", multiprocess_mode="max"
)
CHECKPOINT_LAST = Gauge(
    "faces2_checkpoint_last_timestamp_seconds",
    "When Flink's job completed its last checkpoint, since 1970; 0: it has none",
    multiprocess_mode="max",
)
MOSQUITTO_DROPPED = Gauge(
    "faces2_mosquitto_dropped", "Messages that Mosquitto has dropped since it was started", multiprocess_mode="max"
)
CONTROLLERS = Gauge("faces2_controllers", "Controllers with sensors that the metadata knows", multiprocess_mode="max")
SILENT_CONTROLLERS = Gauge(
    "faces2_silent_controllers",
    "Those of them that have sent nothing for BRIDGE_SILENT_AFTER seconds",
    multiprocess_mode="max",
)
CERTIFICATES = Gauge("faces2_certificates", "Certificates: valid, late (not renewed in time), expired", ["of", "state"])
CERTIFICATE_EXPIRY = Gauge(
    "faces2_certificate_expiry_timestamp_seconds", "When the first of those not expired ends, since 1970", ["of"]
)


def observe_latency(seconds: NDArray[np.float64]) -> None:
    """Observes one latency a row; only the distinct buckets are touched, not the histogram once a row."""
    seconds = np.maximum(seconds, 0)  # a clock that is ahead must not make a sum fall
    bounds = END_TO_END_SECONDS._upper_bounds
    counts = np.bincount(np.searchsorted(bounds, seconds), minlength=len(bounds))
    for bucket in np.flatnonzero(counts):
        END_TO_END_SECONDS._buckets[bucket].inc(int(counts[bucket]))
    END_TO_END_SECONDS._sum.inc(float(seconds.sum()))
