"""Every scenario is what the hub reads it to be, and the same for ever."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from hashlib import sha256
from itertools import pairwise, permutations
from json import loads

import phonenumbers
import pytest

from hub.calls import Timing, applies, fold
from hub.errors import ConfigurationError
from hub.simulator.call import Call
from hub.simulator.dice import Dice
from hub.simulator.people import caller, geographic, mobile
from hub.simulator.scenarios import SCENARIOS, calls, select, stream
from hub.vendors.ucontact.callbacks import EVENTS
from tests.simulator.support import TARGET, decoded, made, told

VERBS = {
    "inbound-answered": ["started", "answered", "ended"],
    "inbound-two-failed-then-answered": ["started", "missed", "missed", "answered", "ended"],
    "inbound-abandoned": ["started", "ended"],
    "outbound-issued": ["started", "answered", "ended"],
    "outbound-unanswered": ["ended"],
    "ivr-variables": ["started", "ended"],
    "sms-and-email": ["started", "missed", "ended"],
    "hidden-caller": ["started", "answered", "ended"],
    "click-to-dial-answered": ["answered", "answered", "hangup", "hangup"],
    "agent-missed": ["hangup", "missed"],
    "customer-missed": ["answered", "hangup", "missed", "hangup"],
    "both-recorded": ["answered", "answered", "hangup", "hangup"],
    "inbound-answered-queue": ["answered", "hangup"],
    "inbound-missed-then-answered": ["hangup", "missed", "answered", "hangup"],
    "interaction-finished": ["ended"],
    "interaction-categorised": ["ended", "dispositioned"],
    "interaction-rung-in-vain": ["missed", "missed", "ended"],
    "interaction-in-a-shift": ["ended", "dispositioned"],
}
EXPECTED = {
    "infocaller": frozenset({"started", "answered", "missed", "ended"}),
    "focalscope": frozenset({"started", "answered", "missed", "hangup"}),
    "ucontact": frozenset({"ended"}),
}
GOLDEN = "008d9542de46b36149dea6dcec8b9ade8924d109ba8a37dd12bb1c3e06f6cb3d"


def digest(made_: Iterable[Call]) -> str:
    everything = sha256()
    for call in made_:
        everything.update(repr((call.key, call.source, call.scenario)).encode())
        for request in call.requests:
            parts = (request.at, request.method, request.path, request.query, request.content_type, request.body)
            everything.update(repr(parts).encode())
    return everything.hexdigest()


def test_the_same_seed_gives_the_same_bytes_for_ever() -> None:
    assert digest(made(count=280)) == GOLDEN


def test_another_seed_gives_another_week() -> None:
    one, other = made(seed=1, count=140), made(seed=2, count=140)
    assert not {call.key for call in one} & {call.key for call in other}


def test_a_call_is_the_same_whatever_is_played_beside_it() -> None:
    alone = made("ivr-variables", count=30)
    everything = made(count=30)
    place = list(SCENARIOS).index("ivr-variables")
    assert everything[place] == alone[place]
    assert made(count=30) == made(count=60)[:30]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_decodes_to_its_life_cycle(scenario: str) -> None:
    whole = SCENARIOS[scenario].vendor != "focalscope"
    for call, every in told(made(scenario, count=60)):
        assert len({event.id for event in every}) == len(every)
        events = [event for event in every if applies(event)]
        assert {event.subject for event in events} == {call.key}
        verbs = [event.verb for event in events]
        assert (verbs if whole else [verb for verb in verbs if verb != "started"]) == VERBS[scenario]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_comes_to_its_disposition_without_a_gap_or_a_conflict(scenario: str) -> None:
    for call, events in told(made(scenario, count=40)):
        folded = fold([event for event in events if applies(event)], EXPECTED[call.vendor], Timing())
        assert folded.record["disposition"] == SCENARIOS[scenario].disposition
        assert (folded.conflicts, folded.verdict, folded.missing) == (0, "complete", ())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_two_events_of_a_call_disagree_whatever_their_order(scenario: str) -> None:
    for call in made(scenario, count=4):
        for order in permutations(request for request in call.requests if applies(decoded(call, request))):
            events = [decoded(call, request, after=float(after)) for after, request in enumerate(order)]
            assert fold(events, EXPECTED[call.vendor], Timing()).conflicts == 0


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_requests_are_in_the_order_of_their_times(scenario: str) -> None:
    for call in made(scenario, count=40):
        assert all(0 < one.at < other.at for one, other in pairwise(call.requests))


def test_a_shift_has_every_webhook_that_ucontacts_pages_name() -> None:
    played = {
        loads(request.body)["event"]
        for call in made("interaction-in-a-shift", "interaction-categorised", count=40)
        for request in call.requests
    }
    assert played == EVENTS.keys()
    for _, events in told(made("interaction-in-a-shift", count=5)):
        beside = [event.routing_key for event in events if not applies(event)]
        assert beside == [
            "agent.ucontact.login",
            "call.ucontact.missed",
            "agent.ucontact.break_started",
            "agent.ucontact.break_ended",
            "agent.ucontact.assigned",
            "interaction.ucontact.ended",
            "agent.ucontact.logout",
        ]


def test_a_hidden_caller_has_no_number() -> None:
    for _, events in told(made("hidden-caller", count=20)):
        assert all(event.data["caller"] == {"withheld": True} for event in events)


def test_issued_calls_name_their_destination_and_their_request() -> None:
    for _, events in told(made("outbound-issued", "outbound-unanswered", count=40)):
        for event in events:
            assert event.data["direction"] == "outbound"
            assert "e164" in event.data["callee"]
            assert event.data["vendor_ids"]["idcall"]


def test_an_abandoned_call_lists_an_attempt_of_no_seconds() -> None:
    for _, events in told(made("inbound-abandoned", count=20)):
        (rung,) = [action for action in events[-1].data["actions"] if action["code"] == 2]
        assert rung["duration_seconds"] == 0


def test_a_script_collects_variables_with_accents_and_reserved_characters() -> None:
    seen = set()
    for _, events in told(made("ivr-variables", count=120)):
        actions = {action["code"] for action in events[-1].data["actions"]}
        assert actions >= {4, 6, 17, 18}
        variables = events[-1].data["variables"]
        assert variables.keys() == {"NUMPEDIDO", "OPCION", "PEDIDO", "CLIENTE"}
        seen.add(variables["CLIENTE"])
    assert {"Muñoz & Hijos", 'Peluquería "Añil"', "Joaquín <Quino> Sáez", "L'Hospitalet Envíos"} <= seen


def test_messages_cost_what_they_cost() -> None:
    for _, events in told(made("sms-and-email", count=20)):
        amounts = {action["code"]: action.get("amount") for action in events[-1].data["actions"]}
        assert amounts.keys() >= {11, 12}
        assert amounts[12] > "0.000000"


def test_recorded_calls_say_so_on_both_legs() -> None:
    for _, events in told(made("both-recorded", count=20)):
        assert [event.data.get("recorded") for event in events if event.verb == "hangup"] == [True, True]
        assert not any("recorded" in event.data for event in events if event.verb != "hangup")


def test_two_agents_share_one_incoming_call() -> None:
    for _, events in told(made("inbound-missed-then-answered", count=20)):
        assert len({event.data["agent"]["extension"] for event in events}) == 2
        assert len({event.data["leg"]["id"] for event in events}) == 1


def test_every_way_of_writing_a_callback_is_played() -> None:
    written = Counter(
        (
            "json" if b"{" in request.body or b"%7B" in request.body else "xml",
            request.content_type.partition(";")[0],
            "latin" if b"%F3" in request.body or b"\xf3" in request.body else "other",
        )
        for call in made("infocaller", count=400)
        for request in call.requests
    )
    kinds = {"application/x-www-form-urlencoded", "multipart/form-data"}
    assert {(form, kind, "latin") for form in ("json", "xml") for kind in kinds} <= written.keys()
    assert {("json", "application/json", "other"), ("xml", "text/xml", "other"), ("xml", "", "other")} <= written.keys()
    bodies = b"".join(request.body for call in made("infocaller", count=400) for request in call.requests)
    for slip in ("encoding=”".encode(), b'" ISO-8559-1"', b"&apos;", b'"CostRX": 0.'):
        assert slip in bodies


def test_numbers_exist_in_the_spanish_plan() -> None:
    dice = Dice("numbers")
    for number in (make(dice) for make in (caller, geographic, mobile) for _ in range(1500)):
        assert phonenumbers.is_valid_number(phonenumbers.parse(number, "ES")), number


def test_calls_take_place_in_office_hours_of_the_week_that_was_asked_for() -> None:
    week = calls(["inbound-answered"], seed=1, count=50, target=TARGET, base=date(2025, 3, 3))
    for call in week:
        started = decoded(call, call.requests[-1]).data["started_at"]
        assert "2025-03-03T08" <= started < "2025-03-07T19"


def test_groups_stand_for_their_scenarios_each_once() -> None:
    assert select(["all"]) == select(["infocaller", "focalscope", "ucontact"]) == list(SCENARIOS)
    assert select(["all"], {"infocaller"}) == select(["infocaller", "focalscope"])
    assert select(["agent-missed", "focalscope", "agent-missed"])[0] == "agent-missed"
    assert len(select(["agent-missed", "focalscope"])) == 6


def test_an_unknown_scenario_is_named_with_those_that_are_known() -> None:
    with pytest.raises(ConfigurationError, match=r"'nonsense'.*all.*hidden-caller"):
        select(["nonsense"])


def test_a_scenario_without_a_source_of_its_vendor_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="vendor = 'focalscope'"):
        calls(["all"], seed=1, count=1, target=TARGET[:2])


def test_the_calls_of_a_vendor_are_shared_by_its_sources() -> None:
    shares = Counter(call.source for call in made("infocaller", count=200))
    assert shares.keys() == {"line-900", "line-902"}
    assert min(shares.values()) > 70


def test_calls_go_to_another_country_with_its_prefix() -> None:
    target = [replace(TARGET[0], country="PT")]
    (call,) = calls(["inbound-answered"], seed=3, count=1, target=target)
    assert b"351900805089" in call.requests[0].body


def test_the_stream_is_ascending_and_overlaps_its_calls() -> None:
    week = made(count=80)
    steps = list(stream(week, apart=1.0))
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert Counter(step.call.key for step in steps) == {call.key: len(call.requests) for call in week}
    assert all(step.request is step.call.requests[step.ordinal] and not step.marks for step in steps)
    assert any(one.call.key != other.call.key for one, other in pairwise(steps))
