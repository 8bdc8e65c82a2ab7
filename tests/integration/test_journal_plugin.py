"""Mosquitto's journal by itself: a Mosquitto of the test's own, killed, stopped, refused its file."""

import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from helpers import wait_for
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from faces2.bridge.bridge import FILTERS
from faces2.stack import debian, journal
from faces2.stack.environment import DEPLOY
from faces2.stack.shell import find

BRIDGE = "faces2-bridge"
TOPIC = "tele/f2-aabbccddee01/sensor-mode/J1/sensor-1"
CONFIG = """
per_listener_settings true
user root
persistence true
persistence_location {folder}/
autosave_interval 3600
log_dest stderr
log_type error
log_type warning
log_type notice

listener {inside} 127.0.0.1
allow_anonymous true
acl_file {deploy}/acl-inside
plugin {plugin}
plugin_opt_bridge {bridge}

listener {outside} 127.0.0.1
allow_anonymous true
plugin {plugin}
plugin_opt_file {folder}/journal
plugin_opt_database {folder}/mosquitto.db
plugin_opt_limit {limit}
plugin_opt_sync_ms {sync_ms}
plugin_opt_topic tele/+/+/+/+
plugin_opt_topic stat/+/+/+/+
"""

pytestmark = pytest.mark.stack


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A Mosquitto with the journal, in a folder of its own; it saves when it is told to."""

    def __init__(self, folder: Path, plugin: Path) -> None:
        self.folder = folder
        self.inside, self.outside = free_port(), free_port()
        self.journal = folder / "journal"
        self.database = folder / "mosquitto.db"
        self._plugin = plugin
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, limit: int = 10_000_000, sync_ms: int = 100, file_limit: int = 0) -> None:
        config = self.folder / "conf"
        config.write_text(
            CONFIG.format(
                folder=self.folder,
                inside=self.inside,
                outside=self.outside,
                deploy=DEPLOY / "mosquitto",
                plugin=self._plugin,
                bridge=BRIDGE,
                limit=limit,
                sync_ms=sync_ms,
            )
        )

        def no_larger_files() -> None:
            if file_limit:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

        with self._log.open("ab") as log:
            command = [find("mosquitto") or "mosquitto", "-c", str(config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=no_larger_files)  # noqa: PLW1509
        wait_for(self._listens, "Mosquitto listens", 10)

    def end(self, number: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(number)

    def save(self) -> None:
        before = self.database.stat().st_mtime_ns if self.database.exists() else 0
        self.signal(signal.SIGUSR1)
        wait_for(lambda: self.database.exists() and self.database.stat().st_mtime_ns != before, "a save", 10)

    def said(self) -> str:
        return self._log.read_text()

    def _listens(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self.said()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.outside)) == 0

    def publish(
        self, *texts: str, topic: str = TOPIC, qos: int = 1, retain: bool = False, version: int = 5
    ) -> list[str]:
        """Publishes; the texts that Mosquitto acknowledged, whether somebody has subscribed or not."""
        answered: dict[int, bool] = {}
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            "f2-aabbccddee01",
            protocol=MQTTProtocolVersion(version),
            reconnect_on_failure=False,
        )
        thrown_out = threading.Event()
        client.on_disconnect = lambda *_: thrown_out.set()
        client.on_publish = lambda _c, _u, mid, code, _p: answered.__setitem__(mid, not code.is_failure)
        ready = threading.Event()
        client.on_connect = lambda *_: ready.set()
        client.connect("127.0.0.1", self.outside)
        client.loop_start()
        assert ready.wait(5)
        mids = {client.publish(topic, text, qos=qos, retain=retain).mid: text for text in texts}
        deadline = time.monotonic() + 5
        while len(answered) < len(mids) and not thrown_out.is_set() and time.monotonic() < deadline:
            time.sleep(0.01)
        client.disconnect()
        client.loop_stop()
        return [mids[mid] for mid, good in answered.items() if good]

    def bridge(self, *, until: int = 0, seconds: float = 5) -> list[str]:
        """Subscribes as the bridge does; what came, in order: at least `until` texts, and nothing for 0.3 s."""
        texts: list[str] = []
        subscribed = threading.Event()
        client = mqtt.Client(CallbackAPIVersion.VERSION2, BRIDGE, protocol=MQTTProtocolVersion.MQTTv5)
        client.on_message = lambda _c, _u, message: texts.append(message.payload.decode())
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_connect = lambda *_: client.subscribe([(text, 1) for text in FILTERS])
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        client.connect("127.0.0.1", self.inside, clean_start=False, properties=properties)
        client.loop_start()
        assert subscribed.wait(5)
        with suppress(AssertionError):
            wait_for(lambda: len(texts) >= until, "messages", seconds)
        seen = -1
        while seen != len(texts):
            seen = len(texts)
            time.sleep(0.3)
        client.disconnect()
        client.loop_stop()
        return texts

    def close(self) -> None:
        self.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if absent := [name for name in ("mosquitto", *journal.PACKAGES) if not debian.installed(name)]:
        debian.install(absent)
    target = tmp_path_factory.mktemp("plugin") / "journal.so"
    journal.build(target)
    return target


@pytest.fixture
def broker(tmp_path: Path, plugin: Path) -> Iterator[Broker]:
    with closing(Broker(tmp_path, plugin)) as made:
        yield made


def with_session(broker: Broker, **options: int) -> None:
    """Starts it; the bridge has subscribed, that is saved, and the bridge is away."""
    broker.start(**options)
    broker.bridge()
    broker.save()


def test_the_topics_are_the_bridges() -> None:
    lines = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text().splitlines()
    assert {line.split()[1] for line in lines if line.startswith("plugin_opt_topic ")} == set(FILTERS)


@pytest.mark.parametrize("sync_ms", [0, 100])
def test_what_was_acknowledged_survives_every_kill(broker: Broker, sync_ms: int) -> None:
    with_session(broker, sync_ms=sync_ms)
    texts = [str(number) for number in range(500)]
    assert broker.publish(*texts) == texts
    for more in ("a", "b"):
        broker.end(signal.SIGKILL)
        broker.start(sync_ms=sync_ms)
        assert broker.publish(more) == [more]
        texts.append(more)
    broker.end(signal.SIGKILL)
    broker.start(sync_ms=sync_ms)
    assert broker.bridge(until=502) == texts


def test_a_bridge_that_was_never_seen_gets_all(broker: Broker) -> None:
    broker.start()
    assert broker.publish("first") == ["first"]
    broker.save()
    broker.save()
    assert broker.publish("second") == ["second"]
    broker.end(signal.SIGKILL)
    broker.start()
    assert broker.publish("third") == ["third"]
    assert broker.bridge(until=3) == ["first", "second", "third"]


def test_a_session_that_was_not_saved_is_made_up_for(broker: Broker) -> None:
    broker.start()
    assert broker.bridge() == []
    assert broker.publish("first") == ["first"]
    broker.end(signal.SIGKILL)
    broker.start()
    assert broker.bridge(until=1) == ["first"]


def test_the_save_after_the_bridge_came_is_not_trusted(broker: Broker) -> None:
    """It may lie between the subscription and the queueing of what was published anew."""
    broker.start()
    broker.publish("first")
    broker.bridge(until=1)
    broker.save()
    broker.publish("second")
    kept = broker.journal.stat().st_size
    assert b"first" in broker.journal.read_bytes()
    broker.save()
    broker.publish("third")
    assert broker.journal.stat().st_size < kept


def test_a_save_empties_it(broker: Broker) -> None:
    with_session(broker)
    broker.publish("first")
    broker.save()
    broker.publish("second")
    held = broker.journal.read_bytes()
    assert b"first" not in held
    assert b"second" in held
    broker.end(signal.SIGKILL)
    broker.start()
    assert broker.bridge(until=2) == ["first", "second"]


def test_a_clean_stop_empties_it(broker: Broker) -> None:
    with_session(broker)
    broker.publish("first")
    broker.end(signal.SIGTERM)
    assert broker.journal.stat().st_size == 0
    broker.start()
    assert broker.bridge(until=1) == ["first"]


@pytest.mark.parametrize("damage", ["cut", "garbage", "zeros"])
def test_a_torn_end_is_ignored(broker: Broker, damage: str) -> None:
    with_session(broker)
    broker.publish("first", "second")
    broker.end(signal.SIGKILL)
    held = broker.journal.read_bytes()
    broker.journal.write_bytes({"cut": held[:-1], "garbage": held + b"\x07" * 99, "zeros": held + bytes(99)}[damage])
    broker.start()
    assert "are not whole" in broker.said()
    assert broker.publish("third") == ["third"]
    broker.end(signal.SIGKILL)
    broker.start()
    whole = ["first"] if damage == "cut" else ["first", "second"]
    assert broker.bridge(until=len(whole) + 1) == [*whole, "third"]


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
def test_a_full_journal_refuses(broker: Broker, version: int) -> None:
    with_session(broker, limit=200)
    assert broker.publish("first", version=version) == ["first"]
    assert broker.publish("x" * 200, version=version) == []
    assert "full, and Mosquitto's queue is not saved. Messages are refused." in broker.said()
    broker.save()
    assert broker.publish("second", version=version) == ["second"]
    assert "messages are taken again" in broker.said()
    assert broker.bridge(until=2) == ["first", "second"]


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
def test_a_disk_without_room_refuses(broker: Broker, version: int) -> None:
    with_session(broker, file_limit=4096)
    assert broker.publish("first", version=version) == ["first"]
    assert broker.publish("x" * 4096, version=version) == []
    assert "no room. Messages are refused." in broker.said()
    assert broker.publish("second", version=version) == ["second"]
    broker.end(signal.SIGKILL)
    broker.start()
    assert "are not whole" not in broker.said()
    assert broker.bridge(until=2) == ["first", "second"]


def test_a_journal_that_can_not_be_opened_stops_mosquitto(broker: Broker) -> None:
    broker.journal.mkdir()
    with pytest.raises(AssertionError, match="can not be used: Is a directory"):
        broker.start()


def test_what_the_bridge_does_not_take_is_not_kept(broker: Broker) -> None:
    with_session(broker)
    broker.publish("first", topic="tele/f2-aabbccddee01/other")
    broker.publish("second", qos=0)
    assert broker.journal.stat().st_size == 0


def test_a_new_certificate_is_read_and_the_journal_goes_on(broker: Broker) -> None:
    with_session(broker)
    broker.publish("first")
    broker.signal(signal.SIGHUP)
    assert broker.publish("second") == ["second"]
    broker.end(signal.SIGKILL)
    broker.start()
    assert broker.bridge(until=2) == ["first", "second"]


def test_a_retained_message_stays_retained(broker: Broker) -> None:
    with_session(broker)
    broker.publish("first", topic="stat/f2-aabbccddee01/sensor-mode/J1/sensor-1", retain=True)
    broker.end(signal.SIGKILL)
    broker.start()
    broker.bridge(until=1)
    broker.save()
    broker.end(signal.SIGKILL)
    broker.start()
    with closing(Retained(broker.inside)) as retained:
        assert wait_for(lambda: retained.texts, "the retained message", 5) == ["first"]


class Retained:
    """What a new subscriber gets at once."""

    def __init__(self, port: int) -> None:
        self.texts: list[str] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, "somebody", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = lambda _c, _u, message: self.texts.append(message.payload.decode())
        self._client.on_connect = lambda *_: self._client.subscribe("stat/#", 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
