"""A system that is away or refuses, as one sentence of the command that needed it."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from confluent_kafka import KafkaException

from faces2.models.stretch import StretchError
from faces2.service.could_not import CouldNotError


@contextmanager
def could_not(what: str) -> Iterator[None]:
    """Turns what clients raise into CouldNotError: "The audit could not be done: Kafka: …"."""
    try:
        yield
    except StretchError as error:
        raise CouldNotError(f"{what}: {error}") from None
    except KafkaException as error:
        raise CouldNotError(f"{what}: Kafka: {error.args[0].str()}") from error
    except psycopg2.Error as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CouldNotError(f"{what}: database: {first}") from error
