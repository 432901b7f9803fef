"""The attempts of a chain: what the first is, what follows on a report, and what becomes of one when its time comes.

**Cause** is the sealed call that began the chain: its id. **Contact** is the outer party's number in E.164, however the
vendors name the person. Pure; times are arguments.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from hub.errors import Permanent
from hub.events import moment
from hub.forwarding.mapping import Template, seen
from hub.forwarding.wanting import MISSING
from hub.respooling.blocked import Blocked
from hub.respooling.numbers import zones
from hub.respooling.rules import Record, Rule, numbers_of
from hub.respooling.windows import day_began, day_ends

State = Literal["waiting", "sending", "accepted", "refused", "unknown"]

ALREADY: Final = "already_planned"
BLOCKED: Final = "do_not_call"
REACHED: Final = "reached"
DAILY_CAP: Final = "daily_cap"
TOTAL_CAP: Final = "total_cap"
NO_WINDOW: Final = "no_window"
TOO_LATE: Final = "too_late"
NO_ZONE: Final = "zone_unknown"
NO_RULE: Final = "rule_gone"
UNFIT: Final = "outcome"
DIALER: Final = "dialer"

REASONS: Final[Mapping[str, str]] = {
    ALREADY: "another attempt for this contact and campaign waits already",
    BLOCKED: "every number of the contact is on a do-not-call list",
    REACHED: "the contact was spoken with meanwhile",
    DAILY_CAP: "the cap for a day is 0",
    TOTAL_CAP: "the cap in all is used up",
    NO_WINDOW: "the window is not open in every zone of the number at any time it could be made",
    TOO_LATE: "it could not be made within the time that its rule gives it",
    NO_ZONE: "it cannot be told in which time zone the number is",
    NO_RULE: "its rule is not in the configuration any more",
    UNFIT: "the call before it ended in a way that its rule does not respool",
    DIALER: "the dialer refused it, or could not be asked in twelve attempts",
}
"""Every ``reason`` of a ``.refused`` event."""

HELD: Final = "a do-not-call list cannot be read"
CAPPED: Final = "the cap for the day is used up"
CLOSED: Final = "the window is closed"
EARLY: Final = "its delay is not over"
_HOLD: Final = timedelta(seconds=60)
_ASKED_WITHIN: Final = timedelta(hours=1)  # longer than any dialer is waited for


@dataclass(frozen=True, slots=True)
class Planned:
    """An attempt that is to be made.

    Attributes:
        contact: E.164.
        campaign: the dialer's.
        cause: id of the call that began the chain.
        attempt: from 1.
        rule: its name.
        dialer: the source that dials, and
        vendor: its vendor.
        numbers: E.164; the first is dialled, the others are alternatives.
        details: what the dialer is to be told of the cause.
        since: a call answered from then on means that the contact was reached.
        due_at: when its delay is over.
        next_at: when somebody is to look at it.
        refused: why it is not made at all.
    """

    contact: str
    campaign: str
    cause: str
    attempt: int
    rule: str
    dialer: str
    vendor: str
    numbers: tuple[str, ...]
    details: Mapping[str, Any]
    since: datetime
    due_at: datetime
    next_at: datetime
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Respool:
    """An attempt as the store has it.

    Attributes:
        planned: what it is.
        round: how often it was taken up.
        tries: requests that certainly failed in this round.
        claim: who has it in hand.
        intent_at: when it was about to be sent; None where it certainly was not.
        at: when the dialer dials, as far as we asked for it.
        settled_at: when it was accepted, refused or found doubtful.
        reason: why it was refused, or waits.
        remote_id: the dialer's own id, where it gives one.
        report: id of the dialer's call, once reported.
        outcome: of that.
    """

    respool_id: str
    planned: Planned
    state: State
    round: int
    tries: int
    next_at: datetime | None
    claim: str | None = None
    intent_at: datetime | None = None
    at: datetime | None = None
    settled_at: datetime | None = None
    reason: str | None = None
    remote_id: str | None = None
    report: str | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the store knows of a contact at the moment of sending.

    Attributes:
        reached: id of a call that was answered since the cause; None where there is none.
        today: dials of the contact on the day that is asked for, as they were asked of the dialers, and later.
        total: ever.
    """

    reached: str | None = None
    today: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Send:
    """Now.

    Attributes:
        numbers: that may be dialled, the first one first.
        at: when the dialer is to dial.
        until: when the window closes: the dialer is not asked after that; None: whenever.
    """

    numbers: tuple[str, ...]
    at: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Never; ``reason`` is one of ``REASONS``."""

    reason: str


Verdict = Send | Wait | Refuse
Judge = Callable[[Facts], Verdict]


def stale(record: Record, rule: Rule, sealed_at: datetime) -> bool:
    """Whether the vendor says that the call ended longer ago than an attempt is worth."""
    ended = _time(record, "ended_at") or _time(record, "started_at") or sealed_at
    return sealed_at - ended > rule.within


def first(record: Record, rule: Rule, country: str, sealed_at: datetime, *, live: bool = False) -> Planned | None:
    """The first attempt for a call that fits the rule; None where the call has no contact.

    Args:
        record: of the call.
        rule: which it fits.
        country: of the call's source.
        sealed_at: counts where the record does not say when the call ended, or says that it has yet to.
        live: the call is known to have been told while it happened: then it is not of last month, whatever its vendor's
            clock says, and ``sealed_at`` counts.
    """
    numbers = numbers_of(record, rule, country)
    if not numbers:
        return None
    wrong = live and stale(record, rule, sealed_at)
    stated = None if wrong else _time(record, "ended_at") or _time(record, "started_at")
    ended = min(stated or sealed_at, sealed_at)
    outbound = record.get("direction") == "outbound"
    return _attempt(
        Planned(
            contact=numbers[0],
            campaign=rule.campaign,
            cause=str(record["call_id"]),
            attempt=0,
            rule=rule.name,
            dialer=rule.dialer,
            vendor=rule.vendor,
            # Who called is called back on that number; of who did not answer it, the next one is tried.
            numbers=numbers if outbound or rule.alternatives == "same" else (*numbers[-1:], *numbers[:-1]),
            details=_details(record, rule),
            since=ended if wrong else min(_time(record, "started_at") or ended, ended),
            due_at=ended,
            next_at=ended,
        ),
        rule,
        ended,
    )


def following(before: Planned, rule: Rule | None, ended: datetime) -> Planned | None:
    """The attempt after another, counted from its end; None where there is none."""
    return None if rule is None else _attempt(before, rule, ended)


def reported(before: Planned, rule: Rule | None, outcome: str, ended: datetime) -> Planned | None:
    """The attempt after one whose call was reported; None where the chain ends."""
    if rule is None or outcome == "answered" or outcome not in rule.dispositions:
        return None
    return _attempt(before, rule, ended)


def _attempt(before: Planned, rule: Rule, ended: datetime) -> Planned | None:
    number = before.attempt + 1
    if number > len(rule.delays):
        return None
    due = ended + rule.delays[number - 1]
    numbers = before.numbers if rule.alternatives == "same" else (*before.numbers[1:], *before.numbers[:1])
    return Planned(
        contact=before.contact,
        campaign=before.campaign,
        cause=before.cause,
        attempt=number,
        rule=before.rule,
        dialer=before.dialer,
        vendor=before.vendor,
        numbers=numbers,
        details=before.details,
        since=before.since,
        due_at=due,
        next_at=due - rule.ahead,
    )


@dataclass(frozen=True)
class Desk:
    """What an attempt is judged by beside the facts: its rule and the rule's do-not-call list.

    Attributes:
        rule: None where the configuration has it no more.
        blocked: None where the list cannot be read.
    """

    rule: Rule | None
    blocked: Blocked | None = field(default_factory=Blocked)

    def all_blocked(self, planned: Planned) -> bool:
        """Whether there is no number that may be called."""
        return self.blocked is not None and all(self.blocked.holds(number) for number in self._meant(planned))

    def callable(self, planned: Planned) -> tuple[str, ...]:
        """The numbers that may be dialled: not blocked, their zones known."""
        rule, blocked = self.rule, self.blocked
        if rule is None or blocked is None:
            return ()
        free = [number for number in self._meant(planned) if not blocked.holds(number)]
        return tuple(number for number in free if zones(number, rule.breadth))

    def zones(self, numbers: Sequence[str]) -> tuple[str, ...]:
        """Every zone that one of the numbers may be in."""
        breadth = self.rule.breadth if self.rule else "number"
        return tuple(sorted({zone for number in numbers for zone in zones(number, breadth)}))

    def day(self, planned: Planned, now: datetime) -> datetime:
        """From when on dials count as those of the day on which it would be dialled."""
        places = self.zones(self.callable(planned))
        if self.rule is None or not places:
            return now - timedelta(days=1)
        opens = self.rule.window.next_open(max(now, planned.due_at), places, planned.due_at + self.rule.within)
        return day_began(opens or now, places)

    def judge(self, planned: Planned, facts: Facts, now: datetime) -> Verdict:  # noqa: PLR0911  a table
        """What becomes of an attempt whose time has come."""
        rule, blocked = self.rule, self.blocked
        if rule is None or (rule.dialer, rule.campaign) != (planned.dialer, planned.campaign):
            return Refuse(NO_RULE)
        if blocked is None:
            return Wait(now + _HOLD, HELD)
        if self.all_blocked(planned):
            return Refuse(BLOCKED)
        numbers = self.callable(planned)
        if not numbers:
            return Refuse(NO_ZONE)
        if facts.reached is not None:
            return Refuse(REACHED)
        if rule.daily_cap == 0:
            return Refuse(DAILY_CAP)
        if rule.total_cap is not None and facts.total >= rule.total_cap:
            return Refuse(TOTAL_CAP)
        return self._when(rule, planned, numbers, facts, now)

    def _meant(self, planned: Planned) -> tuple[str, ...]:
        return planned.numbers[:1] if self.rule and self.rule.alternatives == "same" else planned.numbers

    def _when(self, rule: Rule, planned: Planned, numbers: tuple[str, ...], facts: Facts, now: datetime) -> Verdict:
        last = planned.due_at + rule.within
        at = max(now, planned.due_at)
        if at > last:
            return Refuse(TOO_LATE)
        places = self.zones(numbers)
        opens = rule.window.next_open(at, places, last)
        full = facts.today >= rule.daily_cap
        if full and opens is not None:
            opens = rule.window.next_open(day_ends(opens, places), places, last)
        if opens is None:
            return Refuse(NO_WINDOW)
        if opens - rule.ahead <= now and not full:
            return Send(numbers, opens, rule.window.open_until(opens, places, _ASKED_WITHIN))
        why = CAPPED if full else CLOSED if opens > at else EARLY
        return Wait(max(opens - rule.ahead, day_ends(now, places)) if full else opens - rule.ahead, why)


def _details(record: Record, rule: Rule) -> dict[str, Any]:
    """What the dialer may be told: its own fields of the cause as they are, and the rule's variables."""
    said: dict[str, Any] = {
        name: record[name] for name in ("call_id", "source", "campaign", "list", "contact") if record.get(name)
    }
    variables = {}
    for name, text in rule.data.items():
        try:
            value = Template(text)(seen(record))
        except Permanent:
            continue  # a call without it is respooled all the same
        if value is not MISSING:
            variables[name] = str(value)
    if record.get("disposition") == "answered":
        said["answered"] = True  # so that the cause itself is no proof that the contact was reached meanwhile
    return said | {"data": variables}


def _time(record: Record, name: str) -> datetime | None:
    value = record.get(name)
    try:
        return moment(value) if isinstance(value, str) else None
    except ValueError:
        return None
