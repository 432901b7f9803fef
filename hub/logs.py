"""Structured logs on stderr: one line for one thing, stable names, people's numbers masked, secrets never.

JSON unless a terminal is looking. What third parties log through the standard library comes out the same way.
"""

import logging
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

_SECRET_KEYS: Final = re.compile(
    r"token|password|secret|authorization|signature|firma|affiliate_?key|cookie|lead_?cc_?number", re.IGNORECASE
)
# Not inside an id, a time, an address or a decimal: what stands beside a telephone number is no letter and no dash.
_NUMBER: Final = re.compile(r"(?<![\w-])(?<!\d[.:])(\+?)(\d{7,15})(?![\w-])(?![.:]\d)")
_GROUPED: Final = re.compile(r"\+\d[\d ().-]{5,18}\d")
_USERINFO: Final = re.compile(r"(\w+://)[^/\s]*@")
_CREDENTIALS: Final = re.compile(r"\b(bearer|basic|oauthtoken)\s+[^\s'\",]+", re.IGNORECASE)
_ASSIGNED: Final = re.compile(
    r"((?:token|password|secret|signature|firma|affiliate_?key|lead_?cc_?number)\w*[\"']?\s*[:=]\s*[\"']?)"
    r"[^\s\"'&,;{}\[\]]+",
    re.IGNORECASE,
)
_HEADER: Final = re.compile(r"((?:authorization|cookie)[\"']?\s*[:=]\s*[\"']?)[^\"'\r\n]+", re.IGNORECASE)
_TOKEN_PATH: Final = re.compile(r"(/(?:callbacks|queries)/[^/\s?]+/)[^/\s?]+")
_CONTROL: Final = re.compile(  # what ends a line, colours it, or writes it backwards
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LONGEST: Final = 2000
_DEEPEST: Final = 8
_KEPT_DIGITS: Final = 2
_GUESSABLE: Final = 8  # a shorter secret may stand anywhere by chance: its key hides it
_TRACEBACK: Final = "exception"
_hidden: re.Pattern[str] | None = None  # the configured secrets, wherever they stand; one for a process, like logging


def mask_number(text: str) -> str:
    """A telephone number as logs show it: ``+34911888920`` is ``+…20``."""
    grouped = _GROUPED.sub(lambda found: f"+…{found[0][-_KEPT_DIGITS:]}", text)
    return _NUMBER.sub(lambda found: f"{found[1]}…{found[2][-_KEPT_DIGITS:]}", grouped)


def mask_url(url: str) -> str:
    """A URL without its user, its password and the token in its path."""
    return _TOKEN_PATH.sub(r"\1…", _USERINFO.sub(r"\1…@", url))


def _text_of(text: str) -> str:
    """Text without secrets and numbers, its middle left out where it is long: an error stands at a traceback's end."""
    if len(text) > 4 * _LONGEST:
        text = text[: 2 * _LONGEST] + "…" + text[-2 * _LONGEST :]
    if _hidden is not None:
        text = _hidden.sub("…", text)
    for secret in (_HEADER, _ASSIGNED):
        text = secret.sub(r"\1…", text)
    text = mask_number(_CREDENTIALS.sub(r"\1 …", mask_url(text)))
    return text if len(text) <= _LONGEST else text[: _LONGEST // 2] + "…" + text[-_LONGEST // 2 :]


def _clean(value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else str(value)
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {
            _clean(str(name)): "…" if _SECRET_KEYS.search(str(name)) else _clean(item, depth + 1)
            for name, item in value.items()
        }
    if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth + 1) for item in value]
    # Whatever else is asked to be logged, an exception for instance, is text: no renderer looks inside by itself.
    return clean_text(value if isinstance(value, str) else repr(value))


def clean_text(text: str) -> str:
    """Text as a log line would show it: without secrets and numbers, on one line, of a bounded length."""
    return _CONTROL.sub(_escaped, _text_of(text))


def _escaped(found: re.Match[str]) -> str:
    return repr(found[0])[1:-1]


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """The processor that every line passes last: values only, keys come from the code."""
    del logger, method
    return {
        name: "…" if _SECRET_KEYS.search(name) else (value if name.startswith("_") else _one(name, value))
        for name, value in event.items()
    }


def _one(name: str, value: Any) -> Any:
    """A traceback keeps its lines; JSON escapes them, and a terminal's reader wants them."""
    if name == _TRACEBACK and isinstance(value, str):
        return "\n".join(_CONTROL.sub(_escaped, line) for line in _text_of(value).split("\n"))
    return _clean(value)


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


def configure(level: str = "info", form: str = "auto", secrets: Iterable[str] = ()) -> None:
    """Sets the process's logging up; may be called again.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        form: ``json``, ``text``, or ``auto``: text where stderr is a terminal.
        secrets: what is hidden wherever it stands; the short ones only where a key or a URL gives them away.
    """
    global _hidden  # noqa: PLW0603
    known = sorted({secret for secret in secrets if len(secret) >= _GUESSABLE}, key=len, reverse=True)
    _hidden = re.compile("|".join(map(re.escape, known))) if known else None
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
    logging.captureWarnings(True)
    for chatty in ("aiormq", "aio_pika", "asyncio", "aiohttp.access", "alembic", "sqlalchemy"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("aiormq.connection").setLevel(logging.CRITICAL)  # what it says is said by bus.disconnected
