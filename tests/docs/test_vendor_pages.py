"""What the vendors' pages print and no other test decodes, as they print it. Source: docs/vendors.md."""

from typing import Final

import pytest

from hub.events import identity
from tests.vendors.focalscope.support import API_GUID, SAMPLES, decoded as decoded_focalscope
from tests.vendors.infocaller.samples import filled_json
from tests.vendors.infocaller.support import CALL_ID, decoded, refusal

# The example URLs, the second one broken over two lines with a space before the break.
INICIO_URL: Final = "eve=inicio&caller=[_NumLlamante]&num=[_NumInfocaller]&id=[_IdLlamada]"
DESVIO_URL: Final = "eve=desvio&caller=[_NumLlamante]&%20%0Anum=[_NumInfocaller]&id=[_IdLlamada]&desvio=[_NumDesvio]"
PLACEHOLDERS: Final = {
    "[_NumLlamante]": "911888920",
    "[_NumInfocaller]": "123456789",
    "[_IdLlamada]": "98565656",
    "[_NumDesvio]": "911222333",
}

# The Query's request: a comma that nothing follows.
QUERY_REQUEST: Final = """\
{ "ApiCall": {
    "UserID": {
      "LineNumber": "DATO",
      "LineNumberInt": "DATO",
      "CallSequence": "DATO",
      "Signature": "DATO"
    },
    "Infocaller": {
      "CallType": "DATO",
      "CallerNumber": "DATO",
      "InboundNumber": "DATO",
      "InboundNumberInt": "DATO",
      "OutboundNumber": "DATO",
      "idcall": "DATO",
      "QueryName": "DATO",

 },
    "CustVars": {
      "CustVar": [
        { "VarName": "DATO",
          "VarValue": "DATO"
        },
        { "VarName": "DATO",
          "VarValue": "DATO"
        }
      ]
    }
  }
}
"""

# The Query's answer: the same, and two braces missing in the end.
QUERY_ANSWER: Final = """\
{ "ApiCall": {
    "Status": {
      "Result": "DATO",
      "ResultText": "DATO",
    },
    "CustVars": {
      "CustVar": [
        { "VarName": "DATO",
          "VarValue": "DATO"
        },
        { "VarName": "DATO",
          "VarValue": "DATO"
        }
      ]
    }
"""

# The Query's authentication example: CallSequence closed by another tag.
QUERY_USER: Final = """\
<UserID>
    <LineNumber>123456789</LineNumber>
    <LineNumberInt>34123456789</LineNumberInt>
    <CallSequence>98565656</CallSequenc>
    <Signature>ae73e4b16a280726fb2e0e6bfb43902a</Signature>
</UserID>
"""


def replaced(url: str) -> str:
    for placeholder, value in PLACEHOLDERS.items():
        url = url.replace(placeholder, value)
    return url


def test_infocallers_example_urls_name_the_event_the_call_and_the_leg() -> None:
    start, diverted = (decoded(query=replaced(url), event=None) for url in (INICIO_URL, DESVIO_URL))
    assert (start.routing_key, diverted.routing_key) == ("call.infocaller.started", "call.infocaller.answered")
    assert start.subject == diverted.subject == CALL_ID
    assert diverted.data["leg"] == {"role": "agent", "number": "911222333"}
    assert start.data["caller"] == diverted.data["caller"] == {"number": "911888920", "e164": "+34911888920"}


def test_infocallers_example_urls_with_nothing_replaced_say_which_event_and_of_no_call() -> None:
    assert refusal(query=INICIO_URL, event=None) == "identity"
    assert decoded(filled_json(), query=INICIO_URL, event=None).verb == "started"


@pytest.mark.parametrize(
    "name", ["START", "CORRECT_DIVERY", "FAILED DEVICE", "FAILED_DEVICE", "DEVIO_CORRECTO", "Desvio Correcto"]
)
def test_the_pages_translated_and_misspelt_names_are_no_events(name: str) -> None:
    assert refusal(filled_json(), event=name) == "event"


def test_the_querys_sample_is_read_although_nothing_follows_a_comma() -> None:
    data = decoded(filled_json(QUERY_REQUEST), event="inicio").data
    assert data["vendor_ids"] == {"call_sequence": "98565656"}
    assert data["variables"] == {"NUMPEDIDO": "123456789"}


def test_a_sample_without_its_last_braces_is_undecodable() -> None:
    assert refusal(QUERY_ANSWER) == "undecodable"


def test_the_other_sample_with_a_mismatched_tag_is_undecodable() -> None:
    assert refusal(f"<ApiCall>{QUERY_USER}</ApiCall>") == "undecodable"
    mended = QUERY_USER.replace("</CallSequenc>", "</CallSequence>")
    assert decoded(f"<ApiCall>{mended}</ApiCall>").subject == CALL_ID


def test_the_codes_of_focalscopes_samples_say_what_their_names_say() -> None:
    for sample in SAMPLES:
        named = decoded_focalscope(sample)
        coded = decoded_focalscope("&".join(part for part in sample.split("&") if not part.startswith("Event=")))
        assert (coded.verb, coded.subject) == (named.verb, named.subject)


def test_focalscopes_samples_flag_a_recording_on_both_hangups_and_say_nothing_on_pickups() -> None:
    assert [decoded_focalscope(sample).data.get("recorded") for sample in SAMPLES] == [None, None, True, True]


def test_a_user_id_tells_two_agents_apart_where_there_is_no_extension() -> None:
    query = f"Event=hangup&CallType=Incoming&Guid={API_GUID}"
    first, second = decoded_focalscope(f"{query}&UserID=1"), decoded_focalscope(f"{query}&UserID=2")
    assert first.subject == second.subject == identity("focalscope", "desk", "", API_GUID)
    assert first.id != second.id
