"""One dialer at work: what it is asked, and until when."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, cast

import pytest

from hub.errors import NotSent
from hub.ports.respool import Order, Outcome, Postponed, RespoolStore
from hub.respooling.blocked import Blocked
from hub.respooling.planning import Facts, Judge, Respool, Verdict
from hub.vendors.infocu5.respooling import Infocu5Dialer
from hub.vendors.ucontact.respooling import UContactDialer
from tests.respooling.support import CONTACT, NOON, planned, rule
from tests.respooling.test_ucontact import order
from tests.vendors.infocu5.test_client import vendor as infocu5
from tests.vendors.ucontact.instance import instance
from workers.respool.sending import Sender


class Asked:
    """A dialer that says when it may be asked at the latest."""

    longest = 1.0

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []

    async def respool(self, order: Order, before: float | None = None) -> str | None:
        assert before is not None
        self.asked.append((order.number, before - monotonic()))
        raise NotSent("its turn came too late")


class One:
    """A store with one attempt that is due."""

    def __init__(self, respool: Respool) -> None:
        self.due = [respool]
        self.outcomes: asyncio.Queue[Outcome] = asyncio.Queue()

    @property
    def respools(self) -> "One":
        return self

    async def claim(self, *_: Any) -> Sequence[Respool]:
        due, self.due = self.due, []
        return due

    async def next_due(self, _: str) -> datetime | None:
        return None

    async def decide(self, _: Respool, judge: Judge, *__: Any) -> Verdict:
        return judge(Facts())

    async def conclude(self, _: Respool, outcome: Outcome, __: datetime) -> bool:
        self.outcomes.put_nowait(outcome)
        return True


async def test_a_dialer_is_asked_before_the_window_closes_or_not_at_all() -> None:
    """Its request may wait for its turn: what waits for longer is looked at anew, when the window opens again."""
    eight = datetime(2026, 11, 20, 19, tzinfo=NOON.tzinfo)  # in the evening, Madrid
    now = eight - timedelta(seconds=30)
    store = One(Respool("r", planned(due_at=now, next_at=now), "waiting", 1, 0, now, claim="me"))
    dialer = Asked()
    sender = Sender(
        "focu5",
        dialer,
        cast("RespoolStore", store),
        rules={"1": rule()},
        blocked=lambda _: Blocked(),
        room=lambda: 1,
        process="p",
        clock=lambda: now,
    )
    running = asyncio.create_task(sender.run())
    outcome = await store.outcomes.get()
    sender.stop()
    await running
    assert isinstance(outcome, Postponed)
    [(number, left)] = dialer.asked
    assert number == CONTACT[3:]
    assert 0 < left <= 30  # it is half a minute to eight


@pytest.mark.parametrize("how", ["auto", "task", "schedule", "respool", "fresh", "list"])
async def test_ucontact_is_not_asked_once_it_is_too_late(how: str) -> None:
    async with instance() as (vendor, client):
        with pytest.raises(NotSent):
            await UContactDialer(client, timeout=1.0).respool(order(how), monotonic() - 1)
        assert vendor.books.dials == []


async def test_infocu5_is_not_asked_once_it_is_too_late() -> None:
    async with infocu5() as (vendor, client):
        with pytest.raises(NotSent):
            await Infocu5Dialer(client, timeout=1.0).respool(order(campaign="Campaign Name", data={}), monotonic() - 1)
        assert [name for name, _ in vendor.asked] == ["getCampaigns"]
