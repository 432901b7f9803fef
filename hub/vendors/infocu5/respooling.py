"""INFOCU5 as a dialer: a contact becomes a lead in the list that belongs to a campaign.

Source: docs/vendors.md, chapter 3. Which list that is, and at which of the vendor's dialers, the vendor says itself
(getCampaigns), unless the rule does. A lead has no id there.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

from hub.errors import Doubtful, NotSent, Permanent
from hub.ports.respool import Order
from hub.vendors.infocu5.client import Campaign, Client, DialerList, campaigns_of

_KEPT: Final = 600.0  # seconds for which the vendor's campaigns are believed


class Infocu5Dialer:
    """``hub.ports.respool.Dialer``.

    Args:
        client: of the affiliate.
        timeout: its own, seconds.
        timer: monotonic seconds.
    """

    def __init__(self, client: Client, *, timeout: float, timer: Callable[[], float] = monotonic) -> None:
        self.longest = 10 * timeout  # two requests, each with its wait for a turn, of which an answer takes most
        self._client, self._timer = client, timer
        self._campaigns: list[Campaign] = []
        self._read_at: float | None = None

    async def respool(self, order: Order, before: float | None = None) -> str | None:
        """Posts one lead with up to two numbers."""
        dialer_id, list_id = await self._place(order)
        lead = {**order.data, "leadPhone": order.number}
        if order.alternatives:
            lead["leadPhone2"] = order.alternatives[0]
        await self._client.add_leads(dialer_id, list_id, [lead], before=before)
        return None

    async def _place(self, order: Order) -> tuple[str, str]:
        """Dialer and list. Raises Permanent where the vendor has none, NotSent where it cannot be asked now."""
        dialer_id, mark, list_id = (order.list or "").rpartition("/")
        if mark:
            return dialer_id, list_id
        campaign = await self._campaign(order.campaign)
        fits = [one for one in campaign.lists if one.dialer_id and (not list_id or list_id in _names(one))]
        if not fits:
            wanted = f"list {list_id!r}" if list_id else "list with a dialer"
            raise Permanent(
                f"campaign {order.campaign[:60]!r} has no {wanted}; expected list = DIALER/LIST in the rule"
            )
        return fits[0].dialer_id, fits[0].list_id or campaign.id

    async def _campaign(self, name: str) -> Campaign:
        for known in (True, False):
            for campaign in await self._all(known=known):
                if name in (campaign.name, campaign.id):
                    return campaign
        raise Permanent(f"campaign: found {name[:60]!r}; expected the name or the id of a campaign of the vendor's")

    async def _all(self, *, known: bool) -> list[Campaign]:
        """The vendor's campaigns; what it said before is enough where ``known``."""
        fresh = self._read_at is not None and self._timer() - self._read_at < _KEPT
        if known and fresh:
            return self._campaigns
        try:
            answer = await self._client.get_campaigns()
        except Doubtful as error:  # it only reads: nothing was done
            raise NotSent(f"its campaigns could not be read: {error}") from None
        self._campaigns, self._read_at = campaigns_of(answer), self._timer()
        return self._campaigns


def _names(one: DialerList) -> tuple[str, str]:
    return one.list_id, one.list_name
