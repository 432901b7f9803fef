"""Both nights on which clocks are changed: outcomes with duplicates and races over three replicas and two dialers.

The clock is the test's. Whatever the vendors take is marked with it, and held against the words of the configuration:
whether it was inside the window in every zone, blocked, or twice, is read off what the vendors have, not off us.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from hub.events import Event, identity, timestamp
from hub.respooling.numbers import zones
from hub.simulator.dice import Dice
from hub.simulator.infocu5 import Infocu5, serving
from hub.simulator.ucontact import UContact, serving as cloud_serving
from tests.faults.scale import at
from tests.hub import until
from tests.respooling.house import House, at_work, rule, settings
from tests.respooling.support import record, sealed
from tests.respooling.test_windows import slowly
from tests.vendors.ucontact.instance import source as cloud_source

OUTCOMES: Final = at(quick=80, full=10_000)
STEP: Final = timedelta(minutes=at(quick=30, full=10))
HOURS: Final = at(quick=6, full=14)
WINDOW: Final = {"mon-sun": "00:30-02:30, 09:00-11:00"}
"""Open over the hour that is left out, or passed twice."""

NIGHTS: Final = {
    "Europe, spring": datetime(2026, 3, 28, 22, tzinfo=UTC),
    "Europe, autumn": datetime(2026, 10, 24, 21, tzinfo=UTC),
    "America, spring": datetime(2026, 3, 8, 4, tzinfo=UTC),
    "America, autumn": datetime(2026, 11, 1, 3, tzinfo=UTC),
}
QUICK: Final = ("Europe, spring", "Europe, autumn")
KINDS: Final = ("+3491{:07d}", "+346{:08d}", "+34928{:06d}", "+1212{:07d}", "+4420{:08d}")
_LONGEST: Final = at(quick=180, full=3_600)


@dataclass
class Night:
    """A night: its clock, its vendors, and what is known of it from outside."""

    now: datetime
    luck: random.Random
    vendor: Infocu5
    cloud: UContact
    blocked: set[str]
    answered: dict[str, datetime] = field(default_factory=dict)
    began: dict[str, datetime] = field(default_factory=dict)
    told: int = 0
    reported: int = 0

    def taken(self) -> list[tuple[datetime, str, str]]:
        """Everything that a vendor was given: when, which number, for which cause."""
        mine = zip(self.vendor.taken_at, self.vendor.leads, strict=True)
        leads = [(when, lead["leadPhone"], lead["leadCompany"]) for when, lead in mine]
        dials = [
            (dial.taken_at, dial.destination, dial.said["data"].removeprefix("cause="))
            for dial in self.cloud.books.dials
        ]
        return sorted(leads + dials)

    def contact(self) -> str:
        """Somebody, now and then the same as before."""
        number = self.luck.randrange(OUTCOMES)
        return self.luck.choice(KINDS).format(2_000_000 + number)

    def outcome(self, n: int) -> Event:
        """A call that was not answered, just now."""
        number, at = self.contact(), self.now - timedelta(seconds=self.luck.randrange(300))
        told = record(str(n), at, caller={"number": number, "e164": number})
        told["disposition"] = self.luck.choice(["no_answer", "busy"])
        self.began[told["call_id"]] = at - timedelta(seconds=30)
        return sealed(told)

    def reports(self) -> list[Event]:
        """The dialers' own calls for what they were given since."""
        new = self.taken()[self.reported :]
        self.reported += len(new)
        return [self._report(*one) for one in new if self.luck.random() < 0.9]

    def _report(self, when: datetime, number: str, cause: str) -> Event:
        outcome = self.luck.choice(["no_answer", "no_answer", "busy", "answered", "failed"])
        at = when + timedelta(seconds=90)
        told = record(f"{cause}{when}{number}", at, to=number, source="focu5", vendor="infocu5", disposition=outcome)
        return sealed(told, at)


@asynccontextmanager
async def house(directory: Path, night: Night, **tables: Any) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(night.vendor))
        cloud_url = await stack.enter_async_context(cloud_serving(night.cloud))
        file = directory / "dnc.txt"
        file.write_text("".join(f"{number}\n" for number in sorted(night.blocked)))
        common = {
            "delays": ["15m", "1h", "4h"],
            "window": WINDOW,
            "do_not_call": str(file),
            "dial_as": "e164",
            "within": "1d",
        }
        made = cloud_source(cloud_url, night.cloud, timezone="Europe/Madrid", rate=1000, concurrency=8, timeout=5)
        cloud = made.model_dump(mode="json", exclude_unset=True)
        cloud |= {"password": night.cloud.password, "tokens": ["T"], "api_token": night.cloud.api_token}
        configured = settings(
            directory,
            url,
            rule(dispositions=["no_answer"], list="DI1111AA/1", data={"leadCompany": "{call_id}"}, **common),
            rule(dispositions=["busy"], dialer="cloud", campaign="POWER<-", data={"cause": "{call_id}"}, **common),
            sources={"cloud": cloud},
            **tables,
        )
        yield await stack.enter_async_context(at_work(configured, night.vendor, replicas=3, clock=lambda: night.now))


async def quiet(here: House, night: Night) -> None:
    """Waits until nobody has anything to do at this time."""

    async def still() -> bool:
        depth = await here.bus.depth("trunkline.respool")
        if depth.ready + depth.in_flight or any(sender._in_hand for one in here.workers for sender in one._senders):
            return False
        due = [await here.store.respools.next_due(name) for name in ("focu5", "cloud")]
        open_ = await here.store.respools.standings()
        return all(one is None or one > night.now for one in due) and not any(state == "sending" for _, state in open_)

    await until(still, within=_LONGEST)


async def play(here: House, night: Night) -> None:
    """The night, step by step."""
    steps = int(timedelta(hours=HOURS) / STEP)
    for step in range(steps):
        reports = night.reports()
        spoken = [_spoken(event) for event in reports if event.data["disposition"] == "answered"]
        await here.store.apply(spoken, night.now)
        for event in reports:
            if event.data["disposition"] == "answered":
                night.answered[event.data["callee"]["e164"]] = night.now
        until_now = OUTCOMES * (step + 1) // (steps - 5) if step < steps - 5 else night.told
        outcomes = [night.outcome(n) for n in range(night.told, min(until_now, OUTCOMES))]
        night.told += len(outcomes)
        several = [event for event in (*outcomes, *reports) for _ in range(night.luck.choice([1, 1, 2, 3]))]
        night.luck.shuffle(several)
        if several:
            await here.seal(*several)
        await quiet(here, night)
        night.now += STEP
        here.wake()
        await quiet(here, night)


def _spoken(report: Event) -> Event:
    """What the store is told of an answered call."""
    told = report.data
    data = {
        **{name: told[name] for name in ("call_id", "vendor", "source", "direction", "callee", "started_at")},
        "event": "ended",
        "origin": "poll",
        "received_at": told["ended_at"],
        "times": {"talk_seconds": 9},
    }
    name = identity(told["call_id"], "ended")
    return Event(name, "call", "infocu5", "ended", "focu5", report.time, data, subject=told["call_id"])


@pytest.mark.timeout(_LONGEST)
@pytest.mark.parametrize("name", at(quick=QUICK, full=tuple(NIGHTS)))
async def test_nobody_is_called_twice_or_outside_the_window_or_blocked_on_the_night_that_clocks_change(
    tmp_path: Path, amqp_url: str, postgres_url: str, name: str
) -> None:
    luck = random.Random(name)  # noqa: S311
    night = Night(NIGHTS[name], luck, Infocu5(lost=0.1, luck=Dice("lost", 1)), UContact(), set())
    night.vendor.clock = night.cloud.clock = lambda: night.now
    night.cloud.mood = lambda function, _: "drop" if function == "DialerTask" and luck.random() < 0.1 else None
    night.blocked = {kind.format(2_000_000 + n) for n in range(0, OUTCOMES, 7) for kind in KINDS}
    tables = {"bus": {"url": amqp_url}, "store": {"url": postgres_url}}
    async with house(tmp_path, night, **tables) as here:
        await play(here, night)
        taken = night.taken()
        sent, doubtful = Counter[str](), 0
        for cause in night.began:
            rows = await here.store.respools.of_call(cause)
            mine = [row for row in rows if row.planned.cause == cause]
            sent[cause] = sum(row.intent_at is not None for row in mine)
            doubtful += sum(row.state == "unknown" for row in mine)
        told = await here.told()
    twice = Counter(cause for _, _, cause in taken) - sent
    outside = [
        (when, number)
        for when, number, _ in taken
        if not all(slowly(WINDOW, frozenset(), zone, when) for zone in zones(number))
    ]
    blocked = [number for _, number, _ in taken if number in night.blocked]
    again = [
        number
        for when, number, cause in taken
        if number in night.answered and night.began[cause] < night.answered[number] < when
    ]
    assert (sum(twice.values()), outside, blocked, again) == (0, [], [], [])
    # And all of that happened at all.
    assert len(taken) >= OUTCOMES / 5
    assert len({when.astimezone(UTC).hour for when, _, _ in taken}) > 2
    assert night.vendor.lost_answers
    assert {dial.function for dial in night.cloud.books.dials} == {"DialerTask"}
    reasons = Counter(one.get("reason") for one in told)
    assert reasons["do_not_call"]
    assert reasons["already_planned"] or OUTCOMES < 1000
    assert len({(one["verb"], one["respool_id"]) for one in told}) == len(told)
    accepted = sum(one["verb"] == "accepted" for one in told)
    assert accepted + doubtful == sum(sent.values())
    assert timestamp(night.now)
    await asyncio.sleep(0)
