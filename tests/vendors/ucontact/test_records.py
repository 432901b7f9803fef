"""The record of a uContact call: its end, how it went, who had it, when it is sealed."""

from itertools import permutations
from typing import Any, Final

import orjson
import pytest

from hub.calls import PROMISED, Timing, fold
from hub.events import Event
from tests.unit.lives import event

TIMING: Final = Timing(settle=5, gap_after=30, longest=14400)
FIRST: Final = {"name": "first", "extension": "1001"}
SECOND: Final = {"name": "second", "extension": "1002"}


def told(verb: str, at: int, **data: Any) -> Event:
    return event("ucontact", verb, at, **data)


def folded(*events: Event) -> Any:
    return fold(events, PROMISED["ucontact"], TIMING)


RING: Final = told("missed", 0, agent=FIRST, caller={"number": "099124484"}, campaign="Demo<-")
ENDED: Final = told("ended", 60, agent=SECOND, campaign="Demo<-")
ENDED_ALONE: Final = told("ended", 60, campaign="Demo<-")
SOLD: Final = told("dispositioned", 70, agent=SECOND, category="Venta", disposition="answered")
NAMED: Final = told("dispositioned", 70, agent=SECOND, category="Venta")


@pytest.mark.parametrize(
    ("events", "state", "disposition", "agent"),
    [
        ([RING], "in_progress", "no_answer", FIRST),
        ([ENDED], "ended", "unknown", SECOND),
        ([RING, ENDED], "ended", "unknown", SECOND),
        ([RING, ENDED_ALONE], "ended", "no_answer", FIRST),
        ([RING, ENDED_ALONE, NAMED], "ended", "unknown", SECOND),
        ([RING, ENDED, SOLD], "ended", "answered", SECOND),
        ([NAMED], "in_progress", "unknown", SECOND),
        ([SOLD], "in_progress", "answered", SECOND),
    ],
)
def test_how_a_call_went_is_what_its_events_prove_and_nothing_more(
    events: list[Event], state: str, disposition: str, agent: Any
) -> None:
    record = folded(*events).record
    assert (record["state"], record["disposition"], record["agent"]) == (state, disposition, agent)


def test_the_end_seals_after_a_moment_and_without_one_the_call_waits_for_long() -> None:
    assert (folded(ENDED).wait, folded(ENDED).verdict, folded(ENDED).missing) == (5, "complete", ())
    assert (folded(RING, ENDED, SOLD).wait, folded(RING, ENDED).conflicts) == (5, 0)
    for waiting in (folded(RING), folded(SOLD)):
        assert (waiting.wait, waiting.verdict, waiting.missing) == (14400, "gap", ("ended",))


def test_every_order_and_any_repetition_give_the_same_bytes() -> None:
    events = [RING, told("missed", 30, agent=SECOND, campaign="Demo<-"), ENDED, SOLD]
    whole = orjson.dumps(folded(*events).record)
    for order in permutations(events):
        assert orjson.dumps(folded(*order, order[0]).record) == whole
