"""Which rule a sealed call fits, and whose numbers it leaves to be called. Pure.

The first rule that fits counts, and no other. Of a rule that does not fit it is said why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from hub.forwarding.wanting import MISSING, at as field_at
from hub.respooling.numbers import listed
from hub.respooling.windows import Window
from hub.respooling.words import Breadth, DialAs, How

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """A rule, read.

    Attributes:
        name: its key in the store: as configured, else its place among the rules.
        sources: whose calls.
        dispositions: which outcomes.
        campaigns: only calls of these; empty: of any, and of none.
        dialer: the source that dials.
        vendor: the dialer's.
        country: the dialer's; numbers are written for it.
        campaign: the dialer's.
        delays: one for each dial attempt.
        alternatives: ``next`` number of the contact with each attempt, or the ``same``.
        numbers_from: fields of the call's record with more numbers of the contact.
        window: when one may call.
        breadth: how widely a number's time zones are taken.
        daily_cap: dials of a contact in a day, over all rules.
        total_cap: in all; None: no limit.
        within: how long after it was due an attempt is still made.
        ahead: how long before its time a call is handed to the dialer.
        unreported: what happens where the dialer's call is never reported.
        how: by which of the dialer's ways.
        dial_as: how numbers are written for the dialer.
        priority: the dialer's; None: its own default.
        agent: extension of a certain agent.
        list: of INFOCU5, ``LIST`` or ``DIALER/LIST``; of uContact, the name of a base.
        data: variables for the dialer, templates over the call's record.
    """

    name: str
    sources: frozenset[str]
    dispositions: frozenset[str]
    dialer: str
    vendor: str
    campaign: str
    delays: tuple[timedelta, ...]
    window: Window
    campaigns: frozenset[str] = frozenset()
    country: str = "ES"
    alternatives: Literal["next", "same"] = "next"
    numbers_from: tuple[str, ...] = ()
    breadth: Breadth = "number"
    daily_cap: int = 3
    total_cap: int | None = None
    within: timedelta = timedelta(days=7)
    ahead: timedelta = timedelta()
    unreported: Literal["wait", "go_on"] = "go_on"
    how: How = "auto"
    dial_as: DialAs = "national"
    priority: int | None = None
    agent: str | None = None
    list: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def misfit(self, record: Record) -> str | None:
        """Why a call is none of this rule's; None where it is one."""
        for name, found, wanted in (
            ("source", record.get("source"), self.sources),
            ("disposition", record.get("disposition"), self.dispositions),
            ("campaign", record.get("campaign"), self.campaigns),
        ):
            if wanted and found not in wanted:
                return f"its {name} is {_shown(found)}, not {' or '.join(sorted(wanted))}"
        return None


@dataclass(frozen=True, slots=True)
class Fit:
    """What the rules say of a call.

    Attributes:
        rule: the first that fits; None where none does.
        others: of each rule that was looked at and does not fit: its name and why.
    """

    rule: Rule | None
    others: tuple[tuple[str, str], ...]


def fitting(record: Record, rules: Sequence[Rule]) -> Fit:
    """The rule that a call's record fits."""
    others: list[tuple[str, str]] = []
    for rule in rules:
        why = rule.misfit(record)
        if why is None:
            return Fit(rule, tuple(others))
        others.append((rule.name, why))
    return Fit(None, tuple(others))


def outer_party(record: Record) -> Mapping[str, Any]:
    """The one who is not us: who called, or who was called; empty where that is not known."""
    direction = record.get("direction")
    party = record.get({"inbound": "caller", "outbound": "callee"}.get(str(direction), ""))
    return party if isinstance(party, Mapping) else {}


def contact_of(record: Record) -> str | None:
    """The outer party's number in E.164, by which a contact is known; None where it has none."""
    number = outer_party(record).get("e164")
    return number if isinstance(number, str) and number else None


def called(record: Record) -> str | None:
    """Whom we called, or may have called, E.164: not every vendor says who called whom.

    Of those that do not, only a call of which it is known how it went says anything of an attempt.
    """
    if record.get("direction") == "outbound":
        return contact_of(record)
    if record.get("direction") == "inbound" or record.get("disposition") in {None, "unknown"}:
        return None
    return next(iter(_parties(record)), None)


def unusable(record: Record) -> str:
    """Why a call has no contact."""
    party = outer_party(record)
    if party.get("withheld"):
        return "the number is withheld"
    if party.get("number"):
        return "the number is none that can be called: it has no international form"
    return "there is no number of the other party"


def numbers_of(record: Record, rule: Rule, country: str) -> tuple[str, ...]:
    """The contact's numbers, its own first; empty where it has none.

    Args:
        record: of the call.
        rule: which fields have more of them.
        country: national numbers are read with it.
    """
    contact = contact_of(record)
    if contact is None:
        return ()
    found = (value for name in rule.numbers_from if (value := field_at(record, name)) is not MISSING)
    return tuple(dict.fromkeys((contact, *listed(found, country))))


def reached(record: Record, numbers: Sequence[str]) -> bool:
    """Whether a call shows that one of these numbers was spoken with, or is at this moment.

    Where nobody said who called whom, either party may be the contact.
    """
    if record.get("disposition") != "answered":
        return False
    directed = record.get("direction") in {"inbound", "outbound"}
    parties = [contact_of(record)] if directed else _parties(record)
    return not set(numbers).isdisjoint(parties)


def _parties(record: Record) -> list[str]:
    """The numbers of both ends in E.164, as far as they are known."""
    parties = (record.get(name) for name in ("callee", "caller"))
    found = (party.get("e164") for party in parties if isinstance(party, Mapping))
    return [number for number in found if isinstance(number, str) and number]


def _shown(value: Any) -> str:
    return "not known" if value is None else str(value)[:40]
