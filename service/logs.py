"""JSON logs: one object a line on stderr, with `service`, and `mac` where there is one."""

import logging
import sys
from functools import partial

import structlog
from structlog.typing import EventDict


def configure(service: str, level: str = "INFO") -> None:
    """Sends structlog's and the standard library's lines through one JSON renderer; safe to call again."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                partial(_add_service, service),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _add_service(service: str, _: object, __: str, event: EventDict) -> EventDict:
    """No context variable: a new thread would not have it."""
    event["service"] = service
    return event


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that takes fields as keywords: `log.info("connected", mac=mac)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
