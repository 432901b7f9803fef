"""uContact's automation API: lists that load by themselves, and contacts that are called at once.

Source: docs/vendors.md, chapter 4. It is the vendor's replacement for DialerTask and uploadbase; its token is made by
hand in the portal.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from hub.errors import Doubtful, Permanent, Refused
from hub.vendors.ucontact import tasks
from hub.vendors.ucontact.asking import Asking

LOADING: Final = "loading"
"""The state of a list whose contacts are still being stored."""

_NOT_FOUND: Final = 404


class Automation:
    """The outbound hubs of one instance. Every function raises what ``client.UContact`` says.

    Args:
        asking: who asks.
        zone: of the instance.
    """

    def __init__(self, asking: Asking, zone: ZoneInfo) -> None:
        """Opens nothing."""
        self._ask = asking
        self._zone = zone

    async def create_list(
        self, hub: str, filename: str, contacts: Sequence[Mapping[str, Any]], *, before: float | None = None
    ) -> Any:
        """Begins the upload of a list; it loads by itself afterwards, see ``list_state``.

        Args:
            hub: name of the outbound hub.
            filename: the list's name.
            contacts: each with ``clientIds``: the main number, then the alternatives; and whatever else a contact has.
            before: of the monotonic clock: it is not sent after that.
        """
        said = {"filename": tasks.named("filename", filename), "list": _contacts(contacts)}
        return await self._ask.automation("lists", "POST", self._ask.url("lists", hub=hub), said, before=before)

    async def list_state(self, hub: str, filename: str) -> str | None:
        """A list's state in small letters: ``loading``, ``inactive``, ``active``…; None where the hub has no such list.

        Assumed. What tells whether a list whose creation was ``Doubtful`` is there.

        Raises:
            Refused: also 404: the endpoint is assumed, so that it does not mean that there is no list.
            Doubtful: also an answer that does not name lists and their states.
        """
        name, status = self._ask.name("listState", "filename"), self._ask.name("listState", "status")
        url = f"{self._ask.url('listState', hub=hub)}?{urlencode({name: filename})}"
        said = await self._ask.automation("listState", "GET", url, None)
        lists = said.get("lists") if isinstance(said, Mapping) else said
        if not isinstance(lists, list) or not all(isinstance(one, Mapping) and name in one for one in lists):
            raise Doubtful(f"listState was answered with no array of lists, each with {name}")
        states = [one.get(status) for one in lists if one[name] == filename]
        if not states:
            return None
        if not isinstance(states[0], str):
            raise Doubtful(f"listState was answered with a list without {status}")
        return states[0].strip().lower()

    async def loaded(self, hub: str, filename: str, *, within: float, every: float = 1.0) -> str:
        """Waits until a list has loaded, and returns the state that it is in then.

        Args:
            hub: name of the outbound hub.
            filename: the list's name.
            within: seconds in all.
            every: seconds between two looks.

        Raises:
            Refused: the hub has no such list.
            Doubtful: it is still loading, or whatever ``list_state`` raises.
        """
        until = monotonic() + within
        while (state := await self.list_state(hub, filename)) == LOADING and monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(min(every, max(0.0, until - monotonic())))  # the vendor tells nobody that it has loaded
        if state is None:
            raise Refused(_NOT_FOUND, f"the hub has no list {filename!r}")
        if state == LOADING:
            raise Doubtful(f"the list {filename!r} was still loading after {within:g} s")
        return state

    async def fresh_leads(
        self,
        hub: str,
        filename: str,
        contacts: Sequence[Mapping[str, Any]],
        *,
        at: datetime | None = None,
        before: float | None = None,
    ) -> Any:
        """Has contacts called as soon as possible, or at a time; done once all are saved. Not idempotent.

        Args:
            hub: name of the outbound hub.
            filename: what they are kept under. Assumed.
            contacts: as of ``create_list``; few.
            at: aware. How it is sent is assumed.
            before: of the monotonic clock: it is not sent after that.
        """
        said = {self._ask.name("freshLeads", "filename"): filename, "list": _contacts(contacts)}
        if at is not None:
            said[self._ask.name("freshLeads", "date")] = tasks.local(at, self._zone)
        return await self._ask.automation(
            "freshLeads", "POST", self._ask.url("freshLeads", hub=hub), said, before=before
        )


def _contacts(contacts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Contacts of a telephone hub. Raises Permanent for one without a number, without saying any."""
    if not contacts:
        raise Permanent("list: found no contact; expected one or more")
    checked = []
    for at, contact in enumerate(contacts, 1):
        numbers = contact.get("clientIds") if isinstance(contact, Mapping) else None
        if not isinstance(numbers, list | tuple) or not numbers or not all(isinstance(one, str) for one in numbers):
            raise Permanent(f"contact {at}: found no clientIds; expected a list of numbers, the main one first")
        checked.append({**contact, "clientIds": [tasks.number(f"contact {at}: clientIds", one) for one in numbers]})
    return checked
