"""What an answer means: a table. Pure."""

from datetime import UTC, datetime, timedelta

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from hub.errors import Doubtful, Expired, Forbidden, Gone, LaneClosed, Later, NotSent, RateLimited, Refused
from hub.outgoing import Answer, excerpt, retry_after, shown_headers, shown_url, verdict, word
from hub.retry import Next, plan

NOW = datetime(2026, 11, 20, 9, 15, 30, tzinfo=UTC)


def answer(status: int = 429, body: bytes = b"", **headers: str) -> Answer:
    table = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return Answer(status, CIMultiDictProxy(table), body)


@pytest.mark.parametrize(
    ("statuses", "kind", "name"),
    [
        ((429,), RateLimited, "limited"),
        ((401, 403), Expired, "expired"),
        ((410,), Gone, "gone"),
        ((400, 402, 404, 405, 406, 409, 411, 412, 413, 414, 415, 418, 422, 431, 451, 499), Refused, "refused"),
        ((300, 301, 302, 303, 304, 307, 308, 408, 421, 423, 425), Later, "later"),
        ((500, 501, 502, 503, 504, 507, 520, 529, 599, 999, 99), Later, "later"),
    ],
)
def test_a_status_says_what_happens_next(statuses: tuple[int, ...], kind: type[Exception], name: str) -> None:
    for status in statuses:
        problem = verdict(answer(status, b'{"error":"no"}'), NOW)
        assert type(problem) is kind, status
        assert word(problem) == name
        assert str(problem) == f'answered {status}: {{"error":"no"}}'


def test_every_2xx_is_done() -> None:
    assert [verdict(answer(status), NOW) for status in (200, 201, 202, 204, 206, 299)] == [None] * 6
    assert word(None) == "done"


def test_an_answer_that_failed_may_have_had_its_effect_all_the_same() -> None:
    assert isinstance(verdict(answer(500), NOW), Doubtful)
    assert not isinstance(verdict(answer(429), NOW), Doubtful)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        *(("0", None), ("1", 1), ("30", 30), ("1.5", 1.5), (" 30 ", 30), ("3600", 3600), ("3601", 3600)),
        *(("1000000000", 3600), ("9" * 400, 3600), ("-5", None), ("-0", None), ("", None), ("soon", None)),
        *(("1e3", None), ("inf", None), ("nan", None), ("0x10", None), ("1.2.3", None), ("٣", None), ("+5", None)),
        ("Fri, 20 Nov 2026 09:16:30 GMT", 60),
        ("Friday, 20-Nov-26 09:16:30 GMT", 60),
        ("Fri, 20 Nov 2026 10:16:30 +0100", 60),
        ("Fri, 20 Nov 2026 09:14:30 GMT", None),
        ("Fri, 20 Nov 2099 09:14:30 GMT", 3600),
        ("Fri, 20 Nov 99999 09:14:30 GMT", None),
        ("Fri, 99 Nov 2026 09:14:30 GMT", None),
        ("2026-11-20T09:16:30Z", None),
    ],
)
def test_a_wish_to_wait_is_read_in_all_its_forms_and_believed_for_an_hour(said: str, seconds: float | None) -> None:
    expected = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert retry_after(answer(429, Retry_After=said), NOW) == expected
    limited = verdict(answer(429, Retry_After=said), NOW)
    assert isinstance(limited, RateLimited)
    assert limited.until == (expected or NOW)
    later = verdict(answer(503, Retry_After=said), NOW)
    assert isinstance(later, Later)
    assert later.until == expected


def test_the_plan_for_a_retry_knows_these_errors() -> None:
    until = NOW + timedelta(seconds=700)
    assert plan(LaneClosed(until, "open"), 12, NOW, 0.5).next is Next.SNOOZE
    assert plan(LaneClosed(until, "open"), 1, NOW, 0.5).after == 700
    for error in (Later(503, "busy", until), RateLimited(until, "slow down")):
        assert (plan(error, 1, NOW, 0.5).next, plan(error, 1, NOW, 0.5).after) == (Next.RETRY, 700)
    for other in (Later(500, "no"), NotSent("refused"), Doubtful("reset"), Expired("401")):
        assert (plan(other, 1, NOW, 0.5).next, plan(other, 1, NOW, 0.5).after) == (Next.RETRY, 3.75)
    for dead in (Refused(422, "no"), Gone("410"), Forbidden("inside")):
        assert plan(dead, 1, NOW, 0.5).next is Next.DEAD


def test_an_excerpt_is_one_short_line_without_secrets_and_numbers() -> None:
    body = b'{"error":\n "bad", "access_token": "eyJhbGciOi", "phone": "+34911888920"}'
    assert excerpt(body) == '{"error": "bad", "access_token": "…", "phone": "+…20"}'
    assert excerpt(b"x" * 5000) == "x" * 299 + "…"
    assert excerpt("ñ".encode() * 5000) == "ñ" * 299 + "…"
    assert excerpt(b"\xff\xd8\xff\xe0 jpeg") == "9 bytes that are no text"
    assert excerpt(b"") == ""
    assert "\x1b" not in excerpt(b"\x1b[31mred")


def test_a_url_is_shown_without_what_may_be_secret() -> None:
    shown = shown_url("https://user:pass@crm.example:8443/calls/1?hapikey=s3cret&id=+34911888920&hapikey=2#part")
    assert shown == "https://crm.example:8443/calls/1?hapikey=…&id=…"
    assert shown_url("http://[::1/") == "…"


def test_headers_are_shown_with_the_values_that_are_known_to_be_harmless() -> None:
    shown = shown_headers({"Authorization": "Bearer x", "X-Api-Key": "k", "Content-Type": "text/plain", "Cookie": "c"})
    assert shown == {"Authorization": "…", "X-Api-Key": "…", "Content-Type": "text/plain", "Cookie": "…"}
