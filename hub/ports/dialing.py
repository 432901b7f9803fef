"""The seams of placing calls: a vendor that can be told to, and what the store remembers of it.

A dial is a row from the moment that it is taken. It is sent once: the intent is written before the request, and what
has an intent and no answer is ``unknown``, and is never sent again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from hub.dialing.orders import Order
from hub.events import timestamp
from hub.ports import Failure, Store

WORKER: Final = "dial"
"""The worker's name, in the ledger and in metrics."""

KEY_HOURS: Final = 24
"""For which an idempotency key is honoured."""

State = Literal["requested", "accepted", "failed", "unknown"]


class Form(Protocol):
    """What a source's vendor can be asked for. Pure."""

    def check(self, order: Order) -> None:
        """Raises Unacceptable where the vendor could not be asked so."""
        ...


@dataclass(frozen=True, slots=True)
class Placed:
    """A call that the vendor has taken on.

    Attributes:
        request_id: what the vendor calls it; empty where it did not say.
        call_id: the call that it becomes, where the vendor's answer identifies that.
        vendor_ids: as the call's events will have them.
    """

    request_id: str
    call_id: str | None = None
    vendor_ids: dict[str, str] = field(default_factory=dict)


class PlacesCalls(Protocol):
    """A source that places calls."""

    async def dial(self, order: Order, before: float) -> Placed:
        """Places a call.

        Args:
            order: checked.
            before: of the monotonic clock: it is not sent after that (``NotSent``).

        Raises:
            NotSent, LaneClosed, RateLimited, Expired: certainly nothing was done.
            Permanent: it said no, and will say so again.
            Doubtful: sent, and it is not known what came of it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Dial:
    """A dial as the store knows it.

    Attributes:
        key: the caller's idempotency key; None where it gave none.
        give_up_at: it is not sent after that.
        sent_at: when the intent to send was written; None while it was not, or was taken back.
        settled_at: when it left ``requested``.
        attempt: how often it was sent, or tried to be.
        request_id: the vendor's.
        call_id: the call it became.
        reason: of a failure, or of not knowing.
        claim: who has it in hand.
    """

    dial_id: str
    vendor: str
    order: Order
    key: str | None
    state: State
    requested_at: datetime
    give_up_at: datetime
    sent_at: datetime | None = None
    settled_at: datetime | None = None
    attempt: int = 0
    history: tuple[Failure, ...] = ()
    request_id: str | None = None
    call_id: str | None = None
    reason: str | None = None
    claim: str | None = None

    def shown(self) -> dict[str, Any]:
        """As ``GET /v1/dial/{dial_id}`` has it, without what is not known."""
        every: dict[str, Any] = {
            "dial_id": self.dial_id,
            "state": self.state,
            "vendor": self.vendor,
            **self.order.shown(),
            "request_id": self.request_id,
            "call_id": self.call_id,
            "reason": self.reason,
            "attempts": self.attempt,
            "requested_at": timestamp(self.requested_at),
            "give_up_at": timestamp(self.give_up_at),
            "sent_at": None if self.sent_at is None else timestamp(self.sent_at),
            "settled_at": None if self.settled_at is None else timestamp(self.settled_at),
            "failures": [{"at": timestamp(one.at), "reason": one.reason} for one in self.history] or None,
        }
        return {name: value for name, value in every.items() if value is not None}


class Dials(Protocol):
    """Verbs, each one transaction; all raise StoreUnavailable. Those with a claim say whether it was ours."""

    async def take(
        self,
        order: Order,
        vendor: str,
        *,
        callee: Mapping[str, str],
        key: str | None,
        now: datetime,
        within: float,
    ) -> Dial:
        """Makes a dial, and ``dial.<vendor>.requested``; or returns the one that the key stands for.

        Args:
            order: checked.
            vendor: of its source.
            callee: the destination as events have it.
            key: honoured for ``KEY_HOURS``, whichever source the order names.
            now: when.
            within: seconds after which it is not sent any more.

        Raises:
            KeyReused: the key stands for another order.
        """
        ...

    async def due(self, now: datetime) -> set[str]:
        """The sources that have something to be sent."""
        ...

    async def claim(self, source: str, now: datetime, limit: int, lease: float, claim: str) -> list[Dial]:
        """Takes what is to be sent, oldest first, for ``lease`` seconds."""
        ...

    async def intend(self, dial_id: str, claim: str, now: datetime, lease: float) -> bool:
        """Writes down that it is about to be sent, and keeps the claim for ``lease`` seconds more.

        False too where it is too late to send it.
        """
        ...

    async def accepted(self, dial_id: str, claim: str, placed: Placed, now: datetime) -> bool:
        """The vendor has taken it on: the row, and ``dial.<vendor>.accepted``; also of one given for unknown."""
        ...

    async def failed(self, dial_id: str, claim: str, reason: str, now: datetime) -> bool:
        """It will not be placed: the row, and ``dial.<vendor>.failed``. Also of one that was given for unknown."""
        ...

    async def doubted(self, dial_id: str, claim: str, reason: str, now: datetime) -> bool:
        """It was sent, and nobody knows what came of it."""
        ...

    async def postpone(self, dial_id: str, claim: str, until: datetime, failure: Failure) -> bool:
        """Certainly nothing was sent: the intent is taken back, and it is due then."""
        ...

    async def sweep(self, now: datetime) -> list[Dial]:
        """What nobody has in hand and is too late has failed; what was sent by somebody who is gone is unknown."""
        ...

    async def settle(self, now: datetime) -> list[Dial]:
        """Ties dials to the calls that callbacks have told of since; returns them as they are now.

        An accepted one by the vendor's own id (``dial.<vendor>.tied``); an unknown one where one call and no other
        fits it and no other (``dial.<vendor>.accepted``).
        """
        ...

    async def forget(self, now: datetime) -> int:
        """Removes keys whose time is over, and what was noted of calls that nobody looks for any more."""
        ...

    async def dial(self, dial_id: str) -> Dial | None:
        """One; None where there is none."""
        ...

    async def of_call(self, call_id: str) -> Sequence[Dial]:
        """Those of a call."""
        ...


class DialStore(Store, Protocol):
    """A store with dials."""

    @property
    def dials(self) -> Dials:
        """What is to be placed, and what was."""
        ...
