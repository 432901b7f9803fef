"""Where each source keeps its audio, and what a request for it carries."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from string import Formatter
from typing import Any, Final, Protocol
from urllib.parse import quote

from hub.config import AnySource, FocalScopeSource, Settings, UContactSource
from hub.errors import Expired, Permanent
from hub.outgoing import Lane, Request, Token
from hub.ports.recordings import Recording
from hub.vendors.ucontact.making import make_session
from hub.vendors.ucontact.session import Session
from workers.recordings.troubles import NoUrl

UNKNOWN_KEPT: Final = timedelta(days=3)
"""For how long a recording is looked for whose vendor's retention is not configured."""

_SHORT: Final = {
    "vendor_call_id": "vendor_ids.call_id",
    "call_uuid": "vendor_ids.call_uuid",
    "request_id": "vendor_ids.request_id",
    "guid": "vendor_ids.guid",
}


class Source(Protocol):
    """A place to fetch recordings from."""

    def requests(self, recording: Recording) -> AsyncIterator[Request]:
        """Where it may be, in order. Raises NoUrl, and what getting credentials may raise."""
        ...

    async def rejected(self, request: Request) -> bool:
        """The credentials of a request were not accepted; True where there are others to try now."""
        ...

    async def close(self) -> None:
        """Ends what was begun there."""
        ...


class Plain:
    """FocalScope: one template, headers of the configuration."""

    def __init__(self, template: str, headers: Mapping[str, str]) -> None:
        self._template = template
        self._headers = dict(headers)

    async def requests(self, recording: Recording) -> AsyncIterator[Request]:
        """Its one place."""
        yield Request("GET", rendered(self._template, recording), self._headers)

    async def rejected(self, request: Request) -> bool:
        """There are no others."""
        del request
        return False

    async def close(self) -> None:
        """Nothing was begun."""


class Candidates:
    """uContact: several places, and the session's token."""

    def __init__(self, templates: Sequence[str], session: Session) -> None:
        self._templates = tuple(templates)
        self._session = session

    async def requests(self, recording: Recording) -> AsyncIterator[Request]:
        """Each place, with the token of the moment."""
        for template in self._templates:
            token = await self._told(self._session.authorization())
            yield Request("GET", rendered(template, recording), {"Authorization": token.value})

    async def rejected(self, request: Request) -> bool:
        """Another session than the request's: one for all whose requests were rejected together."""
        await self._told(self._session.renewed(Token(request.headers["Authorization"])))
        return True

    async def close(self) -> None:
        """Ends the session."""
        await self._session.close()

    @staticmethod
    async def _told(token: Awaitable[Token]) -> Token:
        """What is refused at the door is no word on the recording behind it."""
        try:
            return await token
        except Permanent as error:
            raise Expired(f"no session: {error}") from error


def templates(source: AnySource) -> tuple[str, ...]:
    """The URLs that are configured for a source's recordings; none where they are not to be fetched."""
    match source:
        case FocalScopeSource():
            return (source.recording_url,) if source.recording_url else ()
        case UContactSource():
            return source.recording_urls
        case _:
            return ()


def fetched(settings: Settings) -> dict[str, AnySource]:
    """The sources whose recordings are fetched, by name."""
    return {name: source for name, source in settings.sources.items() if templates(source)}


def make_source(source: AnySource, lane: Lane, clock: Callable[[], datetime]) -> Source:
    """How a source's recordings are fetched."""
    if isinstance(source, FocalScopeSource):
        [template] = templates(source)
        return Plain(template, {name: value.get_secret_value() for name, value in source.headers.items()})
    assert isinstance(source, UContactSource)  # noqa: S101  nobody else has templates
    return Candidates(templates(source), make_session(source, lane, clock))


def kept_at_vendor(source: AnySource | None) -> timedelta:
    """For how long the vendor keeps a recording, as far as is known."""
    days = getattr(source, "recording_kept", None)
    return UNKNOWN_KEPT if days is None else timedelta(days=days)


def rendered(template: str, recording: Recording) -> str:
    """A URL; every value percent-encoded, so that none can be more than a piece of a path or of a query.

    Raises:
        NoUrl: a field is not there, or would be ``.`` or ``..`` in a path.
    """
    known = dict(_fields(recording))
    parts = []
    for literal, name, _, _ in Formatter().parse(template):
        parts.append(literal)
        if name is not None:
            value = known.get(name)
            if value is None or value in ("", ".", ".."):
                raise NoUrl(f"the recording's URL refers to {{{name}}}, which this recording does not have")
            parts.append(quote(value, safe=""))
    return "".join(parts)


def _fields(recording: Recording) -> Iterator[tuple[str, str]]:
    flat = dict(_flat(recording.data))
    yield from flat.items()
    for short, long in _SHORT.items():
        if long in flat:
            yield short, flat[long]
    day = recording.at.astimezone(UTC)
    yield from (("year", f"{day.year:04d}"), ("month", f"{day.month:02d}"), ("day", f"{day.day:02d}"))
    yield from (("recording_id", recording.recording_id), ("call_id", recording.call_id))
    yield from (("vendor", recording.vendor), ("source", recording.source))
    if recording.leg:
        yield "leg_id", recording.leg


def _flat(data: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif isinstance(value, str | int) and not isinstance(value, bool):
            yield f"{before}{name}", str(value)
