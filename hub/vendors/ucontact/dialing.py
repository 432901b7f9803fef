"""Placing a call through uContact: AgentCall, which rings the agent's extension and then the destination.

Source: docs/vendors.md, chapter 4. All seven parameters are required; an order names the agent and the destination, and
what else there is stands in the configuration. Its answer is the call's guid, which the vendor's events have too.
"""

from collections.abc import Mapping
from typing import Final

from hub.dialing.orders import Order
from hub.errors import Unacceptable
from hub.events import identity
from hub.ports.dialing import Placed
from hub.vendors.ucontact.client import UContact

_OVERRIDES: Final = ("phone", "tech", "context")
"""Variables of an order that replace what is configured."""


class AgentCall:
    """What a uContact instance can be asked for. Pure.

    Args:
        extensions: agent = extension.
        caller_number: that calls go out with, of an order that names none.
        campaign: the manual outbound campaign, likewise.
        tech: of the extensions.
        context: of the agents.
    """

    def __init__(
        self,
        *,
        extensions: Mapping[str, str],
        caller_number: str | None,
        campaign: str | None,
        tech: str,
        context: str,
    ) -> None:
        self._extensions = dict(extensions)
        self._caller_number, self._campaign = caller_number, campaign
        self._tech, self._context = tech, context

    def check(self, order: Order) -> None:
        """Raises Unacceptable where a parameter of AgentCall is missing, or a variable has no place."""
        self.parameters(order)

    def parameters(self, order: Order) -> dict[str, str]:
        """All that AgentCall wants besides the destination, by the client's names. Raises as ``check`` does."""
        for name in order.variables:
            if name not in _OVERRIDES:
                raise Unacceptable(f"variables.{name[:40]!r}: a call has none, expected one of {', '.join(_OVERRIDES)}")
        if not order.agent:
            raise Unacceptable("agent is missing, expected the name of the agent who is rung first")
        phone = order.variables.get("phone") or self._extensions.get(order.agent)
        callerid, outqueue = order.caller_number or self._caller_number, order.campaign or self._campaign
        if not phone:
            raise Unacceptable("agent has no extension, expected one in the source's extensions, or in variables.phone")
        if not callerid:
            raise Unacceptable("caller_number is missing, expected the number that the call goes out with")
        if not outqueue:
            raise Unacceptable("campaign is missing, expected the manual outbound campaign, with its arrow")
        return {
            "agent": order.agent,
            "phone": phone,
            "callerid": callerid,
            "outqueue": outqueue,
            "tech": order.variables.get("tech") or self._tech,
            "context": order.variables.get("context") or self._context,
        }


class AgentCaller:
    """One uContact instance that is told to call.

    Args:
        source: name of the configured vendor connection.
        client: of the instance.
        call: how an order is written.
    """

    def __init__(self, source: str, client: UContact, call: AgentCall) -> None:
        """Opens nothing."""
        self._source, self._client, self._call = source, client, call

    async def dial(self, order: Order, before: float | None = None) -> Placed:
        """Places a call; its guid identifies it. Raises as ``hub.ports.dialing.PlacesCalls`` says."""
        guid = await self._client.agent_call(order.destination, before=before, **self._call.parameters(order))
        return Placed(guid, identity("ucontact", self._source, guid), {"guid": guid})
