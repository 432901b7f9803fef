"""The rules of respooling."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, field_validator

from hub.config.sources import AnySource
from hub.config.values import Name, Part, Seconds
from hub.configured import checked_span, disagreement
from hub.forwarding.mapping import Template as FieldTemplate
from hub.respooling.delays import span
from hub.respooling.windows import Week
from hub.respooling.words import LEAD_FIELDS, LEAD_NUMBERS, Breadth, DialAs, How

Disposition = Literal["answered", "no_answer", "busy", "failed", "unknown"]
Span = Annotated[str, AfterValidator(checked_span)]


class RespoolRule(Part):
    """Which calls go back into which dialer, when, and how often."""

    name: Name | None = Field(default=None, description="by which the store knows it; else its place, from 1")
    sources: tuple[str, ...] = Field(min_length=1, description="whose calls")
    dispositions: tuple[Disposition, ...] = Field(min_length=1, description="which outcomes")
    campaigns: tuple[str, ...] = Field(default=(), description="only calls of these; empty: of any")
    dialer: str = Field(description="a source that dials: of ucontact or infocu5")
    campaign: str = Field(min_length=1, description="the dialer's own, by its whole name")
    list: str | None = Field(default=None, description="of infocu5: LIST or DIALER/LIST; of ucontact: a base's name")
    how: How = Field(default="auto", description="by which of the dialer's ways")
    delays: tuple[Span, ...] = Field(min_length=1, description="one for each dial attempt: 15m, 2h, 1d")
    alternatives: Literal["next", "same"] = Field(default="next", description="the contact's next number, or the same")
    numbers_from: tuple[str, ...] = Field(default=(), description="fields of the record with more numbers")
    daily_cap: int = Field(default=3, ge=0, description="dials of a contact in a day, over all rules")
    total_cap: int | None = Field(default=None, ge=1, description="dials of a contact in all")
    window: dict[str, str] = Field(default_factory=dict, description="days = hours; empty: at any time")
    holidays: tuple[date, ...] = Field(default=(), description="dates, where the number is")
    zones: Breadth = Field(default="number", description="country: every zone of the number's country")
    do_not_call: tuple[str, ...] | str = Field(default=(), description="numbers, or files of them")
    within: Span = Field(default="7d", description="how long after it was due an attempt is still made")
    ahead: Span = Field(default="0s", description="how long before its time it is handed to the dialer")
    unreported: Literal["wait", "go_on"] = Field(default="go_on", description="while the dialer's call is not reported")
    dial_as: DialAs = Field(default="national", description="how numbers are written for the dialer")
    priority: int | None = Field(default=None, ge=1, description="the dialer's own")
    agent: str | None = Field(default=None, description="extension of a certain agent")
    data: dict[str, Any] = Field(default_factory=dict, description="variable = template over the call's record")

    @field_validator("window")
    @classmethod
    def _readable(cls, table: dict[str, str]) -> dict[str, str]:
        Week.of(table)
        return table

    @field_validator("data")
    @classmethod
    def _templates(cls, table: dict[str, Any]) -> dict[str, Any]:
        for name, text in table.items():
            try:
                FieldTemplate(text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return table

    @property
    def lists(self) -> tuple[str, ...]:
        """Every entry of ``do_not_call``: numbers and names of files."""
        return (self.do_not_call,) if isinstance(self.do_not_call, str) else self.do_not_call


class Respool(Part):
    """The rules of respooling, in their order."""

    rules: tuple[RespoolRule, ...] = ()
    doubt: Seconds = Field(default=3600, description="until an attempt of unknown outcome is shown to people")


DIALERS: Final[Mapping[str, tuple[How, ...]]] = {
    "ucontact": ("auto", "task", "respool", "schedule", "list", "fresh"),
    "infocu5": ("auto", "list"),
}
"""Vendors whose sources can respool, and by which ways."""

TIMED: Final[Mapping[str, tuple[How, ...]]] = {"ucontact": ("auto", "task", "schedule", "fresh")}
"""Those of these ways that take a time at which to dial. By any other the dialer dials when it is asked."""


def agreeing_rules(respool: Respool, sources: Mapping[str, AnySource]) -> None:
    """Every rule speaks of sources that there are, and of one that dials.

    Raises:
        PydanticCustomError: with the key, what was found and what is expected.
    """
    known = ", ".join(sources) or "none is configured"
    dialers = ", ".join(name for name, one in sources.items() if one.vendor in DIALERS) or "none is configured"
    names: set[str] = set()
    for place, rule in enumerate(respool.rules):
        where = f"respool.rules.{place}"
        for source in rule.sources:
            if source not in sources:
                raise disagreement(f"{where}.sources: found {source!r}; expected the name of a source: {known}")
        dialer = sources.get(rule.dialer)
        if dialer is None or dialer.vendor not in DIALERS:
            raise disagreement(
                f"{where}.dialer: found {rule.dialer!r}; expected a source that dials, "
                f"of {' or '.join(DIALERS)}: {dialers}"
            )
        ways = DIALERS[dialer.vendor]
        if rule.how not in ways:
            raise disagreement(
                f"{where}.how: found {rule.how!r}; expected one that {dialer.vendor} has: {', '.join(ways)}"
            )
        for field in rule.data if dialer.vendor == "infocu5" else ():
            if field not in LEAD_FIELDS or field in LEAD_NUMBERS:
                expected = ", ".join(name for name in LEAD_FIELDS if name not in LEAD_NUMBERS)
                raise disagreement(f"{where}.data: found {field[:40]!r}; expected fields of a lead: {expected}")
        timed = TIMED.get(dialer.vendor, ())
        if span(rule.ahead) and rule.how not in timed:
            raise disagreement(
                f"{where}.ahead: found {rule.ahead!r}; expected 0s: {dialer.vendor} is told no time by "
                f"{rule.how!r}, and would dial at once; by these it is: {', '.join(timed) or 'none'}"
            )
        name = rule.name or str(place + 1)
        if name in names:
            raise disagreement(f"{where}.name: found {name!r} twice; expected a name for each rule")
        names.add(name)
