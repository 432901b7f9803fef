"""uContact's event webhooks: the samples of its pages, what nobody printed, and what cannot be used."""

import json
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from hub.errors import Unusable
from hub.events import Event, event_identity, identity, to_event, to_message
from hub.ports import Callback
from hub.vendors.ucontact.callbacks import EVENTS, UContactEvents

RECEIVED: Final = datetime(2026, 11, 20, 9, 15, 31, 204000, tzinfo=UTC)
GUID: Final = "824da669-2239-46f2-98c7-1a8cafa34701"
CALL_ID: Final = identity("ucontact", "cloud", GUID)
READER: Final = UContactEvents(source="cloud", country="ES", dispositions={"No contesta": "no_answer"})

RING: Final = (
    '{"event":"AgentRingNoAnswer","date":"2023-48-13 06:48:51","agent":"agentTest","agentNumber":"9999",'
    '"agentFullName":"Agente Test","callerIdNum":"1234","campaign":"Demo<-"}'
)
LOGIN: Final = '{"event":"AgentLog","date":"2023-16-13 05:16:22","agent":"agentTest","isLogin":true}'
LOGOFF: Final = '{"event":"AgentLog","date":"2023-16-13 15:18:43","agent":"agentTest","isLogin":false}'
BREAK: Final = '{"event":"AgentBreak","date":"2023-52-13 04:52:57","agent":"AgentTest","motive":"Lunch","isBreak":true}'
UNBREAK: Final = (
    '{"event":"AgentBreak","date":"2023-52-13 05:52:00","agent":"agentTest","motive":"Lunch","isBreak":false}'
)


def decoded(body: str | bytes | dict[str, Any], reader: UContactEvents = READER, **more: Any) -> Event:
    raw = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
    kind = more.pop("content_type", "application/json")
    (event,) = reader.decode(Callback("cloud", None, "", kind, raw, more.pop("at", RECEIVED)))
    return event


def of_a_call(event: str = "FinishInteraction", **more: Any) -> dict[str, Any]:
    return {"event": event, "date": "2023-48-13 06:48:51", "guid": GUID, **more}


# --- the pages' samples ----------------------------------------------------------------------------------------------


def test_an_agent_who_does_not_answer_is_a_missed_call_that_nothing_names() -> None:
    event = decoded(RING)
    assert (event.routing_key, event.subject, event.time) == ("call.ucontact.missed", None, RECEIVED)
    assert event.data == {
        "vendor": "ucontact",
        "source": "cloud",
        "event": "missed",
        "origin": "callback",
        "received_at": "2026-11-20T09:15:31.204Z",
        "agent": {"name": "agentTest", "extension": "9999"},
        "campaign": "Demo<-",
        "caller": {"number": "1234"},
        "vendor_data": json.loads(RING),
    }
    assert to_event(to_message(event)) == event


@pytest.mark.parametrize(
    ("sample", "key"),
    [
        (LOGIN, "agent.ucontact.login"),
        (LOGOFF, "agent.ucontact.logout"),
        (BREAK, "agent.ucontact.break_started"),
        (UNBREAK, "agent.ucontact.break_ended"),
    ],
)
def test_what_an_agent_does_is_an_event_without_a_call(sample: str, key: str) -> None:
    event = decoded(sample)
    assert (event.routing_key, event.subject, "call_id" in event.data, event.unknown) == (key, None, False, ())
    assert event.data["agent"]["name"].lower() == "agenttest"
    assert event.data.get("motive") == ("Lunch" if "Break" in sample else None)


def test_the_malformed_date_is_kept_as_it_came_and_is_nobodys_time() -> None:
    for sample in (RING, LOGIN, BREAK):
        event = decoded(sample)
        assert "occurred_at" not in event.data
        assert event.time == RECEIVED
        assert event.data["vendor_data"]["date"] == json.loads(sample)["date"]
    assert decoded(of_a_call(date=None)).data["vendor_data"]["date"] is None


# --- calls -----------------------------------------------------------------------------------------------------------


def test_an_interactions_guid_names_its_call() -> None:
    ended = decoded(of_a_call(campaign="Demo<-", agent="agentTest"))
    assert (ended.routing_key, ended.subject) == ("call.ucontact.ended", CALL_ID)
    assert ended.data["vendor_ids"] == {"guid": GUID}
    assert (ended.data["campaign"], ended.data["agent"]) == ("Demo<-", {"name": "agentTest"})
    assert decoded({**json.loads(RING), "guid": f" {GUID} "}).subject == CALL_ID


@pytest.mark.parametrize("name", ["InteractionDisposition", "Disposition", "SentDisposition", "sentdisposition "])
def test_a_disposition_is_told_under_each_of_its_names_and_says_how_the_call_went_where_that_is_configured(
    name: str,
) -> None:
    event = decoded(of_a_call(name, disposition="no contesta", agent="agentTest"))
    assert (event.routing_key, event.subject) == ("call.ucontact.dispositioned", CALL_ID)
    assert (event.data["category"], event.data["disposition"]) == ("no contesta", "no_answer")
    assert "disposition" not in decoded(of_a_call(name, disposition="Venta")).data


def test_an_assignment_belongs_to_its_call_and_is_not_of_its_record() -> None:
    event = decoded(of_a_call("AssignInteraction", agent="agentTest"))
    assert (event.routing_key, event.subject) == ("agent.ucontact.assigned", CALL_ID)


@pytest.mark.parametrize("channel", ["webchat", "SMS", "e-mail", "WhatsApp"])
def test_what_is_no_telephony_makes_no_call(channel: str) -> None:
    event = decoded(of_a_call(channel=channel))
    assert (event.routing_key, event.subject, "call_id" in event.data) == ("interaction.ucontact.ended", None, False)
    for telephony in ("telephony", "Voice", "", "something new"):
        assert decoded(of_a_call(channel=telephony)).routing_key == "call.ucontact.ended"


def test_names_of_the_vendors_tables_and_what_a_form_adds_are_understood() -> None:
    dialer = {"campaign": "POWER<-", "contact": "8821", "dialebase": "june", "data": "idcustomer=7"}
    for more in (
        {"contactId": 8821, "dialerList": "june", "data": "idcustomer=7"},
        {"ParAndValues": "idcustomer=7", "Dialer": dialer},
        {"cti": dialer},
    ):
        data = decoded(of_a_call(**more)).data
        assert (data["contact"], data["list"], data["variables"]) == ("8821", "june", {"idcustomer": "7"})


def test_calls_of_an_instance_whose_recordings_are_fetched_are_recorded() -> None:
    reader = UContactEvents(source="cloud", recorded=True)
    assert decoded(of_a_call(), reader).data["recorded"] is True
    assert "recorded" not in decoded(of_a_call("Disposition"), reader).data
    assert "recorded" not in decoded(of_a_call()).data


# --- identity --------------------------------------------------------------------------------------------------------


def test_the_same_webhook_twice_is_one_event_and_another_content_is_another() -> None:
    one = decoded(of_a_call(agent="agentTest"))
    again = decoded(json.dumps(of_a_call(agent="agentTest"), indent=2), at=datetime(2026, 11, 21, tzinfo=UTC))
    assert again.id == one.id
    assert decoded(of_a_call(agent="another")).id != one.id
    assert one.id == event_identity(CALL_ID, "ended", "agentTest/", ["call", one.data["vendor_data"], {}])


def test_events_without_a_call_are_told_apart_by_instance_and_content() -> None:
    assert decoded(LOGIN).id == decoded(LOGIN).id
    ids = {decoded(one).id for one in (LOGIN, LOGOFF, BREAK, UNBREAK, RING)}
    assert len(ids) == 5
    assert decoded(LOGIN, UContactEvents(source="other")).id not in ids


# --- what is unknown -------------------------------------------------------------------------------------------------


def test_unknown_fields_are_kept_and_counted_and_never_a_reason_to_refuse() -> None:
    event = decoded(of_a_call(colour="red", nested={"a": [1, 1.5, None, True]}, big=12345678901234567890))
    assert event.unknown == ("field", "field", "field")
    assert event.data["vendor_data"]["nested"] == {"a": [1, "1.5", None, True]}
    assert event.data["vendor_data"]["big"] == "12345678901234567890"
    assert to_event(to_message(event)).data == event.data


@pytest.mark.parametrize("value", [None, "maybe", 7, [], {}])
def test_a_flag_that_says_neither_leaves_the_verb_vague(value: Any) -> None:
    assert decoded({"event": "AgentLog", "agent": "a", "isLogin": value}).verb == "log"
    assert decoded({"event": "AgentBreak", "agent": "a", "isBreak": value}).verb == "break"
    assert decoded({"event": "AgentBreak", "agent": "a", "isBreak": "FALSE"}).verb == "break_ended"


def test_variables_of_the_url_are_kept_beside_the_body() -> None:
    raw = json.dumps(of_a_call()).encode()
    [event] = READER.decode(Callback("cloud", None, "team=a&team=b&x=%00", "application/json", raw, RECEIVED))
    assert event.data["vendor_data"]["query"] == {"team": ["a", "b"], "x": ""}
    assert event.id != decoded(of_a_call()).id


def test_slips_of_spelling_and_encoding_change_nothing() -> None:
    plain = decoded(of_a_call(agent="Begoña"))
    for body in (
        b"\xef\xbb\xbf" + json.dumps(of_a_call(agent="Begoña"), ensure_ascii=False).encode(),
        json.dumps(of_a_call(agent="Begoña"), ensure_ascii=False).encode("iso-8859-1"),
        json.dumps(of_a_call(agent="Begoña"))[:-1] + ",}",
    ):
        assert decoded(body, content_type="text/plain").id == plain.id


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "event"),
        ("{}", "event"),
        ('{"event": ""}', "event"),
        ('{"event": 7, "guid": "1"}', "event"),
        ('{"event": "CallStarted", "guid": "1"}', "event"),
        ("[]", "undecodable"),
        ('"FinishInteraction"', "undecodable"),
        ("event=FinishInteraction&guid=1", "undecodable"),
        ('{"event": "FinishInteraction", ', "undecodable"),
        ("[" * 5000, "undecodable"),
        ('{"event": "AgentLog", "x": ' + "[" * 100 + "]" * 100 + "}", "undecodable"),
        ('{"event": "FinishInteraction"}', "identity"),
        ('{"event": "Disposition", "guid": " "}', "identity"),
        ('{"event": "SentDisposition", "guid": {"a": 1}}', "identity"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_reason(body: str, reason: str) -> None:
    with pytest.raises(Unusable) as caught:
        decoded(body)
    assert caught.value.reason == reason


@given(
    st.dictionaries(
        st.sampled_from(["guid", "agent", "campaign", "channel", "data", "Dialer", "disposition", "x\ud800"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("\ud800\0"),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
            max_leaves=4,
        ),
    ),
    st.sampled_from(sorted(EVENTS)),
)
def test_whatever_a_stranger_sends_is_an_event_that_can_be_kept_or_unusable(said: dict[str, Any], name: str) -> None:
    try:
        event = decoded(json.dumps({"event": name, **said}))
    except Unusable:
        return
    assert "\0" not in event.body.decode()
    assert to_event(to_message(event)).data == event.data
