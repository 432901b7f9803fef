"""The rules as they are configured, read for the core. Pure."""

from hub.config import RespoolRule, Settings
from hub.respooling.delays import span
from hub.respooling.rules import Rule
from hub.respooling.windows import Week, Window


def rules_of(settings: Settings) -> tuple[Rule, ...]:
    """Every rule, in its order."""
    return tuple(_rule(place, one, settings) for place, one in enumerate(settings.respool.rules, 1))


def _rule(place: int, one: RespoolRule, settings: Settings) -> Rule:
    dialer = settings.sources[one.dialer]
    return Rule(
        name=one.name or str(place),
        sources=frozenset(one.sources),
        dispositions=frozenset(one.dispositions),
        campaigns=frozenset(one.campaigns),
        dialer=one.dialer,
        vendor=dialer.vendor,
        country=dialer.country,
        campaign=one.campaign,
        delays=tuple(map(span, one.delays)),
        alternatives=one.alternatives,
        numbers_from=one.numbers_from,
        window=Window(Week.of(one.window), frozenset(one.holidays)),
        breadth=one.zones,
        daily_cap=one.daily_cap,
        total_cap=one.total_cap,
        within=span(one.within),
        ahead=span(one.ahead),
        unreported=one.unreported,
        how=one.how,
        dial_as=one.dial_as,
        priority=one.priority,
        agent=one.agent,
        list=one.list,
        data=one.data,
    )


def country_of(settings: Settings, source: str) -> str:
    """With which national numbers of a source's calls are read."""
    found = settings.sources.get(source)
    return "ES" if found is None else found.country
