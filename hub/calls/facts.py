"""What a call's events say, sorted once so that everything derived from them is a function of their set. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from hub.events import Event, moment, timestamp

_REQUEST_ID: Final = re.compile(r"[1-9][0-9]*")
_COMPARED_DIGITS: Final = 9  # a national number; what stands before it is a prefix that one side may leave out


def received(event: Event) -> str:
    """When we received the event, as text that sorts like time."""
    stated = event.data.get("received_at")
    return stated if isinstance(stated, str) else timestamp(event.time)


def received_at(event: Event) -> datetime:
    """When we received the event."""
    return moment(received(event))


def asked_for(event: Event) -> bool:
    """Whether we asked the vendor for this, instead of being told: a record that comes again is no repetition."""
    return event.data.get("origin") in ("poll", "backfill")


def same_number(one: str, other: str) -> bool:
    """Whether two spellings are one telephone number: equal, or equal in their last nine digits."""
    if one == other:
        return True
    left, right = re.sub(r"\D", "", one), re.sub(r"\D", "", other)
    if min(len(left), len(right)) < _COMPARED_DIGITS:
        return left == right != ""
    return left[-_COMPARED_DIGITS:] == right[-_COMPARED_DIGITS:]


@dataclass(frozen=True)
class Facts:
    """The events of one call, oldest receipt first, the id breaking ties: the order in which one stands over another.

    Attributes:
        events: all that count, recordings and dials among them.
    """

    events: tuple[Event, ...]

    @classmethod
    def of(cls, events: Sequence[Event]) -> "Facts":
        """Facts of events in any order, repeated or not."""
        distinct = {event.id: event for event in sorted(events, key=received, reverse=True)}
        return cls(tuple(sorted(distinct.values(), key=lambda event: (received(event), event.id))))

    @cached_property
    def calls(self) -> tuple[Event, ...]:
        """The events of the call itself, without recordings and dials."""
        return tuple(event for event in self.events if event.noun == "call")

    def verbs(self, *names: str) -> list[Event]:
        """The call's events of these verbs."""
        return [event for event in self.calls if event.verb in names]

    def has(self, verb: str) -> bool:
        """Whether such an event came."""
        return any(event.verb == verb for event in self.calls)

    def first(self, field: str, *verbs: str) -> Any:
        """The value of a field in the event received first that has it; None where none has."""
        for event in self.calls:
            if (not verbs or event.verb in verbs) and event.data.get(field) is not None:
                return event.data[field]
        return None

    @property
    def vendor(self) -> str:
        """Whose call it is."""
        return self.events[0].vendor

    @property
    def issued(self) -> bool:
        """Whether the call went out."""
        return bool(self.first("direction") == "outbound")

    @property
    def polled(self) -> bool:
        """Whether a vendor's own record of the finished call is among the events."""
        return any(map(asked_for, self.calls))

    @property
    def dialled(self) -> bool:
        """Whether a FocalScope call was made by its dial API: its identity is a request id then."""
        return any(
            _REQUEST_ID.fullmatch(str(event.data.get("vendor_ids", {}).get("request_id", ""))) for event in self.calls
        )
