"""The parts that carry messages: Kafka and Mosquitto; and Redis."""

import secrets
import shutil

from faces2.service.settings import (
    BridgeSettings,
    CertgenSettings,
    KafkaSettings,
    MqttSettings,
    RedisSettings,
    StackSettings,
    load,
)
from faces2.stack import debian, ready
from faces2.stack.environment import DEPLOY, Folders, fill
from faces2.stack.preflight import Port
from faces2.stack.program import Program, folder_of, port
from faces2.stack.shell import StackError, die_with_parent, find, run


def kafka(folders: Folders, faces2: str) -> Program:
    """One KRaft node, with our topics."""
    settings, data = load(KafkaSettings), folders.data / "kafka"
    config = folders.run / "kafka.properties"
    host, number = _address(settings.brokers)
    controller = load(StackSettings).kafka_controller_port or number + 1
    values: dict[str, object] = {
        "KAFKA_HOST": host,
        "KAFKA_PORT": number,
        "KAFKA_CONTROLLER_PORT": controller,
        "KAFKA_PARTITIONS": settings.partitions,
        "DATA": data,
    }
    java = [debian.java() or "java", "-cp", f"{folders.kafka_jars}/*"]
    logging = f"-Dlog4j.configuration=file:{DEPLOY / 'kafka' / 'log4j.properties'}"

    def before() -> None:
        fill(DEPLOY / "kafka" / "server.properties", config, values)
        if not (data / "meta.properties").exists():
            shutil.rmtree(data, ignore_errors=True)
            storage = ["kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", str(config)]
            run([*java, logging, *storage], f"Kafka's folder {data} can not be made")

    def alive() -> None:
        ready.tcp(host, number)  # refused at once while the broker starts, which the client would wait for
        ready.kafka(settings.brokers, ready.PATIENT)

    return Program(
        "kafka",
        die_with_parent(
            [*java, "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", logging, "kafka.Kafka", str(config)]
        ),
        lambda: ready.kafka(settings.brokers),
        f"{host}:{number}",
        ports=(Port(number, "KAFKA_BROKERS", host), Port(controller, "FACES2_KAFKA_CONTROLLER_PORT")),
        before=before,
        after=lambda: run([faces2, "topics"], "Kafka's topics can not be made"),
        stop_seconds=40,
        alive=alive,
    )


def mosquitto(folders: Folders) -> Program:
    """The MQTT broker; certgen makes its certificate."""
    settings, bridge, user = load(MqttSettings), load(BridgeSettings), "mosquitto"
    config = folders.run / "mosquitto.conf"

    def before() -> None:
        values = {
            "MQTT_PORT": settings.port,
            "MQTT_TLS_PORT": settings.tls_port,
            "MQTT_BIND": settings.host,
            "MQTT_TLS_BIND": settings.tls_bind,
            "CERTS": load(CertgenSettings).dir / "mosquitto",
            "DATA": folder_of(user, folders.data / "mosquitto"),
            "CONFIG": DEPLOY / "mosquitto",
            "MQTT_USER": user,
            "MAX_IN_FLIGHT": max(1000, bridge.max_in_flight),
            "JOURNAL": folders.mosquitto_journal,
            "JOURNAL_BYTES": settings.journal_mb * 1_000_000,
            "JOURNAL_SYNC_MS": settings.journal_sync_ms,
            "BRIDGE": bridge.client_id,
        }
        fill(DEPLOY / "mosquitto" / "mosquitto.conf", config, values)

    return Program(
        "mosquitto",
        die_with_parent([find("mosquitto") or "mosquitto", "-c", str(config)], user),
        lambda: ready.tcp(settings.host, settings.port, settings.tls_port),
        f"{settings.host}:{settings.port}, mTLS {settings.tls_bind}:{settings.tls_port}",
        ports=(port(settings, "port"), port(settings, "tls_port", settings.tls_bind)),
        needs=("certgen",),
        before=before,
        stop_seconds=20,
        alive=lambda: ready.mqtt(settings.host, settings.port),
    )


def redis(folders: Folders) -> Program:
    """The cache of metadata; it keeps nothing."""
    settings, user = load(RedisSettings), "redis"
    config = folders.run / "redis.conf"

    def before() -> None:
        data = folder_of(user, folders.data / "redis")
        values = {"REDIS_HOST": settings.host, "REDIS_PORT": settings.port, "DATA": data}
        fill(DEPLOY / "redis" / "redis.conf", config, values)

    return Program(
        "redis",
        die_with_parent([find("redis-server") or "redis-server", str(config)], user),
        lambda: ready.cache(settings.host, settings.port),
        f"{settings.host}:{settings.port}",
        ports=(port(settings, "port"),),
        before=before,
        alive=lambda: ready.cache(settings.host, settings.port, ready.PATIENT),
    )


def _address(brokers: str) -> tuple[str, int]:
    """Host and port of the first broker; the stack runs one."""
    host, _, number = brokers.split(",", maxsplit=1)[0].strip().rpartition(":")
    if not host or not number.isdigit():
        raise StackError(f"KAFKA_BROKERS={brokers}: write it as host:port, e.g. 127.0.0.1:9092.")
    return host, int(number)


def _cluster_id() -> str:
    """Sixteen random bytes in Kafka's spelling; one that begins with a dash would read as an option."""
    while (name := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return name
