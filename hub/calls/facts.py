"""What a call's events say, sorted once so that everything derived from them is a function of their set. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
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


def once_told(events: Sequence[Event]) -> tuple[Event, ...]:
    """Without what was told twice: by a callback, and by the vendor's own record that stood in for it.

    The two are the same thing of the same leg, so that one counts which was received first, and the other changes
    nothing. Repeated records, and repeated callbacks, are not our affair here: their content differs.

    Args:
        events: of one call, oldest receipt first.
    """
    if not any(map(asked_for, events)) or all(map(asked_for, events)):
        return tuple(events)
    aliases = leg_aliases(events)
    counted: list[Event] = []
    alone: list[Event] = []  # of those that count, what nothing else has said so far
    for event in events:
        twin = next((known for known in alone if _same_thing(known, event, aliases)), None)
        if twin is None:
            counted.append(event)
            alone.append(event)
        else:
            alone.remove(twin)
    return tuple(counted)


def _same_thing(one: Event, other: Event, aliases: Mapping[str, str]) -> bool:
    if asked_for(one) == asked_for(other) or (one.noun, one.verb) != (other.noun, other.verb):
        return False
    who, whom = responder(one), responder(other)
    return leg_id(one, aliases) == leg_id(other, aliases) and (who == whom or not who or not whom)


def leg_aliases(events: Iterable[Event]) -> dict[str, str]:
    """A leg's short id to its long one, from the events that carry both."""
    pairs = (event.data.get("vendor_ids") or {} for event in events)
    return {ids["call_id"]: ids["call_uuid"] for ids in pairs if ids.get("call_id") and ids.get("call_uuid")}


def leg_id(event: Event, aliases: Mapping[str, str]) -> str | None:
    """The id of the leg that an event is of; None where the event has no leg or the leg no id."""
    leg = event.data.get("leg")
    if not isinstance(leg, dict) or not leg.get("id"):
        return None
    return aliases.get(str(leg["id"]), str(leg["id"]))


def responder(event: Event) -> str:
    """Who was rung, picked up or hung up: extension, else user id, empty where not sent."""
    agent = event.data.get("agent") or {}
    return str(agent.get("extension") or event.data.get("vendor_data", {}).get("UserID") or "")


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
        return cls(once_told(sorted(distinct.values(), key=lambda event: (received(event), event.id))))

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
