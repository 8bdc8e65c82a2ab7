"""The bridge's process: MQTT -> Kafka."""

import sys
from functools import partial

from faces2.bridge.bridge import Bridge
from faces2.bridge.client import mqtt_client
from faces2.bridge.delivery import Delivery, KafkaFailedError, kafka_producer
from faces2.bridge.health import kafka_check
from faces2.models.clock import utc_now
from faces2.service import logs
from faces2.service.health import HealthServer
from faces2.service.settings import BridgeSettings, KafkaSettings, MqttSettings, ServiceSettings, load
from faces2.service.shutdown import on_signals


def main() -> None:
    """Carries messages until SIGTERM (exit status 0) or until the producer can not go on (1)."""
    service, settings = load(ServiceSettings), load(BridgeSettings)
    mqtt, kafka = load(MqttSettings), load(KafkaSettings)
    logs.configure("bridge", service.log_level)
    stop = on_signals()
    delivery = Delivery(partial(kafka_producer, kafka), kafka, utc_now)
    bridge = Bridge(mqtt_client(settings.client_id), delivery, mqtt=mqtt, kafka=kafka, settings=settings)
    checks = {"mqtt": lambda: None if bridge.ready else "not connected", "kafka": kafka_check(delivery.producer)}
    health = HealthServer(service.http_host, settings.http_port, checks)
    health.start()
    try:
        bridge.run(stop)
    except KafkaFailedError as error:
        logs.get_logger(__name__).error("Kafka failed, starting anew", error=str(error))
        sys.exit(1)
    finally:
        health.stop()
