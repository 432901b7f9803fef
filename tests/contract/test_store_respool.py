"""What every store promises as the arbiter of respools: one for each attempt, whoever asks and however often."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from hub.events import Event, identity, timestamp, to_message
from hub.ports.respool import WORKER, Accepted, GivenUp, Postponed, Taken, Unknown
from hub.respooling.planning import Facts, Planned, Refuse, Respool, Send, Verdict, Wait, following, reported
from hub.respooling.rules import Rule, contact_of
from hub.store.sql import SqlStore
from tests.contract.stores import URL, Place, drain
from tests.respooling.support import CONTACT, MOBILE, NOON, planned, record, rule, sealed

RULE: Final = rule(dialer="focu5")
LEASE: Final = 60.0


@pytest.fixture(params=URL)
def place(request: pytest.FixtureRequest) -> Place:
    return Place(request.param, URL[request.param](request))


@pytest.fixture
async def store(place: Place) -> AsyncIterator[SqlStore]:
    async with place.store() as store:
        yield store


def follow(respool: Respool, report: Taken) -> Planned | None:
    return reported(respool.planned, RULE, report.outcome, report.ended_at)


def cause(call: str = "a", *numbers: str, **more: Any) -> Taken:
    """A sealed call that is to be respooled."""
    one = planned(call, *numbers, **more)
    told = record(call, NOON - timedelta(minutes=15))
    told["caller"] = {"e164": one.contact}
    return taken(sealed(told), one)


def report(number: str = CONTACT, at: datetime = NOON, outcome: str = "no_answer", call: str = "r") -> Taken:
    """The dialer's own call."""
    told = record(call, at + timedelta(seconds=30), to=number, source="focu5", vendor="infocu5", disposition=outcome)
    return taken(sealed(told), None)


def taken(event: Event, one: Planned | None) -> Taken:
    told = event.data
    return Taken(
        message=to_message(event),
        call_id=told["call_id"],
        number=contact_of(told) if told["direction"] == "outbound" else None,
        source=told["source"],
        campaign=told.get("campaign"),
        outcome=told["disposition"],
        started_at=datetime.fromisoformat(told["started_at"]),
        ended_at=datetime.fromisoformat(told["ended_at"]),
        planned=one,
    )


def always(verdict: Verdict) -> Callable[[Facts], Verdict]:
    return lambda _: verdict


async def sent(store: SqlStore, now: datetime = NOON) -> Respool:
    """One attempt that is due, up to its intent."""
    [respool] = await store.respools.claim("focu5", "me", now, 1, LEASE)
    send = Send(respool.planned.numbers, now)
    assert await store.respools.decide(respool, always(send), NOON, now, LEASE) == send
    return respool


async def told(store: SqlStore) -> list[tuple[str, int, str | None]]:
    """Verb, attempt and reason of the events derived since."""
    events = [event for event in await drain(store, NOON) if event.noun == "respool"]
    return [(event.verb, event.data["attempt"], event.data.get("reason")) for event in events]


async def state(store: SqlStore, call: str = "a") -> list[tuple[int, str, str | None]]:
    found = await store.respools.of_call(identity("test", call))
    return [(one.planned.attempt, one.state, one.reason) for one in found]


# --- one for each attempt --------------------------------------------------------------------------------------------


async def test_a_cause_that_is_taken_by_many_at_once_is_one_attempt(place: Place) -> None:
    async with place.store() as one, place.store() as other, place.store() as third:
        stores = (one, other, third)
        came = await asyncio.gather(
            *(store.respools.take([cause(), cause("b", MOBILE)], follow, NOON) for store in stores * 4)
        )
        assert sum(took.planned for took in came) == 2
        assert sum(took.events for took in came) == 2
        assert len(await one.respools.waiting(10)) == 2


async def test_what_is_due_is_claimed_by_one_of_many_and_sent_once(place: Place) -> None:
    async with place.store() as one, place.store() as other:
        causes = [cause(str(n), f"+3491188{n:04d}") for n in range(40)]
        await one.respools.take(causes, follow, NOON)
        claims = await asyncio.gather(
            *(store.respools.claim("focu5", f"c{n}", NOON, 7, LEASE) for n, store in enumerate((one, other) * 6))
        )
        claimed = [respool.respool_id for claim in claims for respool in claim]
        assert len(claimed) == len(set(claimed))
        rest = await one.respools.claim("focu5", "rest", NOON, 100, LEASE)
        assert {respool.respool_id for respool in rest}.isdisjoint(claimed)
        assert len(claimed) + len(rest) == 40


async def test_two_dialers_are_given_one_attempt_between_them(store: SqlStore) -> None:
    one, other = cause(), cause("a", dialer="cloud", vendor="ucontact")
    resealed = replace(other, message=replace(other.message, headers={**other.message.headers, "ce-id": "another"}))
    await store.respools.take([one, resealed], follow, NOON)
    claimed = [await store.respools.claim(dialer, "me", NOON, 9, LEASE) for dialer in ("focu5", "cloud")]
    assert sum(map(len, claimed)) == 1


async def test_a_contact_that_waits_already_is_not_planned_once_more(store: SqlStore) -> None:
    await store.respools.take([cause("a")], follow, NOON)
    took = await store.respools.take([cause("b"), cause("c", MOBILE, CONTACT)], follow, NOON)
    assert took.planned == 0
    assert await told(store) == [("refused", 1, "already_planned")] * 2
    elsewhere = cause("d", campaign="2222")
    assert (await store.respools.take([elsewhere], follow, NOON)).planned == 1
    assert await store.respools.open_for(planned("z")) is not None


async def test_an_attempt_that_is_refused_at_once_says_why(store: SqlStore) -> None:
    one = cause()
    assert one.planned is not None
    blocked = replace(one, planned=replace(one.planned, refused="do_not_call"))
    assert (await store.respools.take([blocked], follow, NOON)).planned == 0
    assert await told(store) == [("refused", 1, "do_not_call")]
    assert await store.workload(WORKER) == type(await store.workload(WORKER))(1, 0)


async def test_nothing_is_claimed_before_its_time(store: SqlStore) -> None:
    await store.respools.take([cause(next_at=NOON + timedelta(seconds=1))], follow, NOON)
    assert await store.respools.claim("focu5", "me", NOON, 9, LEASE) == []
    assert await store.respools.next_due("focu5") == NOON + timedelta(seconds=1)
    assert await store.respools.next_due("cloud") is None


# --- deciding --------------------------------------------------------------------------------------------------------


async def test_a_claim_that_is_over_decides_nothing(store: SqlStore) -> None:
    await store.respools.take([cause()], follow, NOON)
    [mine] = await store.respools.claim("focu5", "me", NOON, 1, LEASE)
    later = NOON + timedelta(seconds=LEASE)
    [theirs] = await store.respools.claim("focu5", "they", later, 1, LEASE)
    assert await store.respools.decide(mine, always(Send((CONTACT,), later)), NOON, later, LEASE) is None
    assert await store.respools.decide(theirs, always(Send((CONTACT,), later)), NOON, later, LEASE) is not None


async def test_what_waits_comes_back_then_and_what_is_refused_never(store: SqlStore) -> None:
    await store.respools.take([cause("a"), cause("b", MOBILE)], follow, NOON)
    one, other = sorted(
        await store.respools.claim("focu5", "me", NOON, 2, LEASE), key=lambda found: found.planned.contact
    )
    until = NOON + timedelta(hours=3)
    await store.respools.decide(other, always(Wait(until, "the window is closed")), NOON, NOON, LEASE)
    await store.respools.decide(one, always(Refuse("reached")), NOON, NOON, LEASE)
    assert await store.respools.next_due("focu5") == until
    assert [respool.respool_id for respool in await store.respools.claim("focu5", "x", until, 9, LEASE)] == [
        other.respool_id
    ]
    assert await told(store) == [("refused", 1, "reached")]


async def test_who_was_spoken_with_since_the_cause_is_known_from_every_source_and_direction(store: SqlStore) -> None:
    one = planned("a", CONTACT, MOBILE)
    assert await store.respools.facts(one, NOON) == Facts(None, 0, 0)
    before = _events("early", CONTACT, NOON - timedelta(hours=1))
    missed = _events("missed", CONTACT, NOON - timedelta(minutes=5), answered=False)
    await store.apply([*before, *missed], NOON)
    assert (await store.respools.facts(one, NOON)).reached is None
    await store.apply(_events("spoken", MOBILE, NOON - timedelta(minutes=5)), NOON)
    assert (await store.respools.facts(one, NOON)).reached == identity("spoken")
    own = planned("a", CONTACT, details={"answered": True}, since=NOON - timedelta(hours=1), cause=identity("early"))
    assert (await store.respools.facts(own, NOON)).reached is None


async def test_the_caps_count_what_was_sent_for_the_contact_or_the_number_over_all_rules(store: SqlStore) -> None:
    facts: list[Facts] = []
    for n, numbers in enumerate([(CONTACT,), (MOBILE, CONTACT), (CONTACT, MOBILE)]):
        await store.respools.take([cause(str(n), *numbers, campaign=str(n))], follow, NOON)
        [respool] = await store.respools.claim("focu5", "me", NOON, 1, LEASE)
        now = NOON + timedelta(minutes=n)

        def judge(known: Facts, numbers: tuple[str, ...] = numbers, now: datetime = now) -> Verdict:
            facts.append(known)
            return Send(numbers, now)

        await store.respools.decide(respool, judge, NOON + timedelta(seconds=30), now, LEASE)
        await store.respools.conclude(respool, Accepted(None), now)
    # The second goes to another number of somebody else's, whose alternative the first one's number is.
    assert facts == [Facts(None, 0, 0), Facts(None, 0, 1), Facts(None, 1, 2)]


async def test_two_that_are_about_one_contact_are_decided_one_after_the_other(place: Place) -> None:
    async with place.store() as one, place.store() as other:
        await one.respools.take([cause(str(n), campaign=str(n)) for n in range(8)], follow, NOON)
        claimed = await one.respools.claim("focu5", "me", NOON, 8, LEASE)

        def capped(known: Facts) -> Verdict:
            return Send((CONTACT,), NOON) if known.today < 3 else Refuse("daily_cap")

        verdicts = await asyncio.gather(
            *(
                store.respools.decide(respool, capped, NOON, NOON, LEASE)
                for store, respool in zip((one, other) * 4, claimed, strict=True)
            )
        )
        assert sum(isinstance(verdict, Send) for verdict in verdicts) == 3


# --- what came of it -------------------------------------------------------------------------------------------------


async def test_an_accepted_attempt_is_told_once_with_its_time(store: SqlStore) -> None:
    await store.respools.take([cause()], follow, NOON)
    respool = await sent(store)
    assert await store.respools.conclude(respool, Accepted("77"), NOON)
    assert not await store.respools.conclude(respool, Accepted("77"), NOON)
    assert not await store.respools.conclude(respool, Unknown("late"), NOON)
    [event] = [event for event in await drain(store, NOON) if event.noun == "respool"]
    assert event.routing_key == "respool.infocu5.accepted"
    assert {name: event.data[name] for name in ("contact", "campaign", "cause", "attempt", "at")} == {
        "contact": CONTACT,
        "campaign": "1111",
        "cause": identity("test", "a"),
        "attempt": 1,
        "at": timestamp(NOON),
    }
    assert event.subject == identity("test", "a")
    assert await state(store) == [(1, "accepted", None)]


async def test_what_certainly_was_not_done_is_tried_again_and_counts_for_no_cap(store: SqlStore) -> None:
    await store.respools.take([cause()], follow, NOON)
    respool = await sent(store)
    until = NOON + timedelta(seconds=5)
    assert await store.respools.conclude(respool, Postponed(until, "no connection"), NOON)
    assert (await store.respools.facts(planned(), NOON)).total == 0
    [again] = await store.respools.claim("focu5", "me", until, 1, LEASE)
    assert (again.tries, again.reason, again.intent_at) == (1, "no connection", None)


async def test_what_the_dialer_refuses_is_told_and_becomes_a_dead_letter_and_begins_anew_from_there(
    store: SqlStore,
) -> None:
    await store.respools.take([cause()], follow, NOON)
    await store.respools.conclude(await sent(store), GivenUp("code 100"), NOON)
    assert await told(store) == [("refused", 1, "dialer")]
    assert (await store.workload(WORKER)).waiting == 1
    [dying] = await store.respools.dying(NOON, 9)
    assert (dying.reason, [message.id for message in dying.messages]) == ("dialer: code 100", [cause().message.id])
    await store.respools.buried(dying)
    await store.respools.buried(dying)
    load = await store.workload(WORKER)
    assert (load.settled, load.waiting) == (0, 0)
    assert await store.respools.dying(NOON, 9) == []
    later = NOON + timedelta(hours=1)
    assert (await store.respools.take([cause()], follow, later)).planned == 1
    await store.respools.conclude(await sent(store, later), Accepted(None), later)
    assert await told(store) == [("accepted", 1, None)]
    load = await store.workload(WORKER)
    assert (load.settled, load.waiting) == (1, 0)


async def test_what_was_asked_and_never_answered_for_is_doubtful_and_never_claimed(store: SqlStore) -> None:
    await store.respools.take([cause()], follow, NOON)
    respool = await sent(store)
    assert await store.respools.abandoned(NOON, 9) == []
    later = NOON + timedelta(seconds=LEASE)
    assert [one.respool_id for one in await store.respools.abandoned(later, 9)] == [respool.respool_id]
    assert await store.respools.claim("focu5", "x", later + timedelta(days=9), 9, LEASE) == []
    assert await store.respools.abandoned(later, 9) == []
    assert await store.respools.conclude(respool, Accepted(None), later)  # who asked was slow, and knows
    assert await state(store) == [(1, "accepted", None)]


async def test_a_doubtful_one_is_settled_by_the_call_that_the_dialer_made(store: SqlStore) -> None:
    await store.respools.take([cause()], follow, NOON)
    await store.respools.conclude(await sent(store), Unknown("no answer"), NOON)
    assert await told(store) == []
    assert await store.respools.dying(NOON - timedelta(seconds=1), 9) == []
    came = await store.respools.take([report(outcome="answered")], follow, NOON)
    assert (came.reported, came.planned) == (1, 0)
    assert await told(store) == [("accepted", 1, None)]
    assert await store.respools.dying(NOON + timedelta(days=1), 9) == []


async def test_a_doubtful_one_that_nobody_settles_becomes_a_dead_letter_and_stands_in_nobodys_way(
    store: SqlStore,
) -> None:
    await store.respools.take([cause()], follow, NOON)
    await store.respools.conclude(await sent(store), Unknown("no answer"), NOON)
    [dying] = await store.respools.dying(NOON, 9)
    assert dying.reason == "unknown: no answer"
    assert await store.respools.open_for(planned("z")) is not None
    await store.respools.buried(dying)
    assert await store.respools.open_for(planned("z")) is None
    assert (await store.respools.take([cause()], follow, NOON)).planned == 0  # a repetition is nobody's word
    assert await state(store) == [(1, "unknown", "no answer")]
    assert (await store.respools.take([report()], follow, NOON)).reported == 1  # late, and still true
    assert (await state(store))[0] == (1, "accepted", None)
    assert (await store.respools.take([cause()], follow, NOON)).planned == 0  # requeued all the same: it is settled


async def test_a_doubtful_one_is_asked_again_where_an_operator_says_so(store: SqlStore) -> None:
    await store.respools.take([cause()], follow, NOON)
    again = replace(cause(), again=True)
    assert (await store.respools.take([again], follow, NOON)).planned == 0
    await store.respools.conclude(await sent(store), Unknown("no answer"), NOON)
    assert (await store.respools.take([again], follow, NOON)).planned == 0
    [dying] = await store.respools.dying(NOON, 9)
    await store.respools.buried(dying)
    assert (await store.respools.take([again], follow, NOON)).planned == 1
    await store.respools.conclude(await sent(store), Accepted(None), NOON)
    assert (await store.respools.take([again], follow, NOON)).planned == 0


# --- chains ----------------------------------------------------------------------------------------------------------


async def test_the_dialers_call_is_the_report_of_its_attempt_and_no_cause_of_its_own(store: SqlStore) -> None:
    await store.respools.take([cause("a", CONTACT, MOBILE)], follow, NOON)
    await store.respools.conclude(await sent(store), Accepted(None), NOON)
    one = report(MOBILE)
    wrong = replace(one, planned=planned("r", MOBILE))
    came = [await store.respools.take([wrong], follow, NOON) for _ in range(3)]
    assert [(took.reported, took.planned) for took in came] == [(1, 1), (0, 0), (0, 0)]
    assert await state(store) == [(1, "accepted", None), (2, "waiting", None)]
    [first, second] = await store.respools.of_call(identity("test", "a"))
    assert (first.report, first.outcome) == (one.call_id, "no_answer")
    assert second.planned.due_at == one.ended_at + RULE.delays[1]
    assert second.planned.numbers == (MOBILE, CONTACT)
    assert [found.planned.attempt for found in await store.respools.of_call(one.call_id)] == [1]


async def test_whatever_else_the_dialer_dials_for_an_attempt_is_no_cause_of_its_own(store: SqlStore) -> None:
    """A dialer tries a number again, and then the alternative: else each last attempt would begin a chain anew."""
    await store.respools.take([cause("a", CONTACT, MOBILE)], follow, NOON)
    await store.respools.conclude(await sent(store), Accepted(None), NOON)
    await store.respools.take([report(outcome="failed", call="r1")], follow, NOON)  # with which its chain ends
    for n, number in enumerate((CONTACT, MOBILE)):
        at = NOON + timedelta(minutes=5 + n)
        more = replace(report(number, at, call=f"more{n}"), planned=planned(f"more{n}", number))
        came = await store.respools.take([more], follow, NOON)
        assert (came.planned, came.reported) == (0, 0)
    assert await store.respools.waiting(10) == []
    late = replace(report(at=NOON + timedelta(days=4), call="z"), planned=planned("z"))
    assert (await store.respools.take([late], follow, NOON)).planned == 1


async def test_a_call_of_no_known_direction_is_a_report_where_the_dialer_itself_tells_of_it(store: SqlStore) -> None:
    await store.respools.take([cause()], follow, NOON)
    await store.respools.conclude(await sent(store), Accepted(None), NOON)
    undirected = replace(report(), outbound=False, campaign="1111", again=True)
    for other in (replace(undirected, source="line-900"), replace(undirected, campaign="inbound")):
        assert (await store.respools.take([other], follow, NOON)).reported == 0
    assert (await store.respools.take([undirected], follow, NOON)).reported == 1


async def test_a_report_that_moves_the_next_attempt_takes_it_out_of_the_hand_that_knows_another_time(
    store: SqlStore,
) -> None:
    await store.respools.take([cause()], follow, NOON)
    respool = await sent(store)
    await store.respools.conclude(respool, Accepted(None, following(respool.planned, RULE, NOON)), NOON)
    due = NOON + RULE.delays[1]
    [early] = await store.respools.claim("focu5", "me", due, 1, LEASE)
    late = report(at=due - timedelta(minutes=1))
    await store.respools.take([late], follow, due)
    assert await store.respools.decide(early, always(Send((CONTACT,), due)), NOON, due, LEASE) is None
    assert await store.respools.next_due("focu5") == late.ended_at + RULE.delays[1]


async def test_a_call_before_the_attempt_or_long_after_it_is_no_report_of_it(store: SqlStore) -> None:
    await store.respools.take([cause()], follow, NOON)
    await store.respools.conclude(await sent(store), Accepted(None), NOON)
    for n, at in enumerate([NOON - timedelta(minutes=5), NOON + timedelta(days=4)]):
        assert (await store.respools.take([report(at=at, call=str(n))], follow, NOON)).reported == 0
    assert await store.respools.chained(CONTACT, NOON) is not None
    assert await store.respools.chained(MOBILE, NOON) is None


async def test_a_report_that_comes_before_the_dialers_answer_is_kept_for_it(store: SqlStore) -> None:
    await store.respools.take([cause()], follow, NOON)
    respool = await sent(store)
    assert (await store.respools.take([report()], follow, NOON)).planned == 1
    assert await store.respools.conclude(respool, Accepted(None, following(respool.planned, RULE, NOON)), NOON)
    assert [found[:2] for found in await state(store)] == [(1, "accepted"), (2, "waiting")]


async def test_who_died_after_the_dialer_was_asked_is_believed_once_its_call_is_known(store: SqlStore) -> None:
    await store.respools.take([cause()], follow, NOON)
    await sent(store)
    await store.respools.take([report(outcome="answered")], follow, NOON)
    await store.respools.abandoned(NOON + timedelta(seconds=LEASE), 9)
    assert await state(store) == [(1, "accepted", None)]


async def test_an_attempt_that_did_not_wait_for_a_report_is_moved_or_refused_by_one(store: SqlStore) -> None:
    by: Rule = RULE
    for call, outcome, expected in (("a", "no_answer", "waiting"), ("b", "answered", "refused")):
        number = CONTACT if call == "a" else MOBILE
        await store.respools.take([cause(call, number)], follow, NOON)
        respool = await sent(store)
        after = following(respool.planned, by, NOON)
        await store.respools.conclude(respool, Accepted(None, after), NOON)
        assert [found[:2] for found in await state(store, call)] == [(1, "accepted"), (2, "waiting")]
        one = report(number, NOON + timedelta(minutes=1), outcome, call=f"r{call}")
        await store.respools.take([one], follow, NOON)
        second = (await store.respools.of_call(identity("test", call)))[1]
        assert second.state == expected
        if outcome == "no_answer":
            assert second.planned.due_at == one.ended_at + by.delays[1]
        else:
            assert second.reason == "reached"


async def test_what_is_handed_over_ahead_counts_on_its_own_day(store: SqlStore) -> None:
    await store.respools.take([cause()], follow, NOON)
    [respool] = await store.respools.claim("focu5", "me", NOON, 1, LEASE)
    tomorrow = NOON + timedelta(hours=21)
    await store.respools.decide(respool, always(Send((CONTACT,), tomorrow)), NOON, NOON, LEASE)
    midnight = NOON + timedelta(hours=11)
    assert await store.respools.facts(planned(), midnight) == Facts(None, 1, 1)


async def test_what_waits_for_a_dialer_that_no_rule_names_any_more_is_refused_and_stands_in_nobodys_way(
    store: SqlStore,
) -> None:
    await store.respools.take([cause("a"), cause("b", MOBILE, dialer="cloud")], follow, NOON)
    later = NOON + timedelta(minutes=10)
    assert await store.respools.disowned(["cloud"], NOON - timedelta(seconds=1), later, 9) == []
    assert [one.planned.contact for one in await store.respools.disowned(["cloud"], NOON, later, 9)] == [CONTACT]
    assert await store.respools.disowned(["cloud"], NOON, later, 9) == []
    assert await told(store) == [("refused", 1, "rule_gone")]
    assert await store.respools.open_for(planned("z")) is None
    assert len(await store.respools.disowned([], NOON, later, 9)) == 1


async def test_what_is_in_somebodys_hand_is_not_taken_from_it_as_nobodys(store: SqlStore) -> None:
    await store.respools.take([cause()], follow, NOON)
    await store.respools.claim("focu5", "me", NOON, 1, LEASE)
    assert await store.respools.disowned([], NOON, NOON, 9) == []


# --- out of the dead letters -----------------------------------------------------------------------------------------


async def buried(store: SqlStore, now: datetime = NOON) -> None:
    """What the dialer refuses, among the dead letters."""
    await store.respools.conclude(await sent(store, now), GivenUp("code 100"), now)
    for dying in await store.respools.dying(now, 9):
        await store.respools.buried(dying)


async def test_a_second_attempt_that_the_dialer_refused_begins_anew_too_though_nobody_reported_the_first(
    store: SqlStore,
) -> None:
    await store.respools.take([cause()], follow, NOON)
    respool = await sent(store)
    await store.respools.conclude(respool, Accepted(None, following(respool.planned, RULE, NOON)), NOON)
    due = NOON + RULE.delays[1]
    await buried(store, due)
    assert [found[:2] for found in await state(store)] == [(1, "accepted"), (2, "refused")]
    assert (await store.respools.take([cause()], follow, due)).planned == 1
    assert [found[:2] for found in await state(store)] == [(1, "accepted"), (2, "waiting")]


async def test_what_begins_anew_gives_way_to_another_that_waits_by_now(store: SqlStore) -> None:
    await store.respools.take([cause("a")], follow, NOON)
    await buried(store)
    assert (await store.respools.take([cause("b")], follow, NOON)).planned == 1
    assert (await store.respools.take([cause("a")], follow, NOON)).planned == 0
    assert await state(store) == [(1, "refused", "already_planned")]
    assert [verb[::2] for verb in await told(store)] == [("refused", "dialer"), ("refused", "already_planned")]


async def test_what_begins_anew_is_sent_by_the_rule_as_it_is_now(store: SqlStore) -> None:
    await store.respools.take([cause()], follow, NOON)
    await buried(store)
    mended = cause(dialer="cloud", vendor="ucontact", details={"call_id": "a", "data": {"order": "9"}})
    assert (await store.respools.take([mended], follow, NOON)).planned == 1
    [one] = await store.respools.claim("cloud", "me", NOON, 9, LEASE)
    assert one.planned.details["data"] == {"order": "9"}


async def test_a_call_begins_one_chain_though_its_rules_were_changed(store: SqlStore) -> None:
    """What may have been dialled for a campaign is not dialled for another because its event came again."""
    moved = cause("a", campaign="2222")
    await store.respools.take([cause("a")], follow, NOON)
    await store.respools.conclude(await sent(store), Unknown("no answer"), NOON)
    for dying in await store.respools.dying(NOON, 9):
        await store.respools.buried(dying)
    assert (await store.respools.take([moved], follow, NOON)).planned == 0
    assert await store.respools.waiting(9) == []
    assert (await store.respools.take([replace(moved, again=True)], follow, NOON)).planned == 1


async def test_a_call_whose_respool_was_refused_may_begin_another_chain_and_then_that_alone(store: SqlStore) -> None:
    await store.respools.take([cause("a")], follow, NOON)
    await buried(store)
    assert (await store.respools.take([cause("a", campaign="2222")], follow, NOON)).planned == 1
    assert [one.planned.campaign for one in await store.respools.waiting(9)] == ["2222"]


async def test_the_standings_count_what_is_not_settled(store: SqlStore) -> None:
    await store.respools.take([cause("a"), cause("b", MOBILE)], follow, NOON)
    await sent(store)
    assert await store.respools.standings() == {("focu5", "waiting"): 1, ("focu5", "sending"): 1}
    load = await store.workload(WORKER)
    assert (load.settled, load.waiting) == (0, 2)


def _events(call: str, number: str, at: datetime, *, answered: bool = True) -> list[Event]:
    """A call of another source in which somebody was spoken with, or not."""
    talk = 12 if answered else 0
    data = {
        "call_id": identity(call),
        "vendor": "infocu5",
        "source": "focu5",
        "event": "ended",
        "origin": "poll",
        "received_at": timestamp(at),
        "direction": "outbound",
        "callee": {"number": number[3:], "e164": number},
        "started_at": timestamp(at),
        "times": {"talk_seconds": talk},
    }
    return [Event(identity(call, "ended"), "call", "infocu5", "ended", "focu5", at, data, subject=identity(call))]
