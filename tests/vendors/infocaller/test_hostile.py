"""Whatever comes, it becomes an event or is unusable; quickly, and without a look at file or network."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings, strategies as st

from hub.errors import Unusable
from hub.events import to_event, to_message
from tests.servers.ports import free_port, release_port
from tests.vendors.infocaller.encodings import BOUNDARY, as_json, encoded
from tests.vendors.infocaller.samples import filled_json, filled_xml
from tests.vendors.infocaller.support import call, callback, decoded, infocaller

MEBIBYTE = 1 << 20
VENDOR = infocaller()
BOUND = 500
_ORDINARY = 100
_CALLBACK = filled_json().encode()


def cost(body: bytes, query: str = "") -> float:
    """How many ordinary callbacks take as much of the processor, in the best of five looks at a shared machine."""
    looks = []
    for _ in range(5):
        looks.append(seconds(lambda: survives(body, query)) / (seconds(ordinary) / _ORDINARY))
        if looks[-1] < BOUND / 2:
            break
    return min(looks)


def ordinary() -> None:
    for _ in range(_ORDINARY):
        survives(_CALLBACK)


def seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def survives(body: bytes, query: str = "", content_type: str = "", event: str | None = "fin") -> None:
    try:
        (event_,) = VENDOR.decode(callback(body, query=query, content_type=content_type, event=event))
    except Unusable:
        return
    assert to_event(to_message(event_)).id == event_.id


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"{", b"<", b"--a\n", b"apiInfocaller=", b"<ApiCall "]),
    st.text(max_size=60),
)
def test_random_bytes_are_an_event_or_unusable(body: bytes, start: bytes, text: str) -> None:
    survives(start + body)
    survives(b"", query=text, event=None)
    survives(body, query=text, content_type=text, event=text)


_VALID = [
    body for _, _, body in encoded(call({"CallType": "R", "CallerNumber": "911", "CostRX": "0.1"}, Extra={"Ñ": "&"}))
]
_VALID += [filled_json().encode(), filled_xml().encode(), f"apiInfocaller={quote_plus(filled_json())}".encode()]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(_VALID), st.data())
def test_a_mutilated_body_is_an_event_or_unusable(body: bytes, data: st.DataObject) -> None:
    mutated = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated)))
        end = data.draw(st.integers(at, min(len(mutated), at + 8)))
        mutated[at:end] = data.draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b'"', b"<", b">", b"&", b"%", b",", b"\\", b"}"]))
        )
    survives(bytes(mutated), content_type=f"multipart/form-data; boundary={BOUNDARY}")


_scalars = st.none() | st.booleans() | st.floats() | st.integers() | st.text()
_names = st.sampled_from(["Event", "Events", "CustVar", "EventType"]) | st.text()
_anything = st.recursive(_scalars, lambda inner: st.lists(inner) | st.dictionaries(_names, inner), max_leaves=20)


@settings(max_examples=100, deadline=None)
@given(_anything, st.sampled_from(["Infocaller", "Status", "CustVars", "UserID", "Other"]))
def test_any_json_in_any_section_is_an_event_or_unusable(value: object, section: str) -> None:
    survives(json.dumps({"ApiCall": {**call(), section: value}}).encode())


def bombs() -> Iterator[tuple[str, bytes]]:
    laughs = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
    start, end = '{"ApiCall": {"A": ', "}}"
    yield "billion laughs", f'<!DOCTYPE ApiCall [<!ENTITY l0 "ha">{laughs}]><ApiCall><A>&l9;</A></ApiCall>'.encode()
    yield (
        "quadratic blow-up",
        f'<!DOCTYPE ApiCall [<!ENTITY a "{"a" * 50_000}">]><ApiCall>{"&a;" * 50_000}</ApiCall>'.encode(),
    )
    yield "deep json", b'{"ApiCall":' * 100_000
    yield "deep json list", b"[" * MEBIBYTE
    yield "deep xml", b"<ApiCall>" + b"<a>" * 100_000
    yield "deep xml, closed", b"<ApiCall>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</ApiCall>"
    yield "attribute of a mebibyte", b'<ApiCall a="' + b"x" * MEBIBYTE + b'"/>'
    yield "open attribute of a mebibyte", b'<ApiCall encoding="' + b"x" * MEBIBYTE
    yield "spaces of a mebibyte", b"<ApiCall" + b" " * MEBIBYTE + b"encoding"
    yield "encoding after encoding", b"<ApiCall" + b" encoding='" * (MEBIBYTE // 11) + b">"
    yield "namespace after namespace", b"<ApiCall" + b' xmlns="' * (MEBIBYTE // 8)
    yield "comments", b"<!---->" * (MEBIBYTE // 8)
    yield "open comments", b"<!--" * (MEBIBYTE // 4)
    yield "one long number", (start + "9" * MEBIBYTE + end).encode()
    yield "escaped quotes", (start + '"' + '\\"' * (MEBIBYTE // 2)).encode()
    yield "open quotes", (start + '"' * MEBIBYTE).encode()
    yield "commas", (start + "," * MEBIBYTE).encode()
    yield "comma and spaces", (start + "," + " " * MEBIBYTE).encode()
    yield "percent signs", b"apiInfocaller=" + b"%" * MEBIBYTE
    yield "broken escapes", b"apiInfocaller=%F1" + b"%ZZ" * (MEBIBYTE // 3)
    yield "escapes", b"apiInfocaller=%7B" + b"%25%F1" * (MEBIBYTE // 6)
    yield "form fields", b"a&" * (MEBIBYTE // 2)
    yield "spaces in a name", b"&" + b"+" * MEBIBYTE
    yield "the variable again and again", b"apiInfocaller=a&" * (MEBIBYTE // 16)
    yield "parts", b"--a\n" * (MEBIBYTE // 4)
    yield "parts with the name", b"--a\napiInfocaller\n" * (MEBIBYTE // 18)
    yield "one part of dispositions", b"--a\n" + b"content-disposition:" * (MEBIBYTE // 20) + b"apiInfocaller"
    yield "one part of semicolons", b"--a\ncontent-disposition:" + b"; " * (MEBIBYTE // 2) + b"apiInfocaller"
    yield "one part of blank lines", b"--a\ncontent-disposition:;" + b"\r\n " * (MEBIBYTE // 3) + b"apiInfocaller"


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in bombs()])
def test_a_bomb_costs_less_than_five_hundred_callbacks(body: bytes) -> None:
    assert cost(body) < BOUND


@pytest.mark.parametrize(
    "query", ["id=1&" * 6000, "%" * 32_000, "a=1&a=2&" * 4000, "+" * 32_000, "caller=" + "+" * 32_000, "[" * 32_000]
)
def test_a_long_query_string_costs_less_than_five_hundred_callbacks(query: str) -> None:
    assert cost(b"", query) < BOUND


def test_an_external_entity_is_never_looked_at() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as canary:
        canary.setblocking(False)
        for system in ("file:///etc/passwd", f"http://127.0.0.1:{port}/x"):
            body = f'<!DOCTYPE ApiCall [<!ENTITY x SYSTEM "{system}">]><ApiCall><A>&x;</A></ApiCall>'
            with pytest.raises(Unusable, match="DOCTYPE"):
                VENDOR.decode(callback(body))
        with pytest.raises(BlockingIOError):
            canary.accept()
    release_port(port)


def test_long_values_are_not_remembered() -> None:
    long = "9" * 100_000
    sections = call({"CallerNumber": long, "StartDate": long, "CallSeconds": long, "CostRX": long})
    assert decoded(as_json(sections)).data["caller"] == {"number": long}


def test_a_refusal_never_repeats_the_signature_or_the_password() -> None:
    forged = as_json({"UserID": {"LineNumber": "123456789", "CallSequence": "1", "Signature": "c0ffee"}})
    with pytest.raises(Unusable) as refused:
        VENDOR.decode(callback(forged))
    assert "c0ffee" not in str(refused.value)
    assert "3956" not in str(refused.value)
