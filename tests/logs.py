"""Logging is one for a process: what a test sets up must be gone after it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from hub import logs

_CHATTY: Final = ("aiormq", "aiormq.connection", "aio_pika", "asyncio", "aiohttp.access", "alembic", "sqlalchemy")


@contextmanager
def untouched_logging() -> Iterator[None]:
    """Afterwards logging is as it was before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in _CHATTY}
    try:
        yield
    finally:
        logs.configure()  # no secret of this test's is hidden from the next
        logging.captureWarnings(False)
        root.handlers[:], root.level = handlers, level
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)
        structlog.reset_defaults()
