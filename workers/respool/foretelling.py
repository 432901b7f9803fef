"""What the rules would do for a call, without doing it: the same rules, the same last look, at a time yet to come."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from hub.config import Settings
from hub.events import moment, timestamp
from hub.ports.respool import RespoolStore
from hub.respooling.blocked import Blocked
from hub.respooling.planning import ALREADY, REASONS, Desk, Planned, Refuse, Respool, Send, Wait, first, stale
from hub.respooling.rules import Rule, contact_of, fitting, unusable
from workers.respool.rules import country_of, rules_of
from workers.respool.taking import was_told_live

_LOOKS: Final = 50  # at an attempt that waits for its delay, its window and the end of a day
_DONE: Final[Mapping[str, str]] = {
    "waiting": "waits",
    "sending": "is being sent",
    "accepted": "done",
    "refused": "refused",
    "unknown": "unknown: nobody knows whether the dialer took it",
}


@dataclass(frozen=True)
class Foretold:
    """What would become of a call, or has.

    Attributes:
        record: of the call.
        action: ``respool``, ``none``, or the state of the attempt that there is.
        why: in words.
        planned: the attempt; None where there is none.
        at: when it would be dialled.
        zones: that the window has to be open in.
        others: rules that do not fit, and why.
    """

    record: Mapping[str, Any]
    action: str
    why: str
    planned: Planned | None = None
    at: datetime | None = None
    zones: tuple[str, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """For people and machines."""
        one = self.planned
        said: dict[str, Any] = {
            "call_id": self.record.get("call_id"),
            "source": self.record.get("source"),
            "disposition": self.record.get("disposition"),
            "ended_at": self.record.get("ended_at"),
            "action": self.action,
            "why": self.why,
        }
        if one is not None:
            said |= {
                "rule": one.rule,
                "contact": one.contact,
                "numbers": list(one.numbers),
                "dialer": one.dialer,
                "campaign": one.campaign,
                "cause": one.cause,
                "attempt": one.attempt,
                "due_at": timestamp(one.due_at),
                "at": None if self.at is None else timestamp(self.at),
                "zones": list(self.zones),
            }
        return said | {"rules": dict(self.others)}


class Foreteller:
    """Looks at calls. It writes nothing, and asks no dialer.

    Args:
        settings: the rules.
        store: what is known.
        blocked: a rule's do-not-call list; None where it cannot be read.
        now: aware.
    """

    def __init__(
        self, settings: Settings, store: RespoolStore, blocked: Callable[[str], Blocked | None], now: datetime
    ) -> None:
        self._settings, self._store, self._blocked, self._now = settings, store, blocked, now
        self._rules = rules_of(settings)

    async def of(self, record: Mapping[str, Any]) -> list[Foretold]:
        """What there is to say of a call: one for each attempt that it is part of, else one."""
        call_id = str(record.get("call_id"))
        attempts = await self._store.respools.of_call(call_id)
        if attempts:
            return [await self._attempt(record, one) for one in attempts]
        fit = fitting(record, self._rules)
        others = dict(fit.others)
        if fit.rule is None:
            why = "no rule fits it" if self._rules else "there are no rules"
            return [Foretold(record, "none", why, others=others)]
        if not record.get("sealed"):
            return [Foretold(record, "none", "it is not sealed yet", others=others)]
        chain = await self._chain(record)
        if chain is not None:
            what = "the report" if chain.report is None else "another call"
            return [Foretold(record, "none", f"it is {what} of attempt {chain.planned.attempt}", chain.planned)]
        return [replace(await self._new(record, fit.rule), others=others)]

    async def _new(self, record: Mapping[str, Any], rule: Rule) -> Foretold:
        sealed_at = moment(str(record["sealed"]["at"]))
        live = stale(record, rule, sealed_at) and await was_told_live(self._store, str(record["call_id"]))
        planned = first(record, rule, country_of(self._settings, str(record.get("source"))), sealed_at, live=live)
        if planned is None:
            return Foretold(record, "none", unusable(record))
        other = await self._store.respools.open_for(planned)
        if other is not None:
            return Foretold(record, "none", f"{ALREADY}: {REASONS[ALREADY]}", planned)
        return await self._judged(record, planned, "respool", "its rule wants it")

    async def _chain(self, record: Mapping[str, Any]) -> Respool | None:
        number = contact_of(record) if record.get("direction") == "outbound" else None
        if number is None or not record.get("started_at"):
            return None
        return await self._store.respools.chained(number, moment(str(record["started_at"])))

    async def _attempt(self, record: Mapping[str, Any], one: Respool) -> Foretold:
        """An attempt that there is."""
        if one.state == "waiting":
            return await self._judged(record, one.planned, "waiting", one.reason or "its time has not come")
        report = "" if one.report is None else f"; the dialer's call was reported: {one.outcome}"
        missing = "; the next attempt waits for the report of this one" if self._waits(one) else ""
        why = f"{_DONE[one.state]}{f': {one.reason}' if one.reason else ''}{report}{missing}"
        return Foretold(record, one.state, why, one.planned, one.at)

    def _waits(self, one: Respool) -> bool:
        rule = next((rule for rule in self._rules if rule.name == one.planned.rule), None)
        more = rule is not None and rule.unreported == "wait" and one.planned.attempt < len(rule.delays)
        return one.state == "accepted" and one.report is None and more

    async def _judged(self, record: Mapping[str, Any], planned: Planned, action: str, why: str) -> Foretold:
        """What the last look will find, as far as is known now."""
        rule = next((rule for rule in self._rules if rule.name == planned.rule), None)
        desk = Desk(rule, self._blocked(planned.rule))
        zones = desk.zones(desk.callable(planned))
        at = max(self._now, planned.next_at)
        for _ in range(_LOOKS):
            facts = await self._store.respools.facts(planned, desk.day(planned, at))
            match desk.judge(planned, facts, at):
                case Send(numbers, dialled_at):
                    shown = replace(planned, numbers=numbers)
                    return Foretold(record, action, why, shown, dialled_at, zones)
                case Refuse(reason):
                    return Foretold(record, "none", f"{reason}: {REASONS[reason]}", planned, None, zones)
                case Wait(until, reason):
                    at, why = until, f"{why}; {reason}" if reason not in why else why
                    if desk.blocked is None:
                        return Foretold(record, action, reason, planned, None, zones)
        return Foretold(record, action, why, planned, None, zones)
