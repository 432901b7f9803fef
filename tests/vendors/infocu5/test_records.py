"""INFOCU5's records as events: the vendor's sample, both shapes, and whatever a stranger could send."""

from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson
import pytest
from hypothesis import given, settings, strategies as st

from hub.calls import PROMISED, Timing, fold
from hub.events import Event, identity, moment, to_event, to_message
from hub.vendors.infocu5.records import FIELDS, Reader, Record, read_calls
from tests.vendors.infocu5.samples import CALL, GET_CALLS

NOW: Final = moment("2022-01-01T22:00:00Z")
READER: Final = Reader(source="focu5")


def event(record: Record, reader: Reader = READER, **more: Any) -> Event:
    return reader.event(record, **{"origin": "poll", "received_at": NOW, **more})


def one(details: Any) -> Record:
    found = read_calls(details)
    assert found.unreadable == ()
    [record] = found.records
    return record


def sample(**changed: Any) -> Event:
    return event(one({"_CALL_ID_": CALL | changed}))


def test_the_vendors_sample_is_the_event_that_the_contract_describes() -> None:
    made = event(one(orjson.loads(GET_CALLS)["responseDetails"]))
    call_id = identity("infocu5", "focu5", "_CALL_ID_")
    assert made.routing_key == "call.infocu5.ended"
    assert (made.subject, made.source, made.unknown) == (call_id, "focu5", ())
    assert made.data == {
        "call_id": call_id,
        "vendor": "infocu5",
        "source": "focu5",
        "event": "ended",
        "origin": "poll",
        "occurred_at": "2022-01-01T21:18:46.000Z",
        "received_at": "2022-01-01T22:00:00.000Z",
        "direction": "inbound",
        "caller": {"number": "8885551212", "e164": "+18885551212"},
        "line": {"number": "8885551313", "e164": "+18885551313"},
        "agent": {"name": "Agent Name"},
        "campaign": "Campaign Name",
        "list": "List Name",
        "contact": "Contact Name",
        "started_at": "2022-01-01T20:58:19.000Z",
        "ended_at": "2022-01-01T21:18:46.000Z",
        "duration_seconds": 1227,
        "times": {
            "queue_seconds": 109,
            "talk_seconds": 1447,
            "hold_seconds": 0,
            "handle_seconds": 1117,
            "after_call_seconds": 3,
        },
        "vendor_ids": {"call_id": "_CALL_ID_"},
        "vendor_data": {"callID": "_CALL_ID_", **CALL},
    }
    assert made.time == moment("2022-01-01T21:18:46Z")


def test_the_record_of_the_sample_is_sealed_at_once_complete_and_longer_talked_than_it_lasted() -> None:
    call = fold([sample()], PROMISED["infocu5"], Timing())
    assert (call.wait, call.verdict, call.record["state"], call.record["disposition"]) == (
        0,
        "complete",
        "ended",
        "answered",
    )
    assert (call.record["duration_seconds"], call.record["talk_seconds"]) == (1227, 1447)
    assert fold([sample(callTalkTime="00:00:00")], PROMISED["infocu5"], Timing()).record["disposition"] == "no_answer"


def test_an_array_with_the_id_inside_is_the_same_event_as_an_object_by_id() -> None:
    by_id = event(one({"77": CALL}))
    in_array = event(one([{**CALL, "callID": "77"}]))
    as_number = event(one([{**CALL, "callID": 77}]))
    alone = event(one({**CALL, "callID": "77"}))
    reordered = event(one([dict(reversed([*CALL.items(), ("callID", "77")]))]))
    assert {made.id for made in (by_id, in_array, as_number, alone, reordered)} == {by_id.id}
    assert by_id.data == in_array.data


def test_who_asks_and_when_does_not_change_the_event_and_what_changed_is_another() -> None:
    first = event(one({"77": CALL}))
    later = event(one({"77": CALL}), origin="backfill", received_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert later.id == first.id
    assert (later.data["origin"], first.data["origin"]) == ("backfill", "poll")
    changed = event(one({"77": CALL | {"callTalkTime": "00:24:08"}}))
    assert changed.id != first.id
    assert changed.subject == first.subject
    assert event(one({"77": CALL}), Reader(source="other")).subject != first.subject


def test_an_outbound_call_has_its_line_first_and_its_callee_second() -> None:
    data = sample(callType="Outbound").data
    assert data["direction"] == "outbound"
    assert (data["line"]["e164"], data["callee"]["e164"]) == ("+18885551212", "+18885551313")
    assert "caller" not in data


def test_which_side_the_inbound_number_is_can_be_configured() -> None:
    data = event(one({"77": CALL}), Reader(source="focu5", inbound_is="to")).data
    assert (data["caller"]["number"], data["line"]["number"]) == ("8885551313", "8885551212")


def test_a_call_of_no_known_direction_has_two_ends_and_no_line() -> None:
    made = sample(callType="Internal")
    assert "direction" not in made.data
    assert "line" not in made.data
    assert (made.data["caller"]["number"], made.data["callee"]["number"]) == ("8885551212", "8885551313")
    assert made.unknown == ("value",)


def test_a_national_number_is_read_with_the_sources_country() -> None:
    reader = Reader(source="focu5", country="ES")
    made = event(one({"77": CALL | {"callNumberInbound": "911888920"}}), reader)
    assert made.data["caller"] == {"number": "911888920", "e164": "+34911888920"}


@pytest.mark.parametrize(
    ("date", "read"),
    [
        ("2022-01-01T20:58:19", "2022-01-01T20:58:19.000Z"),  # in GMT, says the page
        ("2022-01-01T15:58:19-05:00", "2022-01-01T20:58:19.000Z"),
        ("2022-01-01 20:58:19", "2022-01-01T20:58:19.000Z"),
        ("yesterday", None),
        ("", None),
        (None, None),
        ("9999-12-31T23:59:59+00:00", None),
        ("2022-01-01T20:58:19" + "0" * 100, None),
    ],
)
def test_a_date_is_read_or_absent_never_invented(date: str | None, read: str | None) -> None:
    assert sample(callDate=date).data.get("started_at") == read


def test_without_a_duration_the_call_has_no_end_that_nobody_stated() -> None:
    made = sample(callTime="a while")
    assert "ended_at" not in made.data
    assert "duration_seconds" not in made.data
    assert made.data["occurred_at"] == "2022-01-01T20:58:19.000Z"
    assert made.unknown == ("value",)
    dateless = sample(callDate="")
    assert "occurred_at" not in dateless.data
    assert dateless.time == NOW


def test_names_are_campaign_and_list_and_their_ids_where_they_have_none() -> None:
    data = sample(callCampaignName="", callListName=None).data
    assert (data["campaign"], data["list"]) == ("_CAMPAIGN_ID_", "_LIST_ID_")


def test_fields_that_the_page_does_not_name_are_kept_and_counted() -> None:
    made = sample(callRecording="yes", callMood=["good"])
    assert made.unknown == ("field", "field")
    assert made.data["vendor_data"]["callMood"] == ["good"]


def test_a_payment_cards_number_is_not_kept_wherever_it_stands() -> None:
    made = sample(leadCCNumber="4111111111111111", lead={"LEADCCNUMBER_1": "4111111111111111", "leadCity": "Reno"})
    assert b"4111111111111111" not in made.body
    assert made.data["vendor_data"]["lead"] == {"leadCity": "Reno"}


@pytest.mark.parametrize("nothing", [None, [], {}])
def test_nothing_found_is_no_record(nothing: Any) -> None:
    assert read_calls(nothing).records == ()
    assert read_calls(nothing).unreadable == ()


def test_what_is_no_record_is_told_and_its_neighbours_are_read() -> None:
    found = read_calls({"1": CALL, "2": "oops", "": CALL, "3": CALL})
    assert [record.call_id for record in found.records] == ["1", "3"]
    assert len(found.unreadable) == 2
    assert read_calls("no").unreadable == ("responseDetails is a JSON str; expected an object or an array",)
    assert len(read_calls([CALL, {**CALL, "callID": True}, {**CALL, "callID": "x" * 256}]).unreadable) == 3


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
RECORDS: Final = st.dictionaries(
    st.sampled_from(sorted(FIELDS - {"callID"})) | st.text(max_size=8),
    JSON
    | st.sampled_from(["2022-01-01T20:58:19+00:00", "9998-12-31T23:59:59Z", "9999:59:59", "Inbound", "8885551212"]),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(fields=RECORDS, call_id=st.text(min_size=1, max_size=10), side=st.sampled_from(["from", "to"]))
def test_whatever_a_record_holds_it_becomes_one_event_that_can_be_published_and_folded(
    fields: dict[str, Any], call_id: str, side: Literal["from", "to"]
) -> None:
    reader = Reader(source="focu5", inbound_is=side)
    found = read_calls({call_id: {name: value for name, value in fields.items() if name != "callID"}})
    if not call_id.replace("\0", "").strip():
        assert found.records == ()
        return
    [record] = found.records
    [inside] = read_calls([{**record.fields}]).records
    made, again = event(record, reader), event(inside, reader)
    assert made.id == again.id
    back = to_event(to_message(made))
    assert (back.id, back.routing_key, back.subject) == (made.id, "call.infocu5.ended", made.subject)
    folded = fold([back], PROMISED["infocu5"], Timing())
    assert (folded.record["state"], folded.wait) == ("ended", 0)
    for name in ("started_at", "ended_at"):
        if name in made.data:
            moment(made.data[name])


@settings(max_examples=200, deadline=None)
@given(details=JSON)
def test_reading_never_fails_whatever_the_answer_holds(details: Any) -> None:
    found = read_calls(details)
    for record in found.records:
        event(record)
