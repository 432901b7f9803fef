"""uContact as a dialer: a contact goes back by DialerTask, by its own respool, by a schedule, or as a lead of a list.

Source: docs/vendors.md, chapter 4. None of these can be asked twice safely. A list of the automation API that was made
is looked at until it has loaded: ``lists`` alone says only that loading has begun.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from hub.errors import Doubtful, Permanent, TrunklineError
from hub.ports.respool import Order
from hub.vendors.ucontact.automation import LOADING
from hub.vendors.ucontact.client import UContact
from hub.vendors.ucontact.cti import Respool

_LOADS_WITHIN: Final = 30.0  # seconds that a list of one contact may take
_BETWEEN: Final = 0.5
_ORDINARY: Final = 9999

Sleep = Callable[[float], Awaitable[Any]]


class UContactDialer:
    """``hub.ports.respool.Dialer``.

    Args:
        client: of the instance.
        timeout: of one request, seconds.
        clock: aware, UTC.
        sleep: between two looks at a list.
    """

    def __init__(
        self,
        client: UContact,
        *,
        timeout: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.longest = 6 * timeout + _LOADS_WITHIN
        self._client, self._clock, self._sleep = client, clock, sleep

    async def respool(self, order: Order, before: float | None = None) -> str | None:
        """By the way that the order names."""
        ways = {
            "auto": self._best,
            "task": self._task,
            "schedule": self._schedule,
            "respool": self._respool,
            "fresh": self._fresh,
            "list": self._list,
        }
        return await ways[order.how](order, before)

    async def _best(self, order: Order, before: float | None) -> str | None:
        """Now by DialerTask, later by a schedule; of an instance of the newer API, as a fresh lead."""
        if self._client.api == "automation":
            return await self._fresh(order, before)
        return await (self._task(order, before) if order.at is None else self._schedule(order, before))

    async def _task(self, order: Order, before: float | None) -> str | None:
        mode: Any = "scheduled" if order.at is not None else "dialer"
        if mode == "dialer" and order.priority == 1:
            mode = "priority"
        said = await self._client.dialer_task(
            mode,
            campaign=order.campaign,
            destination=order.number,
            alternatives=order.alternatives,
            agent=order.agent or "",
            data=order.data,
            at=order.at,
            before=before,
        )
        return _id(said)

    async def _schedule(self, order: Order, before: float | None) -> str | None:
        said = await self._client.schedule_call(
            campaign=order.campaign,
            destination=order.number,
            at=order.at or self._clock(),
            alternatives=order.alternatives,
            agentphone=order.agent or "",
            data=order.data,
            before=before,
        )
        return _id(said)

    async def _respool(self, order: Order, before: float | None) -> str | None:
        """Gives back the very contact that the dialer had called: its own fields stay as they came.

        A call that was no dialer's has none of them; that contact goes by DialerTask.
        """
        campaign, contact, base = (order.details.get(name) for name in ("campaign", "contact", "list"))
        if not (campaign and contact and base):
            return await self._best(order, before)
        if campaign != order.campaign:
            raise Permanent(
                f"respool: the contact is of campaign {str(campaign)[:60]!r}, which must not change; "
                f'expected a rule for it, or how = "task"'
            )
        given = Respool(str(campaign), order.number, str(contact), str(base))
        changed = given.changed(
            alternatives=order.alternatives,
            retries=0,
            priority=str(order.priority or _ORDINARY),
            data=dict(order.data),
            agentphone=order.agent or "",
        )
        return _id(await self._client.respool(changed, before=before))

    async def _fresh(self, order: Order, before: float | None) -> str | None:
        name = order.list or f"trunkline-{order.respool_id}"
        await self._client.automation.fresh_leads(order.campaign, name, [_contact(order)], at=order.at, before=before)
        return None

    async def _list(self, order: Order, before: float | None) -> str | None:
        """A list of its own, which is there once it has loaded; whether it is, is known for sure by its name."""
        name = f"{order.list or 'trunkline'}-{order.respool_id.replace('-', '')[:12]}"
        automation = self._client.automation
        try:
            await automation.create_list(order.campaign, name, [_contact(order)], before=before)
        except Doubtful as doubt:
            if await self._state(order.campaign, name) is None:
                raise Doubtful(f"list {name}: {doubt}; it cannot be seen") from None
        looks = int(_LOADS_WITHIN / _BETWEEN)
        for _ in range(looks):
            state = await self._state(order.campaign, name)
            if state not in (None, LOADING):
                return name
            await self._sleep(_BETWEEN)
        raise Doubtful(f"list {name}: it is still loading after {_LOADS_WITHIN:.0f} seconds")

    async def _state(self, hub: str, name: str) -> str | None:
        try:
            return await self._client.automation.list_state(hub, name)
        except TrunklineError:  # the list was asked for: that it cannot be looked at now does not undo it
            return None


def _contact(order: Order) -> dict[str, Any]:
    return {"clientIds": [order.number, *order.alternatives], **order.data}


def _id(said: str) -> str | None:
    """An id, where the vendor says more than that it was done."""
    return None if said.strip() in ("", "1") else said.strip()[:255]
