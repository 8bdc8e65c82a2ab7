"""Whether Kafka can be reached, for the bridge's ready endpoint."""

import threading
import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Producer

from faces2.service.health import Check


def kafka_check(producer: Producer, cached_seconds: float = 5, clock: Callable[[], float] = time.monotonic) -> Check:
    """Whether Kafka answers; asked at most every `cached_seconds`."""
    lock = threading.Lock()
    asked, answer = float("-inf"), None

    def check() -> str | None:
        nonlocal asked, answer
        with lock:
            if clock() - asked > cached_seconds:
                try:
                    producer.list_topics(timeout=2)
                    answer = None
                except KafkaException as error:
                    answer = str(error.args[0])
                asked = clock()
            return answer

    return check
