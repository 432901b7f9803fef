"""The URLs to paste into a vendor's console."""

from collections.abc import Iterator
from typing import Final

from hub.cli.shared import base_url
from hub.config import AnySource, FocalScopeSource, InfocallerSource, Settings, UContactSource
from hub.errors import ConfigurationError

_INFOCALLER: Final = "caller=[_NumLlamante]&num=[_NumInfocaller]&called=[_NumLlamado]&id=[_IdLlamada]&uuid=[_UUID]"
_DIVERTED: Final = "&desvio=[_NumDesvio]"
_FOCALSCOPE: Final = (
    "CallType={{CallTypeName}}&Event={{DialApiEventName}}&CallID={{CallID}}&RequestID={{DialApiRequestID}}"
    "&EventCode={{DialApiEventCode}}&IsCallRecorded={{IsCallRecorded}}&Guid={{CallUUID}}&CallerID={{CallerID}}"
    "&DID={{DID}}&Ext={{ResponderAgentExt}}&Agent={{ResponderAgent}}&UserID={{ResponderUserID}}"
    "&UserName={{ResponderUserName}}&Queue={{LastQueueName}}"
)
QUERY: Final = "query"
"""What stands for the event where the URL of Queries is meant."""

EVENTS: Final = ("inicio", "desvio_correcto", "desvio_fallido", "fin")


def source_named(settings: Settings, name: str) -> AnySource:
    """A source by its name. Raises ConfigurationError where there is none."""
    source = settings.sources.get(name)
    if source is None:
        known = ", ".join(settings.sources) or "none is configured"
        raise ConfigurationError(f"sources: found {name!r}; expected one of: {known}")
    return source


def path(name: str, source: AnySource, event: str | None = None) -> str:
    """The path of a source's callbacks, with its first token. Raises ConfigurationError where it has none."""
    if event == QUERY:
        return f"/queries/{name}/{_token(name, source)}"
    return f"/callbacks/{name}/{_token(name, source)}" + (f"/{event}" if event else "")


def _token(name: str, source: AnySource) -> str:
    if not source.tokens:
        raise ConfigurationError(f"sources.{name}.tokens: found none; expected a secret path segment")
    return source.tokens[0].get_secret_value()


def urls(settings: Settings, name: str) -> dict[str, str]:
    """What to paste for one source, by what the vendor calls the field."""
    source, base = source_named(settings, name), base_url(settings)
    match source:
        case InfocallerSource():
            wanted = [event for event in EVENTS if event in source.events]
            diverted = {event: _DIVERTED if event.startswith("desvio") else "" for event in wanted}
            query = {QUERY.upper(): f"{base}{path(name, source, QUERY)}"} if source.queries else {}
            return {
                event.upper(): f"{base}{path(name, source, event)}?{_INFOCALLER}{diverted[event]}" for event in wanted
            } | query
        case FocalScopeSource():
            return {"URL adapter": f"{base}{path(name, source)}?{_FOCALSCOPE}"}
        case UContactSource():
            # One that is only asked needs no token, and has nothing to paste.
            return {"Webhook": f"{base}{path(name, source)}"} if source.tokens else {}
        case _:
            return {}  # its vendor does not call back


def callback_urls(settings: Settings) -> Iterator[str]:
    """Lines to print: every URL of every source."""
    for name, source in settings.sources.items():
        found = urls(settings, name)
        yield f"{source.vendor} source {name!r}: {'paste' if found else 'nothing to paste'}"
        for field, url in found.items():
            yield f"  {field:<16} {url}"
