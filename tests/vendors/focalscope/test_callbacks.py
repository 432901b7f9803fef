"""What FocalScope's callbacks become."""

import pytest

from hub.events import identity
from hub.vendors.focalscope.callbacks import FocalScope
from tests.vendors.focalscope.support import API_GUID, FORM, OUTGOING_GUID, RECEIVED, SAMPLES, decoded


def test_the_pages_samples_are_four_events_of_one_dialled_call() -> None:
    events = [decoded(query) for query in SAMPLES]
    assert {event.subject for event in events} == {identity("focalscope", "desk", "", "513")}
    assert len({event.id for event in events}) == 4
    assert [event.routing_key for event in events] == [
        "call.focalscope.answered",
        "call.focalscope.answered",
        "call.focalscope.hangup",
        "call.focalscope.hangup",
    ]
    assert [event.data["leg"] for event in events] == [
        {"id": API_GUID, "role": "agent"},
        {"id": OUTGOING_GUID, "role": "customer"},
        {"id": OUTGOING_GUID, "role": "customer"},
        {"id": API_GUID, "role": "agent"},
    ]
    assert {event.data["direction"] for event in events} == {"outbound"}


def test_a_sample_becomes_just_the_data_of_the_contract() -> None:
    event = decoded(SAMPLES[2])
    assert event.data == {
        "call_id": identity("focalscope", "desk", "", "513"),
        "vendor": "focalscope",
        "source": "desk",
        "event": "hangup",
        "origin": "callback",
        "received_at": "2026-11-20T09:15:31.204Z",
        "direction": "outbound",
        "leg": {"id": OUTGOING_GUID, "role": "customer"},
        "recorded": True,
        "vendor_ids": {"request_id": "513", "call_id": "1000000087850", "call_uuid": OUTGOING_GUID},
        "vendor_data": {
            "CallType": "Outgoing",
            "Event": "hangup",
            "CallID": "1000000087850",
            "RequestID": "513",
            "EventCode": "1",
            "IsCallRecorded": "1",
            "Guid": OUTGOING_GUID,
        },
    }
    assert event.time == RECEIVED


def test_the_longer_adapter_names_caller_line_agent_and_queue() -> None:
    event = decoded(
        "CallType=Incoming&Event=pickup&CallID=7&Guid=&RequestID=&CallerID=911888920&DID=%2B34900805089&Ext=1001"
        "&Agent=Bego%C3%B1a&UserID=1234&UserName=b&Queue=Ventas&Colour=red"
    )
    data = event.data
    assert data["caller"] == {"number": "911888920", "e164": "+34911888920"}
    assert data["line"] == {"number": "+34900805089", "e164": "+34900805089"}
    assert data["agent"] == {"name": "Begoña", "extension": "1001"}
    assert data["queue"] == "Ventas"
    assert data["direction"] == "inbound"
    assert data["leg"] == {"id": "7", "role": "incoming"}
    assert data["vendor_data"]["Colour"] == "red"
    assert data["vendor_data"]["UserName"] == "b"


def test_a_missed_call_is_a_hangup_and_a_missed_of_one_leg() -> None:
    hangup = decoded(f"CallType=API&Event=hangup&EventCode=1&RequestID=9&Guid={API_GUID}")
    missed = decoded(f"CallType=API&Event=missed&EventCode=3&RequestID=9&Guid={API_GUID}")
    assert (hangup.verb, missed.verb) == ("hangup", "missed")
    assert hangup.subject == missed.subject
    assert hangup.id != missed.id
    assert hangup.data["leg"] == missed.data["leg"]


@pytest.mark.parametrize(
    ("code", "verb"), [("0", "started"), ("1", "hangup"), ("2", "answered"), ("3", "missed"), (" 2 ", "answered")]
)
def test_without_a_name_the_code_says_which_event(code: str, verb: str) -> None:
    assert decoded(f"EventCode={code}&CallID=1").verb == verb
    assert decoded(f"Event=&EventCode={code}&CallID=1").verb == verb
    assert decoded(f"Event={{{{DialApiEventName}}}}&EventCode={code}&CallID=1").verb == verb


@pytest.mark.parametrize("name", ["PICKUP", "Pickup", "%20pickup+"])
def test_an_events_name_is_read_in_any_case(name: str) -> None:
    assert decoded(f"Event={name}&CallID=1").verb == "answered"


def test_the_name_wins_over_a_code_that_disagrees() -> None:
    assert decoded("Event=pickup&EventCode=1&CallID=1").verb == "answered"


def test_names_of_variables_are_read_in_any_case_and_kept_as_sent() -> None:
    event = decoded("event=pickup&%20CALLID+=5&requestid=513")
    assert event.subject == identity("focalscope", "desk", "", "513")
    assert event.data["vendor_data"] == {"event": "pickup", "CALLID": "5", "requestid": "513"}


@pytest.mark.parametrize(
    "request_id", ["0", "007", "-5", "5a", "", "{{DialApiRequestID}}", "%7B%7BDialApiRequestID%7D%7D"]
)
def test_what_is_no_request_id_does_not_identify_a_call(request_id: str) -> None:
    event = decoded(f"Event=pickup&CallType=Incoming&RequestID={request_id}&CallID=7&Guid={API_GUID.upper()}")
    assert event.subject == identity("focalscope", "desk", "", API_GUID)
    assert "request_id" not in event.data["vendor_ids"]
    assert event.data["direction"] == "inbound"


def test_a_request_id_says_that_a_call_of_an_unknown_type_went_out() -> None:
    assert decoded("Event=pickup&RequestID=513").data["direction"] == "outbound"
    assert "direction" not in decoded("Event=pickup&CallID=5&CallType=Internal").data


def test_an_unknown_type_is_a_role_of_its_own_name() -> None:
    assert decoded("Event=pickup&CallID=5&CallType=Internal").data["leg"] == {"id": "5", "role": "internal"}
    assert decoded("Event=pickup&CallID=5").data["leg"] == {"id": "5"}
    assert "leg" not in decoded("Event=pickup&RequestID=5").data


def test_a_guid_is_one_leg_in_either_case() -> None:
    event = decoded(f"Event=pickup&CallID=7&Guid={API_GUID.upper()}")
    assert event.subject == identity("focalscope", "desk", "", API_GUID)
    assert event.data["leg"]["id"] == event.data["vendor_ids"]["call_uuid"] == API_GUID


def test_a_guid_that_is_none_is_taken_in_lower_case() -> None:
    assert decoded("Event=pickup&Guid=Ab-1").subject == identity("focalscope", "desk", "", "ab-1")


def test_the_nil_guid_is_no_guid() -> None:
    event = decoded("Event=pickup&CallID=7&Guid=00000000-0000-0000-0000-000000000000")
    assert event.subject == identity("focalscope", "desk", "", "7")
    assert event.data["vendor_ids"] == {"call_id": "7"}


def test_an_epoch_makes_another_call_of_the_same_request_id() -> None:
    later = FocalScope(source="desk", epoch="2026")
    assert decoded(SAMPLES[0], vendor=later).subject == identity("focalscope", "desk", "2026", "513")


@pytest.mark.parametrize(
    ("flag", "recorded"), [("1", True), ("TRUE", True), ("yes", True), ("0", False), ("False", False), ("no", False)]
)
def test_a_recording_is_flagged(flag: str, *, recorded: bool) -> None:
    assert decoded(f"Event=hangup&CallID=1&IsCallRecorded={flag}").data["recorded"] is recorded


@pytest.mark.parametrize("flag", ["", "maybe", "{{IsCallRecorded}}"])
def test_an_empty_or_unknown_flag_says_nothing_about_a_recording(flag: str) -> None:
    assert "recorded" not in decoded(f"Event=hangup&CallID=1&IsCallRecorded={flag}").data


def test_two_values_of_another_variable_are_kept_and_believed_neither() -> None:
    event = decoded("Event=pickup&CallID=1&Queue=a&Queue=b&Agent=c&agent=d&Ext=1&Ext=1")
    assert "queue" not in event.data
    assert event.data["agent"] == {"extension": "1"}
    assert event.data["vendor_data"]["Queue"] == ["a", "b"]
    assert event.data["vendor_data"]["Agent"] == "c"
    assert event.data["vendor_data"]["agent"] == "d"
    assert event.data["vendor_data"]["Ext"] == "1"


def test_an_unreplaced_placeholder_is_absent_and_kept() -> None:
    event = decoded("Event=pickup&CallID=1&Queue={{LastQueueName}}&Agent=%7B%7BResponderAgent%7D%7D")
    assert "queue" not in event.data
    assert "agent" not in event.data
    assert event.data["vendor_data"]["Queue"] == "{{LastQueueName}}"


def test_a_plus_that_the_url_lost_is_found_again() -> None:
    event = decoded("Event=pickup&CallID=1&CallerID=+34911888920")
    assert event.data["caller"] == {"number": "+34911888920", "e164": "+34911888920"}


def test_a_posted_form_says_the_same_as_the_query() -> None:
    assert decoded("", body=SAMPLES[0].encode(), content_type=f"{FORM}; charset=UTF-8").id == decoded(SAMPLES[0]).id
    half = SAMPLES[0].split("&", 3)
    assert decoded("&".join(half[:3]), body=half[3].encode(), content_type=FORM).id == decoded(SAMPLES[0]).id
    assert decoded(SAMPLES[0], body=SAMPLES[0].encode(), content_type=FORM).id == decoded(SAMPLES[0]).id


def test_two_agents_of_one_leg_hang_up_in_two_events() -> None:
    query = f"Event=hangup&CallType=Incoming&Guid={API_GUID}"
    first, second = decoded(f"{query}&Ext=1001"), decoded(f"{query}&Ext=1002")
    assert first.subject == second.subject
    assert first.id != second.id


def test_the_same_callback_is_the_same_event_however_it_is_encoded() -> None:
    event = decoded("Event=pickup&CallID=1&Agent=Jos%C3%A9")
    for same in (
        "Event=pickup&CallID=1&Agent=Jos%E9",
        "Event=pickup&CallID=1&Agent=José",
        "Agent=Jos%c3%a9&CallID=1&Event=%70ickup",
        "Event=pickup&CallID=1&Agent=Jos%E9%00",
    ):
        assert decoded(same).id == event.id
        assert decoded(same).data == event.data or same.startswith("Agent")
    assert decoded("Event=pickup&CallID=1&Agent=Jose").id != event.id
