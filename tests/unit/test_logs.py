"""Logs: one line for one thing, numbers of people masked, secrets never."""

import asyncio
import io
import logging
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given, settings, strategies as st
from pydantic import SecretStr

from hub import logs
from hub.configured import secrets_in
from tests.hub import configuration, running
from tests.logs import untouched_logging

CANARY = "CANARY"
Said = Callable[[], str]


@contextmanager
def logging_to_a_string(form: str, secrets: tuple[str, ...] = ()) -> Iterator[Said]:
    """Logs as they would reach stderr."""
    written = io.StringIO()
    with untouched_logging():
        with redirect_stderr(written):
            logs.configure("debug", form, secrets)
        yield written.getvalue


def logged(form: str = "json", secrets: tuple[str, ...] = (), /, **values: Any) -> str:
    """One event with these values, as it is written."""
    with logging_to_a_string(form, secrets) as said:
        structlog.get_logger("test").warning("test.event", **values)
        return said()


def _fail(message: str) -> None:
    raise RuntimeError(message)


# --- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+34911888920", "+…20"),
        ("911888920", "…20"),
        ("from 911888920.", "from …20."),
        ("911888920: busy", "…20: busy"),
        ("caller=911888920,line=900805089", "caller=…20,line=…89"),
        ("tel:+34911888920", "tel:+…20"),
        ("sip:911888920@host", "sip:…20@host"),
        ("+34 911 888 920", "+…20"),
        ("+34 (911) 888-920", "+…20"),
        ("00349118889201", "…01"),
    ],
)
@pytest.mark.parametrize("form", ["json", "text"])
def test_a_number_of_a_person_is_masked(form: str, text: str, expected: str) -> None:
    line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "", logged(form, detail=text))
    assert expected in line
    assert "888" not in line


@pytest.mark.parametrize(
    "text",
    [
        "7cf7fa49-a8d2-4840-8bc6-0e07ae7289fa",
        "12345678-1234-5234-8234-123456789012",
        "2026-11-20T09:15:30.204123+00:00",
        "127.0.0.1:54321",
        "seq 123456",
        "call98565656",
        "1700000000.1234567",
    ],
)
def test_what_is_no_number_of_a_person_stays(text: str) -> None:
    assert text in logged(detail=text)


def test_counts_stay_numbers() -> None:
    [line] = [orjson.loads(logged(events=12345678, seconds=0.25, port=8080, late=True, why=None))]
    assert (line["events"], line["seconds"], line["port"], line["late"], line["why"]) == (
        12345678,
        0.25,
        8080,
        True,
        None,
    )


# --- secrets -------------------------------------------------------------------------------------------------------


KEYS = (
    *("token", "tokens", "admin_token", "password", "PASSWORD", "telephone_password", "secret", "secrets"),
    *("client_secret", "authorization", "Authorization", "Proxy-Authorization", "signature", "Signature", "firma"),
    *("affiliate_key", "affiliateKey", "cookie", "Set-Cookie"),
)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", ["json", "text"])
def test_a_secret_is_hidden_under_its_key_however_deep(form: str, key: str) -> None:
    for value in (CANARY, [CANARY], {"value": CANARY}, CANARY.encode(), SecretStr(CANARY), 17):
        assert CANARY not in logged(form, **{key: value})
        assert CANARY not in logged(form, request={"headers": [{key: value}]})
    assert CANARY not in logged(form, headers=str({key: CANARY}))
    assert CANARY not in logged(form, line=f"{key}={CANARY}&a=1")
    assert CANARY not in logged(form, error=ValueError(f"found {key}: '{CANARY}'"))


@pytest.mark.parametrize(
    "text",
    [
        "amqp://user:CANARY@host/vhost",
        "amqp://user:CANARY@and@CANARY@host/vhost",
        "cannot reach postgresql://CANARY@host/db, postgresql://u:CANARY@other/db",
        "http://host/callbacks/line-900/CANARY/fin?caller=1",
        "/queries/line-900/CANARY",
        "GET /callbacks/desk/CANARY HTTP/1.1",
        "Authorization: Bearer CANARY",
        "Basic CANARY=",
        '{"ApiCall":{"UserID":{"Signature":"CANARY"}}}',
        "<Signature>x</Signature>?token=CANARY",
    ],
)
def test_a_secret_in_a_url_or_a_header_is_hidden(text: str) -> None:
    for form in ("json", "text"):
        assert CANARY not in logged(form, reason=text)
        assert CANARY not in logged(form, reason=RuntimeError(text))
        assert CANARY not in logged(form, reason=[{"deep": (text,)}])


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_configured_secret_is_hidden_wherever_it_stands(form: str, tmp_path: Path) -> None:
    told = configuration(
        tmp_path,
        bus={"url": "amqp://user:CANARY%2Fbus@host/"},
        admin={"token": "CANARY-admin"},
        sources={"desk": {"vendor": "focalscope", "tokens": ["CANARY-desk"]}},
    )
    hidden = tuple(secrets_in(told))
    assert "CANARY/bus" in hidden
    for secret in ("CANARY/bus", "CANARY%2Fbus", "CANARY-admin", "CANARY-desk"):
        assert CANARY not in logged(form, hidden, detail=f"somebody said {secret} aloud")
        assert CANARY not in logged(form, hidden, value=secret.encode())


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_says_no_secret_and_no_local_variable(form: str) -> None:
    with logging_to_a_string(form) as said:
        token = CANARY
        try:
            _fail(f"cannot reach amqp://user:{token}@host for +34911888920")
        except RuntimeError:
            structlog.get_logger("test").exception("test.event")
            logging.getLogger("somebody").exception("failed")
    assert said().count("RuntimeError: cannot reach amqp://…@host for +…20") == 2
    assert CANARY not in said()


def test_an_object_is_not_looked_into_by_the_renderer() -> None:
    class Call:
        def __repr__(self) -> str:
            return "Call(caller='+34911888920', url='amqp://u:CANARY@h')"

    line = logged(call=Call(), raw=b"911888920")
    assert "9118889" not in line
    assert CANARY not in line


def test_the_end_of_a_long_text_is_kept() -> None:
    [line] = [orjson.loads(logged(error="x" * 100_000 + " the reason"))]
    assert len(line["error"]) < 2100
    assert line["error"].endswith("the reason")


# --- lines ---------------------------------------------------------------------------------------------------------


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.datetimes()
    | st.uuids(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=6,
)


@given(values=st.dictionaries(st.sampled_from(["reason", "detail", "found"]), anything), message=st.text())
@settings(max_examples=150)
def test_an_event_is_one_line_of_json_whatever_is_in_it(values: dict[str, Any], message: str) -> None:
    with logging_to_a_string("json") as said:
        structlog.get_logger("test").warning(message, **values)
        logging.getLogger("somebody").warning("%s %r", message, values)
    lines = said().splitlines()
    assert said().count("\n") == len(lines) == 2
    for line in lines:
        assert orjson.loads(line)["level"] == "warning"


@given(text=st.text(st.characters(codec=None)))
@settings(max_examples=100)
def test_a_stranger_cannot_begin_a_line_on_a_terminal(text: str) -> None:
    with logging_to_a_string("text") as said:
        structlog.get_logger("test").warning("test.event", reason=text, within=[text], under={"a": text})
        logging.getLogger("somebody").warning(text)
    assert len(said().splitlines()) == 2
    ours = said().replace("\n", "").replace("\x1b", "")
    assert {unicodedata.category(character) for character in ours} & {"Cc", "Cs", "Zl", "Zp"} == set()


@pytest.mark.parametrize("text", ["\x1b[31mred", "\x9b31mred", "\u202ered", "a\rb", "\x1b]0;title\x07"])
def test_a_stranger_cannot_colour_a_line_or_write_over_it(text: str) -> None:
    escaped = repr(text)[1:-1]
    assert escaped in logged("text", reason=text)
    assert escaped in logged("text", reason=RuntimeError(text)).replace("\\\\", "\\")


def test_an_exception_is_one_line_of_json() -> None:
    with logging_to_a_string("json") as said:
        try:
            _fail("first\nsecond\x1b[31m")
        except RuntimeError:
            structlog.get_logger("test").exception("test.event")
    [line] = said().splitlines()
    assert "Traceback" in orjson.loads(line)["exception"]
    assert "\x1b" not in orjson.loads(line)["exception"]


def test_a_warning_is_a_line_like_the_others() -> None:
    with logging_to_a_string("json") as said, warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(True)
        warnings.warn("old", stacklevel=1)
        logging.captureWarnings(False)
    [line] = said().splitlines()
    assert "old" in orjson.loads(line)["event"]


def test_a_line_says_when_who_and_how_bad() -> None:
    line = orjson.loads(logged())
    assert set(line) == {"timestamp", "logger", "level", "event"}
    assert (line["logger"], line["level"], line["event"]) == ("test", "warning", "test.event")


# --- a running hub -------------------------------------------------------------------------------------------------


MALFORMED = (
    b"GET /callbacks/line-900/CANARY HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer CANARY\r\nBad Header: CANARY\r\n\r\n",
    b"POST /callbacks/line-900/CANARY HTTP/1.1\r\nHost: h\r\nX-Secret: CANARY\r\nContent-Length: CANARY\r\n\r\n",
    b"GET /CANARY HTTP/9.CANARY\r\nCookie: CANARY\r\n\r\n",
    b"CANARY 911888920\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"CANARY" * 20_000 + b"\r\n\r\n",
    b"\x16\x03\x01CANARY\x00\x01\r\n\r\n",
)


async def test_a_malformed_request_logs_no_byte_of_it(tmp_path: Path) -> None:
    with logging_to_a_string("json") as said:
        async with running(configuration(tmp_path)) as hub:
            for request in MALFORMED:
                reader, writer = await asyncio.open_connection("127.0.0.1", hub.process.port)
                with closing(writer):
                    writer.write(request)
                    answer = await reader.read()
                assert b" 400 " in answer.partition(b"\r\n")[0]
        lines = [orjson.loads(line) for line in said().splitlines()]
    assert CANARY not in said()
    assert "9118889" not in said()
    assert [line["event"] for line in lines if line["logger"] == "aiohttp.server"] == ["http.malformed_request"] * len(
        MALFORMED
    )
