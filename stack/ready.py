"""Whether a part does its work: each check asks the part itself and raises when the answer is no."""

import json
import socket
import urllib.error
import urllib.request
from typing import Any

import psycopg2
import redis
from confluent_kafka.admin import AdminClient

TIMEOUT = 2.0
"""Seconds that one question may take."""
PATIENT = 10.0
"""Seconds after which a part on a busy machine is thought to hang."""
HTTP_TIMEOUT = 10.0
"""Seconds that /health/ready may take, which itself asks one dependency after the other."""


class NotReadyError(Exception):
    """What the part lacks."""


def tcp(host: str, *ports: int) -> None:
    """Someone listens on every port."""
    for port in ports:
        socket.create_connection((host, port), timeout=TIMEOUT).close()


def http(url: str) -> None:
    """The address answers 200; NotReadyError names the dependencies that its answer says are missing."""
    try:
        with urllib.request.urlopen(url, timeout=HTTP_TIMEOUT):  # noqa: S310
            return
    except urllib.error.HTTPError as error:
        raise NotReadyError(_unavailable(error.read()) or f"HTTP status {error.code}") from None


def _unavailable(body: bytes) -> str:
    try:
        dependencies: dict[str, Any] = json.loads(body)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return ""
    return ", ".join(f"{name}: {state}" for name, state in dependencies.items() if state != "ok")


def mqtt(host: str, port: int) -> None:
    """The broker answers a connection; the kernel alone accepts one for a broker that hangs."""
    with socket.create_connection((host, port), timeout=PATIENT) as broker:
        broker.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00")  # CONNECT: 3.1.1, a clean session, no name
        if broker.recv(4)[:1] != b"\x20":  # CONNACK
            raise NotReadyError("no MQTT broker")
        broker.sendall(b"\xe0\x00")  # DISCONNECT


def kafka(brokers: str, seconds: float = TIMEOUT) -> None:
    """The broker gives its metadata and has a controller."""
    client = AdminClient({"bootstrap.servers": brokers, "log_level": 0, "socket.timeout.ms": int(seconds * 1000)})
    if client.list_topics(timeout=seconds).controller_id < 0:
        raise NotReadyError("no controller yet")


def cache(host: str, port: int, seconds: float = TIMEOUT) -> None:
    """Redis answers a ping."""
    with redis.Redis(host=host, port=port, socket_timeout=seconds) as client:
        client.ping()


def ask(address: dict[str, Any], query: str = "SELECT 1", seconds: float = TIMEOUT) -> Any:
    """The first value of the first row; None without rows. `address` is psycopg2's keywords."""
    connection = psycopg2.connect(**{**address, "connect_timeout": int(seconds)})
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone()
            return row[0] if row else None
    finally:
        connection.close()
