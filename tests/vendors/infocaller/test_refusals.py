"""Which event of which call a callback is, who signed it, and why some become none."""

import json
from typing import Any

import pytest

from hub.events import identity
from tests.vendors.infocaller.encodings import as_json
from tests.vendors.infocaller.samples import filled_json
from tests.vendors.infocaller.support import CALL_ID, UUID, decoded, infocaller, refusal, user

# --- which event -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("inicio", "started"),
        ("desvio_correcto", "answered"),
        ("desvio", "answered"),
        ("desvio_fallido", "missed"),
        ("fin", "ended"),
        ("FIN", "ended"),
        ("Desvio_Correcto", "answered"),
    ],
)
def test_the_path_names_the_event_and_so_does_eve(name: str, verb: str) -> None:
    assert decoded(filled_json(), event=name, query="eve=inicio").verb == verb
    assert decoded(filled_json(), event=None, query=f"+eve=&%65ve=+{name}+&eve={name.lower()}").verb == verb


@pytest.mark.parametrize(
    ("event", "query"),
    [
        (None, ""),
        (None, "eve="),
        (None, "eve=[_Evento]"),
        (None, "eve=ringing"),
        (None, "eve=fin&eve=inicio"),
        (None, "EVE=fin"),
        ("start", "eve=fin"),
        ("", ""),
    ],
)
def test_no_unknown_or_contradictory_event_is_unusable(event: str | None, query: str) -> None:
    assert refusal(filled_json(), event=event, query=query) == "event"


# --- the order of the reasons ----------------------------------------------------------------------------------------

BROKEN = "{"
FORGED = as_json({"UserID": {**user(), "Signature": "0" * 32}})
NAMELESS = as_json({"UserID": user(sequence="")})


def test_event_comes_before_undecodable_before_signature_before_identity() -> None:
    assert refusal(BROKEN, event="x") == "event"
    assert refusal(FORGED, event="x") == "event"
    assert refusal(BROKEN, query="id=1&id=2") == "undecodable"
    assert refusal(FORGED, query="id=1&id=2") == "signature"
    assert refusal(filled_json(), query="id=1&id=2") == "identity"
    assert refusal(NAMELESS) == "identity"


def test_where_bad_signatures_are_refused_the_signature_comes_first_if_it_can_be_read() -> None:
    strict = infocaller(refuse_bad_signature=True, require_signature=True)
    assert refusal(FORGED, event="x", vendor=strict) == "signature"
    assert refusal("", event="x", vendor=strict) == "signature"
    assert refusal(BROKEN, event="x", vendor=strict) == "event"
    assert refusal(BROKEN, vendor=strict) == "undecodable"
    assert refusal(filled_json(), event="x", vendor=strict) == "event"
    assert decoded(filled_json(), vendor=strict).verb == "ended"


# --- who signed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "section",
    [
        None,
        {"CallSequence": "98565656"},
        {"LineNumber": "123456789", "CallSequence": "98565656"},
        {**user(), "Signature": user()["Signature"][:-1]},
        {**user(), "Signature": user()["Signature"] + "0"},
        {**user(), "CallSequence": "98565657"},
        {**user(), "Signature": "ñ" * 32},
        {**user(), "Signature": "€\ud800"},
        {**user(), "Signature": {"a": "b"}},
        user(line="987654321"),
        user(line="€", password=""),
        user(password=""),
    ],
)
def test_a_signature_that_is_not_one_of_the_lines_is_unusable(section: dict[str, Any] | None) -> None:
    assert refusal(json.dumps({"ApiCall": {"UserID": section}})) == "signature"


def test_upper_case_hex_and_every_line_of_the_source_are_accepted() -> None:
    two = infocaller(lines={"123456789": "3956", "900": "contraseña"})
    signed = user()
    assert (
        decoded(as_json({"UserID": {**signed, "Signature": signed["Signature"].upper()}}), vendor=two).verb == "ended"
    )
    assert decoded(as_json({"UserID": user("900", "1", "contraseña")}), vendor=two).verb == "ended"
    assert refusal(as_json({"UserID": user("900", "1", "3956")}), vendor=two) == "signature"


def test_url_variables_alone_are_accepted_unless_a_signature_is_required() -> None:
    query = "num=123456789&id=7"
    assert decoded(b" \r\n", query=query).verb == "ended"
    assert refusal(b" \r\n", query=query, vendor=infocaller(require_signature=True)) == "signature"


# --- which call ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "parts"),
    [
        ("num=900805089&id=7", ("900805089", "7")),
        (f"num=900805089&id=7&uuid={UUID}", ("900805089", "7")),
        (f"num=900805089&uuid={UUID}", ("900805089", UUID)),
        (f"num=900805089&id=[_IdLlamada]&uuid={UUID}", ("900805089", UUID)),
        ("num=900805089&id=&id=7&id=7", ("900805089", "7")),
        ("id=7", ("123456789", "7")),
        (f"uuid={UUID}&num=%5B_NumInfocaller%5D", ("123456789", UUID)),
    ],
)
def test_url_variables_identify_a_call(query: str, parts: tuple[str, str]) -> None:
    assert decoded(query=query).subject == identity("infocaller", "line-900", *parts)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "num=900805089",
        "caller=911888920",
        "num=1&id=7&id=8",
        "num=1&num=2&id=7",
        "num=1&id=7&uuid=a&uuid=b",
        "ID=7&num=1",
    ],
)
def test_without_an_unambiguous_identity_a_callback_is_unusable(query: str) -> None:
    assert refusal(query=query) == "identity"


def test_without_num_a_source_of_several_lines_cannot_tell_which_it_was() -> None:
    assert refusal(query="id=7", vendor=infocaller(lines={"1": "a", "2": "b"})) == "identity"
    assert refusal(query="id=7", vendor=infocaller(lines={})) == "identity"


def test_the_body_identifies_the_call_where_there_is_one() -> None:
    assert decoded(filled_json(), query="num=900805089&id=7").subject == CALL_ID
