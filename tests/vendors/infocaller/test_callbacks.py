"""What an event says, and why a callback becomes none."""

import json
from datetime import timedelta
from typing import Any

import pytest

from hub.events import identity, timestamp, to_event, to_message
from hub.ports import Vendor
from hub.vendors.infocaller.callbacks import Infocaller
from tests.vendors.infocaller.encodings import as_json, as_xml
from tests.vendors.infocaller.samples import (
    FILLED,
    JSON_PAGE,
    JSON_USER_PAGE,
    XML_PAGE,
    XML_QUERY_PAGE,
    XML_USER_PAGE,
    filled_json,
    filled_xml,
)
from tests.vendors.infocaller.support import CALL_ID, RECEIVED, UUID, call, callback, decoded, infocaller, refusal


def said(sections: dict[str, Any], **request: Any) -> dict[str, Any]:
    return decoded(as_json(sections), **request).data


# --- the vendor's own pages ------------------------------------------------------------------------------------------


def test_the_vendors_json_becomes_the_contracts_event() -> None:
    query = f"id=555&uuid={UUID}&caller=911888920&num=123456789&called=900805089"
    event = decoded(filled_json(), query=query)
    assert event.data == {
        "call_id": CALL_ID,
        "vendor": "infocaller",
        "source": "line-900",
        "event": "ended",
        "origin": "callback",
        "occurred_at": "2022-01-01T09:00:42.000Z",
        "received_at": "2022-01-01T09:00:43.204Z",
        "direction": "inbound",
        "caller": {"number": "911888920", "e164": "+34911888920"},
        "line": {"number": "900805089", "e164": "+34900805089"},
        "started_at": "2022-01-01T09:00:00.000Z",
        "ended_at": "2022-01-01T09:00:42.000Z",
        "duration_seconds": 42,
        "cost": {"received": "0.120000", "issued": "0.000000"},
        "actions": 2
        * [
            {
                "code": 2,
                "name": "call",
                "at": "2022-01-01T09:00:05.000Z",
                "label": "911222333",
                "duration_seconds": 37,
                "amount": "0.050000",
                "info": ["", "", "37", "0.05", ""],
            }
        ],
        "variables": {"NUMPEDIDO": "123456789"},
        "vendor_ids": {"call_sequence": "98565656", "id_llamada": "555", "uuid": UUID},
        "vendor_data": event.data["vendor_data"],
    }


def test_every_field_that_the_vendor_sent_is_kept_under_its_own_name() -> None:
    sent = json.loads(filled_json())["ApiCall"]
    sent["Infocaller"]["Novelty"] = "7"
    sent["Sección"] = {"Campo": ["a", "b"]}
    kept = decoded(json.dumps({"ApiCall": sent, "Version": 3}), query="num=123456789&agencia=Pe%F1a&x=").data[
        "vendor_data"
    ]
    assert kept["Infocaller"] == {
        **sent["Infocaller"],
        "CostRX": "0.12",
        "CostTX": "0.0",
    }
    assert kept["UserID"] == {name: FILLED[name] for name in ("LineNumber", "LineNumberInt", "CallSequence")}
    assert kept["Status"]["Events"]["Event"][0]["EventAddInfo4"] == "0.05"
    assert kept["CustVars"]["CustVar"] == 2 * [{"VarName": "NUMPEDIDO", "VarValue": "123456789"}]
    assert kept["Sección"] == {"Campo": ["a", "b"]}
    assert kept["Version"] == "3"
    assert (kept["num"], kept["agencia"]) == ("123456789", "Peña")


def test_the_signature_is_nowhere_in_the_event() -> None:
    event = decoded(filled_json())
    assert FILLED["Signature"].encode() not in event.body


def test_the_vendors_xml_says_the_same_as_its_json() -> None:
    values = {**FILLED, "CallerNumberInt": "34911888920"}
    page = JSON_PAGE.replace('"InboundNumber":', '"CallerNumberInt": "34911888920",\n      "InboundNumber":')
    once = json.loads(filled_json(page))
    for path, name in ((once["ApiCall"]["Status"]["Events"], "Event"), (once["ApiCall"]["CustVars"], "CustVar")):
        path[name] = path[name][:1]  # the XML page prints one of each
    xml, from_json = decoded(filled_xml(values=values)), decoded(json.dumps(once))
    assert {**xml.data, "vendor_data": 0} == {**from_json.data, "vendor_data": 0}
    assert xml.id == from_json.id


def test_the_xml_as_printed_is_undecodable_for_its_mismatched_tag() -> None:
    assert refusal(XML_PAGE) == "undecodable"


def test_the_worked_example_is_signed_with_the_pages_password() -> None:
    data = decoded(XML_QUERY_PAGE, event="inicio").data
    assert data["variables"] == {"NUMPEDIDO": "123456789"}
    assert data["vendor_data"]["Infocaller"]["QueryName"] == "ESTADO PEDIDO"
    assert data["caller"] == {"number": "911888920", "e164": "+34911888920"}


def test_the_line_is_the_same_whether_its_international_form_has_the_prefix_or_not() -> None:
    xml, in_json = decoded(f"<ApiCall>{XML_USER_PAGE}</ApiCall>"), decoded(f'{{"ApiCall": {{{JSON_USER_PAGE}}}}}')
    assert xml.data["line"] == in_json.data["line"] == {"number": "123456789", "e164": "+34123456789"}


def test_an_event_survives_the_wire() -> None:
    event = decoded(filled_json())
    assert to_event(to_message(event)) == event
    assert (event.routing_key, event.subject) == ("call.infocaller.ended", CALL_ID)


def test_it_is_a_vendor() -> None:
    vendor: Vendor = infocaller()
    assert len(vendor.decode(callback(filled_json()))) == 1


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", ["X", "x", " X "])
def test_a_hidden_caller_has_no_number(hidden: str) -> None:
    assert said(call({"CallerNumber": hidden, "CallerNumberInt": "34911888920"}))["caller"] == {"withheld": True}
    assert decoded(query=f"id=1&caller={hidden.strip()}").data["caller"] == {"withheld": True}


def test_the_urls_caller_stands_in_for_the_bodys() -> None:
    assert said(call(), query="caller=+34911888920")["caller"] == {"number": "+34911888920", "e164": "+34911888920"}
    assert said(call({"CallerNumber": "X"}), query="caller=911888920")["caller"] == {"withheld": True}
    assert "caller" not in said(call(), query="caller=1&caller=2")
    assert "caller" not in said(call(), query="caller=[_NumLlamante]")


def test_a_received_calls_line_is_the_number_that_was_called() -> None:
    data = said(call({"CallType": "R", "InboundNumber": "900805089", "OutboundNumber": "600111222"}))
    assert data["line"] == {"number": "900805089", "e164": "+34900805089"}
    assert data["direction"] == "inbound"
    assert "callee" not in data


def test_an_issued_calls_line_is_the_number_it_comes_from_and_its_callee_the_one_it_goes_to() -> None:
    sections = {
        "CallType": "e",
        "CallerNumber": "911888920",
        "CallerNumberInt": "34911888920",
        "OutboundNumber": "600111222",
        "idcall": "31",
    }
    data = said(call(sections))
    assert data["direction"] == "outbound"
    assert data["caller"] == data["line"] == {"number": "911888920", "e164": "+34911888920"}
    assert data["callee"] == {"number": "600111222", "e164": "+34600111222"}
    assert data["vendor_ids"]["idcall"] == "31"


def test_without_its_own_number_a_calls_line_is_the_main_one() -> None:
    assert said(call({"CallType": "R"}))["line"] == {"number": "123456789"}
    assert said(call({"InboundNumber": "900805089"}))["line"] == {"number": "123456789"}
    assert decoded(query="num=900805089&id=1").data["line"] == {"number": "900805089", "e164": "+34900805089"}
    assert decoded(query="num=900805089&id=1&called=911000111").data["line"]["number"] == "911000111"
    assert "line" not in decoded(query="id=1").data


def test_a_number_that_is_no_number_is_kept_as_it_came() -> None:
    assert said(call({"CallerNumber": "Anonymous-900805089"}))["caller"] == {"number": "Anonymous-900805089"}


# --- legs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["desvio", "desvio_correcto", "desvio_fallido"])
def test_a_diversions_leg_is_the_agent_with_the_urls_number(event: str) -> None:
    assert said(call(), event=event, query="desvio=911222333")["leg"] == {"role": "agent", "number": "911222333"}
    assert said(call(), event=event)["leg"] == {"role": "agent"}
    assert said(call(), event=event, query="desvio=1&desvio=2")["leg"] == {"role": "agent"}


@pytest.mark.parametrize("event", ["inicio", "fin"])
def test_start_and_end_are_of_no_leg(event: str) -> None:
    data = said(call(), event=event, query="desvio=911222333")
    assert "leg" not in data
    assert data["vendor_data"]["desvio"] == "911222333"


def test_contradicting_variables_are_kept_and_believed_in_none_of_their_values() -> None:
    data = said(call(), event="desvio", query="desvio=1&desvio=2&desvio=&desvio=1&x=3")
    assert (data["vendor_data"]["desvio"], data["vendor_data"]["x"]) == (["1", "2", "", "1"], "3")


# --- times and quantities --------------------------------------------------------------------------------------------


def test_only_a_time_that_the_vendor_stated_is_when_it_occurred() -> None:
    dates = {"StartDate": "2022-01-01T10:00:00", "EndDate": "2022-01-01T10:00:42"}
    assert said(call(dates), event="inicio")["occurred_at"] == "2022-01-01T09:00:00.000Z"
    assert said(call(dates), event="fin")["occurred_at"] == "2022-01-01T09:00:42.000Z"
    assert "occurred_at" not in said(call(dates), event="desvio", query="desvio=1")
    assert "occurred_at" not in said(call({"StartDate": "2022-01-01T10:00:00"}), event="fin")
    assert "occurred_at" not in said(call({"EndDate": "0000-00-00T00:00:00"}), event="fin")


def test_the_events_time_is_when_it_occurred_else_when_it_came() -> None:
    event = decoded(filled_json())
    assert timestamp(event.time) == event.data["occurred_at"]
    assert decoded(query="id=1").time == RECEIVED


def test_the_times_of_a_call_in_the_repeated_hour_agree_with_its_length_and_its_actions_with_both() -> None:
    sections = call(
        {"StartDate": "2026-10-25T01:50:00", "EndDate": "2026-10-25T02:30:00", "CallSeconds": "6000"},
        Status={
            "Events": {"Event": [{"EventType": "2", "EventDate": f"2026-10-25T02:{minute}:00"} for minute in (20, 40)]}
        },
    )
    data = said(sections, received_at=RECEIVED + timedelta(days=3000))
    assert (data["started_at"], data["ended_at"]) == ("2026-10-24T23:50:00.000Z", "2026-10-25T01:30:00.000Z")
    # 02:40 lies before the end only if it is summer's; 02:20 may be either, and the earlier one stands.
    assert [action["at"] for action in data["actions"]] == ["2026-10-25T00:20:00.000Z", "2026-10-25T00:40:00.000Z"]


@pytest.mark.parametrize("seconds", ["", "-1", "4.2", "1e3", "٤٢", "9" * 400, "abc"])
def test_a_length_that_is_no_count_of_seconds_is_absent(seconds: str) -> None:
    assert "duration_seconds" not in said(call({"CallSeconds": seconds}))


def test_a_call_of_no_seconds_lasted_no_seconds() -> None:
    assert said(call({"CallSeconds": "0"}))["duration_seconds"] == 0
    assert decoded(json.dumps({"ApiCall": call({"CallSeconds": 42})})).data["duration_seconds"] == 42


@pytest.mark.parametrize("price", ["", "free", "1.234,56", "NaN", "1e999", "--1", "٣", "1" * 80])
def test_a_malformed_price_is_absent_and_kept(price: str) -> None:
    data = (
        said(call({"CallSeconds": "1"}))
        if not price
        else decoded(as_xml(call({"CostRX": price, "CallSeconds": "1"}))).data
    )
    assert "cost" not in data
    assert data["vendor_data"]["Infocaller"].get("CostRX", "") == price


def test_variables_are_by_name_and_one_without_a_value_is_empty() -> None:
    pairs = [("A", "1"), ("B", ""), ("", "x"), ("C", " a &amp; b &lt;&gt;&quot;&apos;&ntilde; "), ("A", "2")]
    sections = {"CustVar": [{"VarName": name, "VarValue": value} for name, value in pairs]}
    assert said(call(CustVars=sections))["variables"] == {"A": "2", "B": "", "C": "a & b <>\"'&ntilde;"}


def test_what_is_not_known_is_absent() -> None:
    data = decoded(query="id=7").data
    assert data == {
        "call_id": identity("infocaller", "line-900", "123456789", "7"),
        "vendor": "infocaller",
        "source": "line-900",
        "event": "ended",
        "origin": "callback",
        "received_at": "2022-01-01T09:00:43.204Z",
        "vendor_ids": {"id_llamada": "7"},
        "vendor_data": {"id": "7"},
    }


def test_unknown_values_are_no_reason_to_refuse() -> None:
    sections = call(
        {"CallType": "Z", "CallerNumber": {"a": ["b"]}, "StartDate": ["x", "y"]},
        Status={"Events": {"Event": ["what", {"EventType": "ring"}, {"EventType": "99"}]}, "Result": "9"},
        CustVars={"CustVar": ["odd", {"VarName": "N", "VarValue": {"deep": "1"}}]},
    )
    data = decoded(json.dumps({"ApiCall": sections})).data
    assert [(action["code"], action["name"]) for action in data["actions"]] == [("ring", "unknown"), (99, "unknown")]
    assert {"direction", "caller", "variables", "started_at"}.isdisjoint(data)
    assert data["vendor_data"]["Status"] == sections["Status"]


def test_decoding_twice_gives_the_same_event() -> None:
    vendor = infocaller()
    request = callback(filled_json(), query="id=7&num=1")
    assert vendor.decode(request) == vendor.decode(request)


def test_the_settings_are_keyword_only() -> None:
    with pytest.raises(TypeError):
        Infocaller("line-900", {}, "Europe/Madrid", "ES")  # type: ignore[call-arg]
