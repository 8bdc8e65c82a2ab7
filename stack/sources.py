"""Where the live screen's figures come from: each source is asked from a thread of its own and may fail or hang."""

import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import psycopg2
from confluent_kafka import Consumer, TopicPartition

from faces2.service.settings import KafkaSettings
from faces2.stack.series import Samples, Window, key, parse

TIMEOUT = 2.0
"""Seconds that one question may take."""
RAW_RECORDS = "raw_topic_records_total"
LAG = "consumer_lag"

T = TypeVar("T")


class Poller(Generic[T]):
    """Asks every `every` seconds, and at most for a `share` of the time; `value` is None after a failure."""

    def __init__(self, ask: Callable[[], T], every: float = 1.0, share: float = 0.5) -> None:
        self.value: T | None = None
        self._ask = ask
        self._every = every
        self._share = share

    def run(self, stop: threading.Event) -> None:
        """Until `stop`."""
        rest = 0.0
        while not stop.wait(rest):
            began = time.monotonic()
            try:
                self.value = self._ask()
            except Exception:  # whatever a client raises, there is no answer
                self.value = None
            took = time.monotonic() - began
            rest = max(self._every - took, took * (1 / self._share - 1), 0.0)


class Recorder:
    """Asks for samples and gives the window that they make with those before."""

    def __init__(self, ask: Callable[[], Samples], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._window = Window()

    def __call__(self) -> Window:
        """One more reading; raises what asking raised."""
        try:
            self._window = self._window.add(self._clock(), self._ask())
        except Exception:
            self._window = self._window.lost()
            raise
        return self._window


class Page:
    """A part's /metrics; asked directly, whatever proxy the environment names."""

    def __init__(self, host: str, port: int) -> None:
        self._url = f"http://{host}:{port}/metrics"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __call__(self) -> Samples:
        """Its samples; OSError when it is down."""
        with self._opener.open(self._url, timeout=TIMEOUT) as answer:
            return parse(answer.read().decode())


class RawTopic:
    """The raw topic's records, and how many of them the pipeline's group has not committed."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._topic = settings.raw_topic
        quiet = {"log_level": 0, "socket.timeout.ms": int(TIMEOUT * 1000), "enable.auto.commit": False}
        # It reads the group's offsets; without a subscription it does not join the group.
        self._consumer = Consumer({"bootstrap.servers": settings.brokers, "group.id": settings.group_id, **quiet})

    def __call__(self) -> Samples:
        """RAW_RECORDS and LAG; raises when the broker does not answer or the topic is missing."""
        topics = self._consumer.list_topics(timeout=TIMEOUT).topics  # asking for the topic by its name could create it
        partitions = [TopicPartition(self._topic, number) for number in topics[self._topic].partitions]
        ranges = [self._consumer.get_watermark_offsets(part, timeout=TIMEOUT) for part in partitions]
        committed = [part.offset for part in self._consumer.committed(partitions, timeout=TIMEOUT)]
        return {
            key(RAW_RECORDS): float(sum(end for _, end in ranges)),
            key(LAG): float(sum(map(lag, committed, ranges))),
        }


def lag(committed: int, held: tuple[int, int]) -> int:
    """Records of a partition that are not committed; `held` are its first offset and its end.

    Without a commit (a negative offset) it is read from the first record; what retention took is not read any more.
    """
    first, end = held
    return max(0, end - max(committed, first))


class Database:
    """One connection, made anew after a failure; nothing on it lasts longer than `seconds`."""

    def __init__(self, address: Mapping[str, Any], seconds: float = TIMEOUT) -> None:
        limit = int(seconds * 1000)
        self._address = {
            **address,
            "connect_timeout": int(TIMEOUT),
            "options": f"-c statement_timeout={limit} -c default_transaction_read_only=on",
            "tcp_user_timeout": limit + 1000,
            "application_name": "faces2 screen",
        }
        self._connection: Any = None

    def rows(self, query: Any, arguments: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """A query's rows; psycopg2.Error when there are none to be had."""
        try:
            if self._connection is None:
                self._connection = psycopg2.connect(**self._address)
                self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute(query, arguments)
                return list(cursor.fetchall())
        except psycopg2.Error:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
