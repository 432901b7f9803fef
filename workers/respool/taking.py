"""From a sealed call to what the store takes. Pure."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import orjson

from hub.config import Settings
from hub.errors import Permanent
from hub.events import Event, moment, to_message
from hub.ports import Store
from hub.ports.respool import Taken
from hub.respooling.blocked import Blocked
from hub.respooling.planning import BLOCKED, Desk, Planned, first, stale
from hub.respooling.rules import Rule, called, fitting
from workers.respool.rules import country_of

_EVENTS: Final = 100  # of a call that are looked at


class Taking:
    """Reads sealed calls by the rules.

    Args:
        settings: for the countries of the sources.
        rules: in their order.
        blocked: a rule's do-not-call list now; None where it cannot be read.
    """

    def __init__(self, settings: Settings, rules: tuple[Rule, ...], blocked: Callable[[str], Blocked | None]) -> None:
        self._settings, self._rules, self._blocked = settings, rules, blocked

    def is_stale(self, event: Event) -> bool:
        """Whether it has to be known how a call was told: a rule wants it, and it ended long ago."""
        rule = fitting(event.data, self._rules).rule
        return rule is not None and stale(event.data, rule, event.time)

    def taken(self, event: Event, *, live: bool = False) -> Taken:
        """What a sealed call comes to; ``live`` as ``planning.first`` has it.

        Raises:
            Permanent: it is no record of a call.
        """
        record = event.data
        call_id = record.get("call_id")
        if not isinstance(call_id, str) or not call_id or "\0" in call_id + event.id:
            raise Permanent("call_id: found none; expected the record of a call")
        # A call that has yet to end is none: a vendor's clock may be ahead.
        ended = min(_time(record, "ended_at") or _time(record, "started_at") or event.time, event.time)
        return Taken(
            message=to_message(event),
            call_id=call_id,
            number=called(record),
            source=event.source,
            campaign=record.get("campaign"),
            outcome=str(record.get("disposition", "unknown")),
            started_at=min(_time(record, "started_at") or ended, ended),
            ended_at=ended,
            planned=self.planned(record, event.time, live=live),
            again=event.again,
            outbound=record.get("direction") == "outbound",
        )

    def planned(self, record: dict[str, Any], sealed_at: datetime, *, live: bool = False) -> Planned | None:
        """The first attempt for a call; refused where nobody may be called; None where no rule wants it."""
        rule = fitting(record, self._rules).rule
        if rule is None:
            return None
        planned = first(record, rule, country_of(self._settings, str(record.get("source"))), sealed_at, live=live)
        if planned is None:
            return None
        blocked = self._blocked(rule.name)
        if blocked is not None and Desk(rule, blocked).all_blocked(planned):
            return replace(planned, refused=BLOCKED)
        return planned


async def was_told_live(store: Store, call_id: str) -> bool:
    """Whether every event of a call was told by its vendor, and none asked for later. Raises StoreUnavailable."""
    page = await store.events(_EVENTS, None, call_id)
    told = [item for item in map(orjson.loads, page.items) if item["type"].startswith("trunkline.call.")]
    origins = {item["data"].get("origin") for item in told if "sealed" not in item["type"]}
    return origins == {"callback"}


def _time(record: dict[str, Any], name: str) -> datetime | None:
    try:
        return moment(record[name])
    except (KeyError, TypeError, ValueError):
        return None
