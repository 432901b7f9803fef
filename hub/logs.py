"""Structured logs on stderr: one line for one thing, stable names, people's numbers masked, secrets never.

JSON unless a terminal is looking. What third parties log through the standard library comes out the same way.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

_SECRET_KEYS: Final = re.compile(
    r"token|password|secret|authorization|signature|firma|affiliate_?key|cookie", re.IGNORECASE
)
_NUMBER: Final = re.compile(r"(?<![\w.:-])(\+?)(\d{7,15})(?![\w.:-])")
_USERINFO: Final = re.compile(r"(\w+://)[^/@\s]*@")
_TOKEN_PATH: Final = re.compile(r"(/(?:callbacks|queries)/[^/\s?]+/)[^/\s?]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST: Final = 2000
_KEPT_DIGITS: Final = 2


def mask_number(text: str) -> str:
    """A telephone number as logs show it: ``+34911888920`` is ``+…20``."""
    return _NUMBER.sub(lambda found: f"{found[1]}…{found[2][-_KEPT_DIGITS:]}", text)


def mask_url(url: str) -> str:
    """A URL without its user, its password and the token in its path."""
    return _TOKEN_PATH.sub(r"\1…", _USERINFO.sub(r"\1…@", url))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        cut = value if len(value) <= _LONGEST else value[:_LONGEST] + "…"
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", mask_number(mask_url(cut)))
    if isinstance(value, MutableMapping):
        return {name: "…" if _SECRET_KEYS.search(str(name)) else _clean(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(item) for item in value]
    return value


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """The processor that every line passes last: values only, keys come from the code."""
    del logger, method
    return {
        name: "…" if _SECRET_KEYS.search(name) else (value if name.startswith("_") else _clean(value))
        for name, value in event.items()
    }


def _json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return orjson.dumps(event, default=repr).decode("utf-8", "replace")


def _without_the_strangers_bytes(record: logging.LogRecord) -> bool:
    """Of a malformed request aiohttp logs a traceback that quotes it, headers and all: one line is enough."""
    kind = record.exc_info[0] if record.exc_info else None
    if record.name == "aiohttp.server" and kind is not None and kind.__module__ == "aiohttp.http_exceptions":
        record.msg, record.args, record.exc_info, record.exc_text = "http.malformed_request", (), None, None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def _text() -> structlog.typing.Processor:
    # The library's own traceback shows local variables: tokens, bodies, numbers.
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def configure(level: str = "info", form: str = "auto") -> None:
    """Sets the process's logging up; may be called again.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        form: ``json``, ``text``, or ``auto``: text where stderr is a terminal.
    """
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: structlog.typing.Processor = _text() if text else _json
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
        )
    )
    handler.addFilter(_without_the_strangers_bytes)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("aiormq", "aio_pika", "asyncio", "aiohttp.access", "alembic", "sqlalchemy"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
