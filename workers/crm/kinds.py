"""Every kind of destination: a new one is one file and one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from hub.config import AnyDestination, CrmDestination
from hub.custody.links import Links
from hub.outgoing import Lane
from hub.ports.forwarding import Outcome
from workers.crm.credentials import Credentials, credentials
from workers.crm.crm import Crm
from workers.crm.hubspot import HubSpot
from workers.crm.listening import CrmStore, Listening
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


@dataclass(frozen=True, slots=True)
class Around:
    """What a destination has around it.

    Attributes:
        links: sign links to audio; None where there is nothing to sign with.
        door: makes the lane that tokens are got over.
        sealed: whether a vendor's calls are wanted when they are sealed.
    """

    store: CrmStore
    links: Links | None
    door: Callable[[], Lane]
    sealed: Callable[[str], bool]


Make = Callable[[Any, "Around"], Kind]
"""Of its settings, and what is around it."""


def _crm(kind: Callable[[Any], Crm]) -> Make:
    def make(settings: CrmDestination, around: Around) -> Kind:
        crm, listening = kind(settings), Listening(around.store, around.links)
        records = Records(crm, settings, around.store, listening=listening, sealed=around.sealed)
        return Kind(records, crm.scheme, credentials(settings, around.door))

    return make


KINDS: Final[dict[str, Make]] = {
    "webhook": lambda settings, _: Kind(Webhooks(Webhook(settings))),
    "hubspot": _crm(HubSpot),
    "salesforce": _crm(Salesforce),
    "zoho": _crm(Zoho),
}


def keeps_calls(settings: AnyDestination) -> bool:
    """Whether a destination keeps calls, and not events."""
    return isinstance(settings, CrmDestination)
