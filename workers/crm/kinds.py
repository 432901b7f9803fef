"""Every kind of destination: a new one is one file and one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from hub.config import AnyDestination, CrmDestination
from hub.outgoing import Lane
from hub.ports_forwarding import ForwardingStore, Outcome
from workers.crm.credentials import Credentials, credentials
from workers.crm.crm import Crm
from workers.crm.hubspot import HubSpot
from workers.crm.records import Records
from workers.crm.salesforce import Salesforce
from workers.crm.visit import Visit
from workers.crm.webhook import Webhook
from workers.crm.webhooks import Webhooks
from workers.crm.zoho import Zoho


class Doer(Protocol):
    """Does a piece of work."""

    async def do(self, visit: Visit, now: datetime) -> Outcome:
        """What came of it. Raises errors named by what happens next, ``NotYet`` among them."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """How a destination is dealt with.

    Attributes:
        doer: does its work.
        scheme: of ``Authorization``, where there are credentials.
        credentials: None where requests prove themselves.
    """

    doer: Doer
    scheme: str = ""
    credentials: Credentials | None = None


Make = Callable[[Any, ForwardingStore, Callable[[], Lane], bool], Kind]
"""Of settings, store, a maker of the lane for tokens, and whether sealed calls are wanted."""


def _crm(kind: Callable[[Any], Crm]) -> Make:
    def make(settings: CrmDestination, store: ForwardingStore, door: Callable[[], Lane], sealed: bool) -> Kind:
        crm = kind(settings)
        return Kind(Records(crm, settings, store, sealed=sealed), crm.scheme, credentials(settings, door))

    return make


KINDS: Final[dict[str, Make]] = {
    "webhook": lambda settings, *_: Kind(Webhooks(Webhook(settings))),
    "hubspot": _crm(HubSpot),
    "salesforce": _crm(Salesforce),
    "zoho": _crm(Zoho),
}


def keeps_calls(settings: AnyDestination) -> bool:
    """Whether a destination keeps calls, and not events."""
    return isinstance(settings, CrmDestination)
