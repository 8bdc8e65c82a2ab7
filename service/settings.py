"""Every setting, in one typed place.

Each class is one part's settings; a field's environment variable is the class's prefix and the field's name. The table
in docs/settings.md is written from here (`faces2 settings`), and a test holds the two together.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from faces2.service.section import AbsolutePath, Identifier, Port, Section, SettingsError, load, variable

__all__ = ["Port", "Section", "SettingsError", "load", "variable"]


class PostgresSettings(Section):
    """The metadata database."""

    model_config = SettingsConfigDict(env_prefix="POSTGRES_")

    host: str = Field("127.0.0.1", description="host of the metadata database")
    port: Port = Field(5432, description="its port")
    user: str = Field("faces2", description="its user")
    password: SecretStr = Field(description="its password; make run generates one")
    db: str = Field("faces2", description="its database")
    schema_name: Identifier = Field(
        "faces2", validation_alias="SCHEMA_PARAMS", description="schema that holds the metadata tables"
    )


class TimescaleSettings(Section):
    """The time-series database."""

    model_config = SettingsConfigDict(env_prefix="TIMESCALE_")

    host: str = Field("127.0.0.1", description="host of TimescaleDB")
    port: Port = Field(5433, description="its port")
    user: str = Field("faces2", description="its user")
    password: SecretStr = Field(description="its password; make run generates one")
    db: str = Field("faces2", description="its database")
    chunk_interval: str = Field("1 day", description="time that one chunk of decoded_data covers")
    compress_after: str = Field("7 days", description="age at which chunks are compressed; off: never")
    retention: str = Field("off", description="age at which rows are dropped, e.g. 365 days; off: never")


class KafkaSettings(Section):
    """The broker and the topics."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_")

    brokers: str = Field("127.0.0.1:9092", description="bootstrap servers, host:port, comma-separated")
    raw_topic: str = Field("raw-iot-data", description="messages as the controllers sent them")
    processed_topic: str = Field("processed-iot-data", description="readings; log-compacted")
    dead_letter_topic: str = Field("raw-iot-data-dead-letter", description="what could not be used, with its reason")
    replay_topic: str = Field("raw-iot-data-replayed", description="the trace of dead letters that were replayed")
    group_id: str = Field("faces2-pipeline", description="consumer group of the pipeline")
    partitions: int = Field(4, ge=1, le=10_000, description="partitions of the topics when they are created")
    replication: int = Field(1, ge=1, le=9, description="replicas of the topics when they are created")


class RedisSettings(Section):
    """The cache of metadata."""

    model_config = SettingsConfigDict(env_prefix="REDIS_")

    host: str = Field("127.0.0.1", description="host of Redis")
    port: Port = Field(6379, description="its port")


class MqttSettings(Section):
    """The MQTT broker's listeners."""

    model_config = SettingsConfigDict(env_prefix="MQTT_")

    host: str = Field("127.0.0.1", description="host of Mosquitto")
    port: Port = Field(1883, description="its listener inside the network, for the bridge")
    tls_port: Port = Field(8883, description="its mTLS listener, for controllers")
    tls_bind: str = Field(
        "127.0.0.1", description="address of the native stack's mTLS listener; 0.0.0.0: let controllers in"
    )
    journal_mb: int = Field(
        512, ge=1, le=100_000, description="megabytes that Mosquitto's journal may hold; full, messages are refused"
    )
    journal_sync_ms: int = Field(
        100,
        ge=0,
        le=10_000,
        description="milliseconds of messages that a power cut may take; 0: none, each waits for the disk",
    )


class CertgenSettings(Section):
    """The certificate API."""

    model_config = SettingsConfigDict(env_prefix="CERTGEN_")

    host: str = Field("127.0.0.1", description="address that it listens on")
    port: Port = Field(8080, description="port that it listens on")
    url: str = Field(
        default_factory=lambda known: f"http://{known['host']}:{known['port']}",
        description="where clients reach the certificate API; host and port of above",
    )
    dir: AbsolutePath = Field(
        Path("data/certs"),
        validate_default=True,
        description="folder of the CA, the server's and the controllers' keys",
    )
    validity_days: int = Field(365, ge=1, le=3650, description="validity of a controller's certificate")
    ca_validity_days: int = Field(3650, ge=30, le=36_500, description="validity of the CA")
    renew_before_days: int = Field(
        30, ge=0, le=3650, description="a certificate with fewer days left, or a third of its validity, is made anew"
    )
    server_names: str = Field(
        "localhost,127.0.0.1,mosquitto", description="names and addresses of Mosquitto's certificate"
    )


class BridgeSettings(Section):
    """The MQTT/Kafka bridge."""

    model_config = SettingsConfigDict(env_prefix="BRIDGE_")

    client_id: str = Field("faces2-bridge", description="MQTT client id; its persistent session")
    http_port: Port = Field(9101, description="health and metrics")
    max_in_flight: int = Field(1000, ge=1, le=65_535, description="messages taken from MQTT and not yet in Kafka")
    silent_after: int = Field(
        300,
        ge=0,
        le=604_800,
        description="seconds without a message after which a controller counts as silent; 0: nobody looks",
    )


class PipelineSettings(Section):
    """The pipeline."""

    batch_size: int = Field(1000, ge=1, le=100_000, description="rows at which a batch is written, or more under load")
    gather_size: int = Field(5000, ge=1, le=100_000, description="records of a bundle that are decoded together")
    processing_interval: int = Field(5, ge=1, le=3600, description="seconds of a window and between checkpoints")
    max_batch_wait_ms: int = Field(1000, ge=10, le=60_000, description="how long a row may wait in a batch")
    bundle_size: int = Field(50_000, ge=1, le=100_000, description="records of one bundle; batches of a bundle overlap")
    backfill_slice: int = Field(
        50_000, ge=1, le=10_000_000, description="records of one slice of a back-fill, after which its place is kept"
    )
    pipeline_http_port: Port = Field(9102, description="health and metrics")
    pipeline_crc_check: bool = Field(False, description="frames whose Modbus CRC does not hold are dead letters")
    pipeline_publish: bool = Field(True, description="mode full: readings also go to the processed topic")
    pipeline_start: Literal["earliest", "latest"] = Field(
        "earliest", description="where a group without offsets starts"
    )


class WaitingSettings(Section):
    """The replay of frames that waited for their device."""

    model_config = SettingsConfigDict(env_prefix="WAITING_")

    http_port: Port = Field(9104, description="health and metrics")
    group_id: str = Field("faces2-waiting", description="consumer group that keeps where it goes on after a restart")


class FlinkSettings(Section):
    """Flink."""

    model_config = SettingsConfigDict(env_prefix="FLINK_")

    jars: AbsolutePath = Field(
        Path("~/.cache/faces2/beam-2.70.0"), validate_default=True, description="folder of Beam's and Flink's jars"
    )
    port: Port = Field(8081, description="Flink's REST port")
    parallelism: int = Field(
        2,
        ge=1,
        le=1024,
        description="parallel subtasks, each with a Python worker: one a processor, at most one a partition",
    )
    work_dir: AbsolutePath = Field(Path("data/flink"), validate_default=True, description="folder of a run's files")
    heap: str = Field("1g", pattern=r"^\d+[mg]$", description="heap of the embedded Flink's JVM")
    mode: Literal["embedded", "cluster"] = Field(
        "embedded", description="embedded: within the pipeline's process; cluster: a session cluster of its own"
    )


class ClusterSettings(Section):
    """Flink as a cluster of its own (FLINK_MODE=cluster)."""

    model_config = SettingsConfigDict(env_prefix="FLINK_")

    host: str = Field("127.0.0.1", description="host of the JobManager; FLINK_PORT is its REST port")
    rpc_port: Port = Field(6123, description="the port on which TaskManagers find it")
    taskmanagers: int = Field(2, ge=1, le=100, description="TaskManagers that `faces2 up` starts")
    taskmanager_heap: str = Field("512m", pattern=r"^\d+[mg]$", description="heap of a TaskManager's tasks")
    job_server_host: str = Field("127.0.0.1", description="host of Beam's job server")
    job_server_port: Port = Field(8099, description="its port")
    artifact_port: Port = Field(8098, description="its port for artifacts")
    expansion_host: str = Field("127.0.0.1", description="host of Beam's expansion service")
    expansion_port: Port = Field(8097, description="its port")
    workers_port: Port = Field(50_000, description="port of the pool of Python workers on each TaskManager's host")
    metrics_port: Port = Field(
        9249, description="Flink's own metrics: this port, or one of the next, as many as there are TaskManagers"
    )
    workers_http_port: Port = Field(9105, description="the pool's health, and the workers' metrics")


class SimulatorSettings(Section):
    """The controllers' simulator."""

    model_config = SettingsConfigDict(env_prefix="SIMULATOR_")

    interval: float = Field(5.0, gt=0, description="seconds between two frames of one sensor; real controllers take 30")
    rate: float = Field(
        0, ge=0, description="frames a second of all controllers together, instead of the interval; 0: off"
    )
    controllers: int = Field(4, ge=1, le=100_000, description="how many of the metadata's controllers are simulated")
    seed: int = Field(1, description="seed of the values")
    duration: float = Field(0, ge=0, description="seconds until it ends by itself; 0: never")
    http_port: Port = Field(9103, description="health and metrics")
    journal: AbsolutePath | None = Field(None, description="file that lists every acknowledged frame's values")
    queue_size: int = Field(100_000, ge=1, description="messages that one controller keeps while it is offline")


class ServiceSettings(Section):
    """What every process takes."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least severe log line written")
    http_host: str = Field("127.0.0.1", description="address of the health and metrics endpoints")


class StackSettings(Section):
    """The native stack."""

    model_config = SettingsConfigDict(env_prefix="FACES2_")

    data: AbsolutePath = Field(
        Path("data"), validate_default=True, description="folder of all data, logs and keys of the native stack"
    )
    cache: AbsolutePath = Field(
        Path("~/.cache/faces2"), validate_default=True, description="folder of downloads; environment only, not .env"
    )
    timescale: Literal["auto", "off"] = Field("auto", description="off: plain PostgreSQL instead of TimescaleDB")
    without: str = Field("", description="parts that are not started, comma-separated, e.g. simulator")
    kafka_controller_port: Port | None = Field(None, description="port of Kafka's controller; the broker's port + 1")


SECTIONS: tuple[type[Section], ...] = (
    PostgresSettings,
    TimescaleSettings,
    KafkaSettings,
    RedisSettings,
    MqttSettings,
    CertgenSettings,
    BridgeSettings,
    PipelineSettings,
    WaitingSettings,
    FlinkSettings,
    ClusterSettings,
    SimulatorSettings,
    ServiceSettings,
    StackSettings,
)
