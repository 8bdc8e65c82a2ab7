"""The bridge's process: MQTT -> Kafka."""

import sys
from contextlib import ExitStack
from functools import partial

from faces2.bridge.bridge import Bridge
from faces2.bridge.client import mqtt_client
from faces2.bridge.delivery import Delivery, KafkaFailedError, kafka_producer
from faces2.bridge.health import kafka_check
from faces2.bridge.silence import Silence, SilenceWatch
from faces2.io.metadata import MetadataDatabase
from faces2.models.clock import utc_now
from faces2.service import logs
from faces2.service.health import HealthServer, failures
from faces2.service.settings import (
    BridgeSettings,
    KafkaSettings,
    MqttSettings,
    PostgresSettings,
    ServiceSettings,
    load,
)
from faces2.service.shutdown import on_signals


def main() -> None:
    """Carries messages until SIGTERM (exit status 0) or until the producer can not go on (1)."""
    service, settings = load(ServiceSettings), load(BridgeSettings)
    mqtt, kafka = load(MqttSettings), load(KafkaSettings)
    logs.configure("bridge", service.log_level)
    stop = on_signals()
    delivery = Delivery(partial(kafka_producer, kafka), kafka, utc_now)
    silence = Silence(settings.silent_after) if settings.silent_after else None
    client = mqtt_client(settings.client_id)
    bridge = Bridge(client, delivery, mqtt=mqtt, kafka=kafka, settings=settings, silence=silence)
    checks = {"mqtt": lambda: None if bridge.ready else "not connected", "kafka": kafka_check(delivery.producer)}
    parts: list[HealthServer | SilenceWatch] = [HealthServer(service.http_host, settings.http_port, checks)]
    if silence:
        database = MetadataDatabase(load(PostgresSettings))
        parts.append(SilenceWatch(silence, database, lambda: not any(failures(checks).values())))
    with ExitStack() as stack:
        for part in parts:
            part.start()
            stack.callback(part.stop)
        try:
            bridge.run(stop)
        except KafkaFailedError as error:
            logs.get_logger(__name__).error("Kafka failed, starting anew", error=str(error))
            sys.exit(1)
