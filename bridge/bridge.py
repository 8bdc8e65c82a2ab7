"""The bridge's loop: one thread drives paho and the Kafka producer, so nothing is shared and nothing is locked.

A message is acknowledged to Mosquitto only when Kafka has its record. Mosquitto sends no more than `max_in_flight`
that are not acknowledged, and sends those again
after a reconnect: whatever dies, the message is in Kafka at least once.
"""

import logging
import random
import select
import threading
import time
from collections import deque
from functools import partial
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions
from tenacity import Retrying, retry_if_exception_type, stop_when_event_set, wait_random_exponential

from faces2.bridge.delivery import Delivery, KafkaFailedError, Taken
from faces2.bridge.records import Publish, record_of
from faces2.bridge.silence import Silence
from faces2.models.clock import Clock, utc_now
from faces2.service.logs import get_logger
from faces2.service.metrics import CONNECTED, IN_FLIGHT, MESSAGES_IN, MOSQUITTO_DROPPED, RETRIES
from faces2.service.settings import BridgeSettings, KafkaSettings, MqttSettings

FILTERS = ("stat/+/+/+/+", "tele/+/+/+/+")
DROPPED = "$SYS/broker/publish/messages/dropped"
"""Where Mosquitto says how many messages it has dropped; other brokers need not."""
SESSION_SECONDS = 14 * 24 * 3600
KEEPALIVE_SECONDS = 10
"""A broker that is cut off is noticed within twice as long."""
CONNECT_SECONDS = 10
STOP_SECONDS = 5
READS_PER_TURN = 200
IDLE_SECONDS = 0.1
BUSY_SECONDS = 0.005

log = get_logger(__name__)


class Bridge:
    """Carries messages from MQTT to Kafka; `client` is of MQTT v5 with manual acknowledgement."""

    def __init__(
        self,
        client: Client,
        delivery: Delivery,
        *,
        mqtt: MqttSettings,
        kafka: KafkaSettings,
        settings: BridgeSettings,
        silence: Silence | None = None,
        now: Clock = utc_now,
    ) -> None:
        self._client = client
        self._delivery = delivery
        self._mqtt = mqtt
        self._kafka = kafka
        self._settings = settings
        self._silence = silence
        self._now = now
        self._ready = False
        self._taken = 0
        self._unacknowledged: deque[Taken] = deque()  # of this connection, in the order in which they came
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message

    @property
    def ready(self) -> bool:
        """Whether messages come in: connected and subscribed."""
        return self._ready

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; KafkaFailedError when the process has to start anew."""
        while not stop.is_set():
            self._connect(stop)
            while self._ready and not stop.is_set():
                self._turn()
            if not stop.is_set():
                # Two bridges of one client id throw each other out: not as fast as they can.
                self._rest(stop, random.uniform(0, 1))  # noqa: S311
        self._finish()

    def _turn(self) -> None:
        """Reads what is there, hands it to Kafka, acknowledges what Kafka has."""
        sock = self._client.socket()
        if sock is None:
            return
        wait = BUSY_SECONDS if self._unacknowledged or self._delivery.full else IDLE_SECONDS
        # While the producer has no room nothing more is read: TCP holds the rest back.
        read = [] if self._delivery.full else [sock]
        readable, _, _ = select.select(read, [sock] if self._client.want_write() else [], [], wait)
        if readable:
            self._read()
        self._delivery.pump()
        self._acknowledge()
        self._client.loop_write()
        self._client.loop_misc()

    def _read(self) -> None:
        """paho reads one packet a call, so it is called until no message comes of it."""
        self._taken = 0
        for turn in range(1, READS_PER_TURN + 1):
            self._client.loop_read()
            if self._taken < turn:
                break
        MESSAGES_IN.labels("mqtt").inc(self._taken)

    def _acknowledge(self) -> None:
        """In the order in which the messages came, as MQTT wants it."""
        unacknowledged = self._unacknowledged
        while unacknowledged and unacknowledged[0].done:
            self._client.ack(unacknowledged.popleft().mid, 1)
        IN_FLIGHT.set(len(unacknowledged))

    # --- connecting and leaving

    def _connect(self, stop: threading.Event) -> None:
        """Connected and subscribed when it returns, or stopped; tries until then."""
        Retrying(
            retry=retry_if_exception_type(OSError),
            wait=wait_random_exponential(multiplier=0.2, max=10),
            stop=stop_when_event_set(stop),
            sleep=partial(self._rest, stop),
            retry_error_callback=lambda _: None,
        )(self._connect_once, stop)

    def _connect_once(self, stop: threading.Event) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_SECONDS
        properties.ReceiveMaximum = self._settings.max_in_flight
        mqtt = self._mqtt
        try:
            self._client.connect(mqtt.host, mqtt.port, KEEPALIVE_SECONDS, clean_start=False, properties=properties)
            deadline = time.monotonic() + CONNECT_SECONDS
            while not self._ready and not stop.is_set():
                if self._client.socket() is None or time.monotonic() > deadline:
                    raise ConnectionError("refused, or no answer")
                self._turn()
        except OSError as error:
            RETRIES.labels("mqtt").inc()
            log.warning("no MQTT connection", host=mqtt.host, port=mqtt.port, error=str(error))
            raise

    def _rest(self, stop: threading.Event, seconds: float) -> None:
        """Waits without MQTT, while what was taken goes on to Kafka."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not stop.is_set():
            self._delivery.pump(0.05)

    def _finish(self) -> None:
        """Nothing more is read; what was taken is delivered and acknowledged, or comes again after the next start."""
        deadline = time.monotonic() + STOP_SECONDS
        try:
            while self._delivery.unconfirmed and time.monotonic() < deadline:
                self._delivery.pump(0.05)
        except KafkaFailedError as error:
            log.warning("Kafka failed while stopping", error=str(error))
        self._acknowledge()
        self._client.loop_write()
        log.info("stopping", unacknowledged=len(self._unacknowledged))
        self._delivery.abandon()
        self._client.disconnect()

    # --- what paho calls

    def _on_connect(
        self, client: Client, _: Any, flags: ConnectFlags, reason: ReasonCode, __: Properties | None
    ) -> None:
        if reason.is_failure:
            log.error("Mosquitto refuses the bridge", reason=str(reason))
            return
        log.info("connected", to="mqtt", session_present=flags.session_present)
        # Retained messages come with the first subscription only, not at each reconnect.
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        client.subscribe([*((text, options) for text in FILTERS), (DROPPED, SubscribeOptions(qos=0))])

    def _on_subscribe(self, client: Client, _: Any, __: int, reasons: list[ReasonCode], ___: Properties | None) -> None:
        if any(reason.is_failure for reason in reasons[: len(FILTERS)]):
            log.error("Mosquitto refuses the subscription", reasons=[str(reason) for reason in reasons])
            client.disconnect()
            return
        self._ready = True
        CONNECTED.labels("mqtt").set(1)

    def _on_disconnect(
        self, _: Client, __: Any, ___: DisconnectFlags, reason: ReasonCode, ____: Properties | None
    ) -> None:
        level = logging.WARNING if reason.is_failure else logging.INFO
        log.log(level, "disconnected", peer="mqtt", reason=str(reason), unacknowledged=len(self._unacknowledged))
        self._ready = False
        # Their packet ids belong to the connection that is gone; Mosquitto sends the messages again.
        self._unacknowledged.clear()
        CONNECTED.labels("mqtt").set(0)

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        try:
            topic: str | bytes = message.topic
        except UnicodeDecodeError as error:
            topic = error.object
        if topic == DROPPED and message.payload.isdigit():
            MOSQUITTO_DROPPED.set(int(message.payload))
            return
        publish = Publish(topic, bytes(message.payload), message.qos, message.retain)
        taken = Taken(message.mid, record_of(publish, self._now(), self._kafka))
        self._taken += 1
        if self._silence and taken.record.key:
            self._silence.heard(taken.record.key)
        self._delivery.take(taken)
        if message.qos:
            self._unacknowledged.append(taken)
