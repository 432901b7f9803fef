"""What a call record promises, whatever becomes of its events on the way."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from random import Random

import orjson
import pytest
from hypothesis import given, settings, strategies as st

from hub.calls import Folded, Timing, applies, fold, reseals, reused, seal, sealed_event
from hub.events import Event
from tests.unit.lives import (
    BASE,
    FOCALSCOPE,
    INFOCALLER,
    call_action,
    diverted,
    event,
    fin,
    info,
    issued,
    leg,
)

TIMING = Timing(settle=5, gap_after=30, longest=14400)

TWO_FAILED_THEN_ANSWERED = [
    info("started", 0, caller={"number": "911888920", "e164": "+34911888920"}),
    diverted("missed", 10, "911000001"),
    diverted("missed", 20, "911000002"),
    diverted("answered", 30, "911222333"),
    info("started", 1, caller={"number": "911888921"}),  # disagrees with the first
    fin(70, call_action("911000001", 0), call_action("911000002", 0), call_action("911222333", 37)),
    fin(71, call_action("911222333", 36), duration_seconds=43),
]
DIALLED = [
    leg("agent", "started", 0),
    leg("agent", "answered", 5, agent={"name": "Kasper", "extension": "1001"}),
    leg("customer", "started", 6),
    leg("customer", "answered", 12),
    leg("customer", "hangup", 50),
    leg("agent", "hangup", 51, agent={"name": "Kasper", "extension": "1001"}),
]
MISSED_BY_CUSTOMER = [
    leg("agent", "answered", 5),
    leg("customer", "hangup", 20),
    leg("customer", "missed", 21),
    leg("agent", "hangup", 22),
]
TWO_AGENTS = [
    leg("incoming", "started", 0, request=""),
    leg("incoming", "hangup", 20, request="", agent={"extension": "1001"}),
    leg("incoming", "missed", 21, request="", agent={"extension": "1001"}),
    leg("incoming", "answered", 25, request="", agent={"extension": "1002"}),
    leg("incoming", "hangup", 60, request="", agent={"extension": "1002"}),
]
WITHOUT_NUMBERS = [
    info("started", 0),
    info("missed", 5, leg={"role": "agent"}),
    info("answered", 15, leg={"role": "agent"}),
    diverted("missed", 10, "911000001"),
    fin(60, call_action("911000001", 0), call_action("911000002", 0), call_action("911222333", 37)),
]
LIVES = {
    "infocaller": (TWO_FAILED_THEN_ANSWERED, INFOCALLER),
    "dialled": (DIALLED, FOCALSCOPE),
    "missed by the customer": (MISSED_BY_CUSTOMER, FOCALSCOPE),
    "two agents in turn": (TWO_AGENTS, FOCALSCOPE),
    "diversions without a number": (WITHOUT_NUMBERS, INFOCALLER),
}


def folded(events: Sequence[Event], expected: frozenset[str] | None = None) -> Folded:
    return fold(events, expected or (INFOCALLER if events[0].vendor == "infocaller" else FOCALSCOPE), TIMING)


def record_bytes(events: Sequence[Event], expected: frozenset[str]) -> bytes:
    return orjson.dumps(fold(events, expected, TIMING).record)


# --- order and repetition --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIVES)
def test_every_order_of_a_calls_events_gives_the_same_bytes(name: str) -> None:
    events, expected = LIVES[name]
    whole = fold(events, expected, TIMING)
    for order in permutations(events):
        assert fold(order, expected, TIMING) == whole
    assert len({record_bytes(order, expected) for order in list(permutations(events))[::50]}) == 1


@pytest.mark.parametrize("name", LIVES)
def test_in_every_order_the_state_never_goes_back(name: str) -> None:
    events, expected = LIVES[name]
    ended: dict[frozenset[str], bool] = {}
    for order in permutations(events):
        before = False
        for cut in range(1, len(order) + 1):
            known = frozenset(one.id for one in order[:cut])
            if known not in ended:
                ended[known] = fold(order[:cut], expected, TIMING).record["state"] == "ended"
            assert ended[known] or not before, [one.verb for one in order[:cut]]
            before = ended[known]


@pytest.mark.parametrize("name", LIVES)
def test_repetition_changes_nothing(name: str) -> None:
    events, expected = LIVES[name]
    assert record_bytes([*events, *events, events[0]], expected) == record_bytes(events, expected)


_VERBS = {
    "infocaller": ("started", "answered", "missed", "ended"),
    "focalscope": ("started", "answered", "missed", "hangup"),
}


@st.composite
def _some_events(draw: st.DrawFn) -> list[Event]:
    vendor = draw(st.sampled_from(sorted(_VERBS)))
    events = []
    for _ in range(draw(st.integers(1, 14))):
        verb = draw(st.sampled_from(_VERBS[vendor]))
        at = draw(st.integers(0, 40))
        if vendor == "focalscope":
            role = draw(st.sampled_from(["agent", "customer", "incoming"]))
            agent = {"extension": draw(st.sampled_from(["1001", "1002"]))}
            events.append(leg(role, verb, at, request=draw(st.sampled_from(["513"])), agent=agent))
        elif verb == "ended":
            numbers = draw(st.lists(st.sampled_from(["911000001", "911000002", "+34911000001"]), max_size=3))
            events.append(fin(at, *(call_action(number, draw(st.integers(0, 40))) for number in numbers)))
        elif verb == "started":
            events.append(info(verb, at, variables={"A": draw(st.sampled_from("12"))}))
        else:
            events.append(diverted(verb, at, draw(st.sampled_from(["911000001", "911000002"]))))
    return events


@given(_some_events(), st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_any_events_in_any_order_give_the_same_bytes(events: list[Event], rng: Random) -> None:
    expected = INFOCALLER if events[0].vendor == "infocaller" else FOCALSCOPE
    shuffled = [*events, *rng.sample(events, rng.randint(0, len(events)))]
    rng.shuffle(shuffled)
    assert record_bytes(shuffled, expected) == record_bytes(events, expected)


@given(_some_events())
@settings(max_examples=200, deadline=None)
def test_the_revision_counts_distinct_events(events: list[Event]) -> None:
    assert folded(events).record["revision"] == len({one.id for one in events})


def test_of_two_events_that_disagree_the_one_received_first_stands_and_the_conflict_is_counted() -> None:
    result = folded(TWO_FAILED_THEN_ANSWERED)
    assert result.record["caller"] == {"number": "911888920", "e164": "+34911888920"}
    assert result.record["duration_seconds"] == 42
    assert result.conflicts == 3  # the caller, the duration, the actions


def test_a_later_event_may_add_to_a_party_what_an_earlier_one_left_out() -> None:
    result = folded(
        [
            info("started", 0, caller={"number": "911888920"}),
            fin(9, caller={"number": "911888920", "e164": "+34911888920"}),
        ]
    )
    assert result.record["caller"] == {"number": "911888920", "e164": "+34911888920"}
    assert result.conflicts == 0


def test_variables_are_those_of_the_furthest_stage() -> None:
    started = info("started", 5, variables={"A": "1", "ONLY": "x"})
    result = folded([fin(0, variables={"A": "2"}), started])
    assert result.record["variables"] == {"A": "2", "ONLY": "x"}
    assert result.conflicts == 0


# --- Infocaller ------------------------------------------------------------------------------------------------------


def test_legs_follow_the_actions_of_the_end_in_their_order() -> None:
    legs = folded(TWO_FAILED_THEN_ANSWERED).record["legs"]
    assert [(one["number"], one["state"]) for one in legs] == [
        ("911000001", "missed"),
        ("911000002", "missed"),
        ("911222333", "ended"),
    ]
    assert legs[2]["duration_seconds"] == 37
    assert legs[2]["answered_at"] == "2026-11-20T09:00:30.000Z"


def test_legs_follow_the_diversion_events_before_the_end() -> None:
    record = folded(
        [info("started", 0), diverted("missed", 5, "911000001"), diverted("answered", 9, "911222333")]
    ).record
    assert [(one["number"], one["state"]) for one in record["legs"]] == [
        ("911000001", "missed"),
        ("911222333", "answered"),
    ]
    assert (record["state"], record["disposition"]) == ("in_progress", "answered")


def test_a_number_that_the_end_does_not_list_keeps_its_leg() -> None:
    record = folded([diverted("missed", 5, "911000009"), fin(30, call_action("911222333", 37))]).record
    assert [(one["number"], one["state"]) for one in record["legs"]] == [
        ("911222333", "ended"),
        ("911000009", "missed"),
    ]


def test_two_failures_of_one_number_count_once_and_the_end_completes_the_legs() -> None:
    events = [
        info("started", 0),
        diverted("missed", 5, "911000001"),
        fin(30, call_action("911000001", 0), call_action("911000001", 0)),
    ]
    record = folded(events).record
    assert [one["state"] for one in record["legs"]] == ["missed", "missed"]
    assert record["disposition"] == "no_answer"


def test_a_number_that_first_missed_and_then_answered_has_both_legs() -> None:
    events = [
        diverted("missed", 5, "911000001"),
        diverted("answered", 15, "911000001"),
        fin(30, call_action("911000001", 0), call_action("911000001", 12)),
    ]
    assert [one["state"] for one in folded(events).record["legs"]] == ["missed", "ended"]


def nameless(verb: str, second: float) -> Event:
    """A diversion whose URL has no ``desvio``: nothing says which number it was."""
    return info(verb, second, leg={"role": "agent"})


def test_diversions_that_say_no_number_are_those_that_the_end_lists() -> None:
    events = [
        info("started", 0),
        nameless("missed", 5),
        nameless("answered", 15),
        fin(60, call_action("911000001", 0), call_action("911222333", 37)),
    ]
    result = folded(events)
    legs = [(one["number"], one["state"], one.get("answered_at")) for one in result.record["legs"]]
    assert legs == [("911000001", "missed", None), ("911222333", "ended", "2026-11-20T09:00:15.000Z")]
    assert (result.verdict, result.record["disposition"]) == ("complete", "answered")


def test_a_diversion_that_says_no_number_is_of_the_action_that_no_other_event_told_of() -> None:
    events = [
        info("started", 0),
        nameless("answered", 5),
        diverted("answered", 20, "911222333"),
        fin(60, call_action("911000001", 3), call_action("911222333", 37)),
    ]
    legs = folded(events).record["legs"]
    assert [(one["number"], one["answered_at"][-9:-5]) for one in legs] == [
        ("911000001", "0:05"),
        ("911222333", "0:20"),
    ]


def test_a_failure_that_says_no_number_is_of_no_action_that_talked() -> None:
    record = folded([nameless("missed", 5), fin(30, call_action("911222333", 37))]).record
    assert [(one.get("number"), one["state"]) for one in record["legs"]] == [("911222333", "ended"), (None, "missed")]
    assert (record["disposition"], record["talk_seconds"]) == ("answered", 37)


def test_an_action_that_talked_is_answered_although_its_event_was_lost() -> None:
    result = folded([info("started", 0), fin(30, call_action("911222333", 37))])
    assert result.record["disposition"] == "answered"
    assert (result.verdict, result.missing) == ("inferred", ("answered",))


@pytest.mark.parametrize(
    ("events", "disposition"),
    [
        ([info("started", 0)], "unknown"),
        ([info("started", 0), fin(9)], "answered"),
        ([info("started", 0), diverted("missed", 5, "911000001")], "no_answer"),
        ([info("started", 0), fin(9, call_action("911000001", 0))], "no_answer"),
        ([info("started", 0), diverted("answered", 5, "911000001")], "answered"),
        ([issued("started", 0)], "answered"),
        ([issued("ended", 9)], "no_answer"),
        ([issued("ended", 9), issued("started", 10)], "answered"),
    ],
)
def test_the_disposition_of_an_infocaller_call(events: list[Event], disposition: str) -> None:
    assert folded(events).record["disposition"] == disposition


@pytest.mark.parametrize(
    ("events", "expected", "wait", "verdict", "missing"),
    [
        ([info("started", 0)], INFOCALLER, 14400, "gap", ("ended",)),
        ([info("started", 0), fin(9)], INFOCALLER, 5, "complete", ()),
        ([fin(9)], INFOCALLER, 30, "inferred", ("started",)),
        ([fin(9)], frozenset({"ended"}), 5, "complete", ()),
        ([issued("ended", 9)], INFOCALLER, 5, "complete", ()),
        (
            [issued("ended", 9), issued("answered", 5, leg={"role": "agent", "number": "911"})],
            INFOCALLER,
            30,
            "inferred",
            ("started",),
        ),
        ([info("started", 0), fin(9, call_action("911000001", 0))], INFOCALLER, 5, "complete", ()),
        (
            [
                info("started", 0),
                diverted("answered", 8, "911000002"),
                fin(9, call_action("911000001", 0), call_action("911000002", 3)),
            ],
            INFOCALLER,
            30,
            "inferred",
            ("missed",),
        ),
        ([diverted("answered", 8, "911000002")], INFOCALLER, 14400, "gap", ("started", "ended")),
    ],
)
def test_the_verdict_on_an_infocaller_call(
    events: list[Event], expected: frozenset[str], wait: float, verdict: str, missing: tuple[str, ...]
) -> None:
    result = fold(events, expected, TIMING)
    assert (result.wait, result.verdict, result.missing) == (wait, verdict, missing)


# --- FocalScope ------------------------------------------------------------------------------------------------------


def test_a_dialled_call_that_both_answered() -> None:
    result = folded(DIALLED)
    record = result.record
    assert (record["state"], record["disposition"], result.verdict, result.wait) == ("ended", "answered", "complete", 5)
    assert (record["duration_seconds"], record["talk_seconds"]) == (51, 38)
    assert [(one["role"], one["state"]) for one in record["legs"]] == [("agent", "ended"), ("customer", "ended")]
    assert record["vendor_ids"] == {"request_id": "513"}
    assert record["agent"] == {"name": "Kasper", "extension": "1001"}


@pytest.mark.parametrize(
    ("events", "disposition", "state", "wait", "verdict"),
    [
        # hangup is not the end of a call, and does not mean that it was answered
        ([leg("agent", "answered", 1), leg("agent", "hangup", 9)], "unknown", "in_progress", 14400, "gap"),
        ([leg("agent", "hangup", 9)], "failed", "in_progress", 30, "gap"),
        ([leg("agent", "hangup", 9), leg("agent", "missed", 9)], "failed", "ended", 5, "complete"),
        ([leg("agent", "missed", 9)], "failed", "ended", 30, "inferred"),
        (MISSED_BY_CUSTOMER, "no_answer", "ended", 5, "complete"),
        (
            MISSED_BY_CUSTOMER[1:],
            "no_answer",
            "ended",
            30,
            "inferred",
        ),  # a customer's leg shows that the agent picked up
        (DIALLED[:5], "answered", "in_progress", 14400, "gap"),
        (DIALLED[:4], "answered", "in_progress", 14400, "gap"),
        (DIALLED[:2], "unknown", "in_progress", 14400, "gap"),
        (DIALLED[2:5], "answered", "in_progress", 30, "gap"),  # nothing of the agent's leg
    ],
)
def test_a_dialled_call_so_far(events: list[Event], disposition: str, state: str, wait: float, verdict: str) -> None:
    result = folded(events)
    assert (result.record["disposition"], result.record["state"], result.wait, result.verdict) == (
        disposition,
        state,
        wait,
        verdict,
    )


def test_a_call_that_was_not_dialled_waits_for_another_agent() -> None:
    first = folded(TWO_AGENTS[:3])
    assert (first.record["disposition"], first.wait, first.verdict) == ("no_answer", 30, "complete")
    live = folded(TWO_AGENTS[:4])
    assert (live.record["disposition"], live.wait) == ("answered", 14400)
    over = folded(TWO_AGENTS)
    assert (over.record["disposition"], over.wait, over.verdict) == ("answered", 30, "complete")
    assert over.record["agent"] == {"extension": "1002"}


def test_start_is_never_required() -> None:
    assert folded([one for one in DIALLED if one.verb != "started"]).verdict == "complete"


def test_a_leg_that_is_named_by_its_short_id_here_and_its_long_one_there_is_one_leg() -> None:
    short = leg("agent", "hangup", 9)
    short = event(
        "focalscope",
        "hangup",
        9,
        "513",
        leg={"id": "1000000087849", "role": "agent"},
        vendor_ids={"request_id": "513", "call_id": "1000000087849"},
    )
    assert len(folded([leg("agent", "answered", 1), short]).record["legs"]) == 1


def test_a_new_leg_long_after_the_calls_last_event_is_another_calls() -> None:
    late = leg("agent", "answered", 20000, number=50)
    assert reused(DIALLED, late, TIMING)
    assert not reused(DIALLED, leg("agent", "answered", 100, number=50), TIMING)
    assert not reused(DIALLED, leg("agent", "hangup", 20000), TIMING)  # of a leg that is known
    assert not reused([], late, TIMING)


# --- sealing, recordings, what applies -------------------------------------------------------------------------------


def test_a_sealed_record_is_over_and_carries_its_verdict() -> None:
    result = folded([info("started", 0)])
    record = seal(result, BASE)
    assert record["state"] == "ended"
    assert record["sealed"] == {"at": "2026-11-20T09:00:00.000Z", "verdict": "gap", "missing": ["ended"]}
    made = sealed_event(record, BASE)
    assert (made.routing_key, made.data, made.id) == (
        "call.infocaller.sealed",
        record,
        sealed_event(record, BASE + timedelta(1)).id,
    )
    assert not applies(made)


def test_polled_records_are_sealed_at_once() -> None:
    polled = event("infocu5", "ended", 0, origin="poll", times={"talk_seconds": 7})
    result = fold([polled], frozenset({"ended"}), TIMING)
    assert (result.wait, result.verdict, result.record["disposition"]) == (0, "complete", "answered")


def recording(verb: str, at: float, **fields: object) -> Event:
    call = DIALLED[0]
    data = {"recording_id": "r1", "call_id": call.subject, **fields}
    return Event(f"{verb}{at}", "recording", "focalscope", verb, "s", BASE + timedelta(seconds=at), data, call.subject)


def test_recordings_change_the_record_and_never_reseal() -> None:
    events = [
        *DIALLED,
        recording("stored", 90, sha256="ab", bytes=7),
        recording("available", 80),
        recording("failed", 95),
    ]
    record = folded(events).record
    assert record["recordings"] == [{"id": "r1", "state": "stored", "sha256": "ab", "bytes": 7}]
    assert record["revision"] == len(events)
    assert applies(events[-1])
    assert not reseals(events[-1])
    assert reseals(DIALLED[0])
