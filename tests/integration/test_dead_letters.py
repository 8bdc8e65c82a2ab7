"""`faces2 dead-letters` on the real topics: listed, shown, counted, replayed once."""

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing

import orjson
import pytest
from confluent_kafka import Consumer, TopicPartition
from helpers import DeadLetters, Stack, now, payload, raw_value, send, wait_for

from faces2.io.kafka_topic import describe
from faces2.models.dead_letter import Reason
from faces2.service.settings import KafkaSettings, load

pytestmark = pytest.mark.stack


@pytest.fixture
def mac(stack: Stack) -> str:
    """A controller that the metadata does not know, and of which there are no letters yet."""
    return secrets.token_hex(6)


class RawTopic:
    """What comes into the raw topic from now on."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._consumer = Consumer({"bootstrap.servers": settings.brokers, "group.id": "tests-raw"})
        held = describe(settings, settings.raw_topic).held
        self._consumer.assign([TopicPartition(settings.raw_topic, part, each.stop) for part, each in held.items()])
        self.records: list[tuple[bytes | None, bytes | None]] = []

    def look(self, seconds: float = 1.0) -> list[tuple[bytes | None, bytes | None]]:
        """All that came so far, and in so many seconds."""
        self.records += [(message.key(), message.value()) for message in self._consumer.consume(10_000, seconds)]
        return self.records

    def close(self) -> None:
        """Leaves the topic."""
        self._consumer.close()


@pytest.fixture
def raw(stack: Stack) -> Iterator[RawTopic]:
    with closing(RawTopic(load(KafkaSettings))) as topic:
        yield topic


def count(stack: Stack, *filters: str) -> dict[str, tuple[int, int]]:
    """Letters and replayed ones, by reason."""
    said = orjson.loads(stack.run("dead-letters", "stats", "--json", *filters))
    return {each["reason"]: (each["letters"], each["replayed"]) for each in said["counts"]}


def test_replayed_once_and_not_again_when_it_fails_again(stack: Stack, mac: str, raw: RawTopic) -> None:
    frames = [raw_value(mac, position, payload(now(), "010300")) for position in (1, 2)]
    bad = raw_value(mac, 1, payload(now(), "zz"))
    send([(mac, frame) for frame in (*frames, bad)])
    wait_for(lambda: count(stack, "--device", mac) == {"unknown_device": (2, 0), "bad_hex": (1, 0)}, "three letters")
    assert sorted(raw.look()) == sorted((mac.encode(), frame) for frame in (*frames, bad))
    filters = ("--device", mac.upper(), "--reason", "unknown_device")

    assert "2 would be sent to raw-iot-data" in stack.run("dead-letters", "replay", "--dry-run", *filters)
    assert len(raw.look()) == 3
    assert "2 sent to raw-iot-data" in stack.run("dead-letters", "replay", *filters)
    wait_for(lambda: len(raw.look()) == 5, "the two frames in the raw topic")
    assert sorted(raw.records[3:]) == sorted((mac.encode(), frame) for frame in frames)

    wait_for(lambda: count(stack, *filters) == {"unknown_device": (4, 2)}, "the two letters of the second failure")
    said = stack.run("dead-letters", "replay", *filters)
    assert "0 sent" in said
    assert "2 replayed before" in said
    assert "2 with the bytes of one that was replayed" in said
    assert len(raw.look()) == 5
    assert "2 sent to raw-iot-data" in stack.run("dead-letters", "replay", "--again", *filters)
    wait_for(lambda: len(raw.look()) == 7, "the two frames once more")


def test_list_show_and_filters(stack: Stack, mac: str) -> None:
    send([(mac, raw_value(mac, position, payload(now(), "010300"))) for position in (1, 1, 2)])
    wait_for(lambda: count(stack, "--device", mac) == {"unknown_device": (3, 0)}, "three letters")
    topic = f"tele/f2-{mac}/sensor-mode/1/sensor-1"
    assert count(stack, "--device", topic) == {"unknown_device": (2, 0)}
    assert count(stack, "--device", mac, "--from", "2100-01-01") == {}
    assert count(stack, "--device", mac, "--from", "2020-01-01", "--until", "2100-01-01") == {"unknown_device": (3, 0)}

    listed = [
        orjson.loads(line) for line in stack.run("dead-letters", "list", "--json", "--device", topic).splitlines()
    ]
    assert [each["device"] for each in listed] == [mac, mac]
    assert [each["failed_at"] for each in listed] == sorted(each["failed_at"] for each in listed)
    assert len(stack.run("dead-letters", "list", "--device", mac, "--limit", "2").splitlines()) == 2
    assert len(stack.run("dead-letters", "list", "--device", mac, "--limit", "0").splitlines()) == 3

    shown = stack.run("dead-letters", "show", f"{listed[0]['partition']}:{listed[0]['offset']}")
    assert "reason     unknown_device" in shown
    assert f'"device_mac": "{mac}"' in shown
    assert "not replayed" in shown
    assert f"does not know J1 sensor-1 of {mac}" in shown


def test_letters_of_the_bridge_and_of_the_processed_topic(
    stack: Stack, mac: str, raw: RawTopic, dead_letters: DeadLetters
) -> None:
    topic = f"tele/f2-{mac}/sensor-mode/J1/sensor-1"
    headers = {"reason": "bad_json", "step": "bridge", "topic": topic, "failed_at": "2026-01-02T03:04:05+00:00"}
    good, bad = orjson.dumps(payload(now(), "010300")), b"{rubbish"
    send([(mac, good), (mac, bad)], load(KafkaSettings).dead_letter_topic, headers)
    wait_for(lambda: count(stack, "--device", mac) == {"bad_json": (2, 0)}, "two letters")
    said = stack.run("dead-letters", "replay", "--device", mac)
    assert "1 sent to raw-iot-data" in said
    assert "1 can not be replayed" in said
    assert "the bridge would refuse it again: bad_json" in said
    wait_for(lambda: len(raw.look()) == 1, "the payload as a raw message")
    ((key, value),) = raw.records
    assert key == mac.encode()
    assert orjson.loads(value or b"")["payload"] == orjson.loads(good)
    dead_letters.find(Reason.UNKNOWN_DEVICE, mac.encode())


def test_interrupted_it_goes_on_behind_what_was_sent(stack: Stack, mac: str, raw: RawTopic) -> None:
    headers = {"reason": "bad_json", "step": "Enrich", "topic": "raw-iot-data", "failed_at": "2026-01-02T03:04:05"}
    letters = 200_000
    send([(mac, b"rubbish %d" % n) for n in range(letters)], load(KafkaSettings).dead_letter_topic, headers)
    running = stack.start("dead-letters", "replay", "--device", mac)
    wait_for(lambda: raw.look(0.05), "the first records")
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 130, output
    rest = stack.run("dead-letters", "replay", "--device", mac)
    sent = [int(line.split()[0].replace(",", "")) for line in (output + rest).splitlines() if " sent to " in line]
    assert sum(sent) == letters
    wait_for(lambda: len(raw.look()) >= letters, "all records", 60)
    assert len({value for _, value in raw.look()}) == letters
    assert len(raw.records) == letters


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "says"),
    [
        (["stats"], {"KAFKA_BROKERS": "127.0.0.1:1"}, 1, "Kafka at 127.0.0.1:1 does not answer"),
        (["replay"], {"KAFKA_DEAD_LETTER_TOPIC": "nowhere"}, 1, "The topic nowhere does not exist"),
        (["list"], {"KAFKA_REPLAY_TOPIC": "nowhere"}, 1, "The topic nowhere does not exist"),
        (["show", "999:0"], {}, 1, "There is no dead letter 999:0"),
        (["show", "first"], {}, 2, "is not PARTITION:OFFSET"),
        (["list", "--reason", "sad"], {}, 2, "the reasons are"),
        (["list", "--device", "x"], {}, 2, "is no MAC address"),
        (["list", "--from", "x"], {}, 2, "is not ISO 8601"),
    ],
)
def test_what_goes_wrong_is_a_sentence(
    stack: Stack, arguments: list[str], environment: dict[str, str], status: int, says: str
) -> None:
    done = subprocess.run(
        [stack.faces2, "dead-letters", *arguments],
        cwd=stack.root,
        env=os.environ | environment | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
