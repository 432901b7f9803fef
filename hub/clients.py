"""Who can be asked for something, by vendor: a client and its operations, calls to be placed, records, dialers.

Beside ``hub.parts``: each is a table with a line for each vendor, and what it names is imported when it is chosen.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hub.config import (
    AnySource,
    AskedSource,
    FocalScopeSource,
    InfocallerSource,
    Infocu5Source,
    Settings,
    UContactSource,
)
from hub.errors import ConfigurationError
from hub.operating.dialing import Counter, Dialing
from hub.polling.windows import Stream
from hub.ports.dialing import Dials, Form, PlacesCalls
from hub.ports.gaps import Gaps, GapStore
from hub.ports.polls import RecordSource
from hub.ports.respool import Dialer
from hub.vendors.operations import Desk
from workers import poll

if TYPE_CHECKING:  # it brings aiohttp along
    from hub.outgoing import Lane, Outgoing
    from hub.vendors.focalscope.dialing import DialLink
    from hub.vendors.infocaller.outbound import CallRequest
    from hub.vendors.ucontact.dialing import AgentCall
    from workers.dial.service import Line
    from workers.respool.service import Asked


# --- what is asked of vendors ----------------------------------------------------------------------------------------


@asynccontextmanager
async def asking(settings: Settings) -> AsyncIterator["Outgoing"]:
    """The outgoing side, for as long as somebody asks."""
    from hub.outgoing import Outgoing

    outgoing = Outgoing(settings.egress.allow)
    await outgoing.start()
    try:
        yield outgoing
    finally:
        await outgoing.close()


def _lane(name: str, source: Infocu5Source | AskedSource, outgoing: "Outgoing") -> "Lane":
    concurrency = source.concurrency if isinstance(source, AskedSource) else 2  # a poll, and whoever asks beside it
    lane = f"{source.vendor}.{name}"  # type: ignore[union-attr]  # every source has a vendor
    return outgoing.lane(lane, rate=source.rate, concurrency=concurrency, timeout=source.timeout)


def _infocu5(name: str, source: Infocu5Source, outgoing: "Outgoing") -> Desk[Any]:
    from hub.vendors.infocu5.client import Client
    from hub.vendors.infocu5.operations import OPERATIONS

    client = Client(
        _lane(name, source, outgoing),
        base_url=source.base_url,
        affiliate_id=source.affiliate_id,
        affiliate_key=source.affiliate_key.get_secret_value(),
        paths=source.paths,
        leads_as=source.leads,
        timeout=source.timeout,
    )
    return Desk(client, OPERATIONS)


def _focalscope(name: str, source: FocalScopeSource, outgoing: "Outgoing") -> Desk[Any]:
    from hub.vendors.focalscope.dialing import DialClient
    from hub.vendors.focalscope.operations import OPERATIONS

    client = DialClient(
        _lane(name, source, outgoing),
        _dial_link(name, source),
        source=name,
        epoch=source.epoch,
        method=source.dial_method,
        headers={header: value.get_secret_value() for header, value in source.headers.items()},
    )
    return Desk(client, OPERATIONS)


def _infocaller(name: str, source: InfocallerSource, outgoing: "Outgoing") -> Desk[Any]:
    from hub.vendors.infocaller.operations import OPERATIONS
    from hub.vendors.infocaller.outbound import Outbound

    client = Outbound(_lane(name, source, outgoing), _call_request(name, source), url=source.outbound_url)
    return Desk(client, OPERATIONS)


def _ucontact(name: str, source: UContactSource, outgoing: "Outgoing") -> Desk[Any]:
    from hub.vendors.ucontact.making import make
    from hub.vendors.ucontact.operations import OPERATIONS

    lane = outgoing.lane(
        f"{source.vendor}.{name}", rate=source.rate, concurrency=source.concurrency, timeout=source.timeout
    )
    client = make(name, source, lane)
    return Desk(client, OPERATIONS, client.close)


CLIENTS: Final[dict[str, Callable[[str, Any, "Outgoing"], Desk[Any]]]] = {
    "infocaller": _infocaller,
    "focalscope": _focalscope,
    "infocu5": _infocu5,
    "ucontact": _ucontact,
}
"""Who can be asked for something, by vendor: a client and the table of its operations. A new one is a line here."""


def make_client(name: str, source: AnySource, outgoing: "Outgoing") -> Desk[Any]:
    """A source's client. Raises ConfigurationError where its vendor has none."""
    make = CLIENTS.get(source.vendor)
    if make is None:
        raise ConfigurationError(f"sources.{name}: nothing can be asked of its vendor; expected {', '.join(CLIENTS)}")
    return make(name, source, outgoing)


# --- placing calls ---------------------------------------------------------------------------------------------------


def _dial_link(name: str, source: FocalScopeSource) -> "DialLink":
    from hub.vendors.focalscope.dialing import DialLink

    if source.dial_url is None:
        raise ConfigurationError(f"sources.{name}.dial_url: missing; expected the link that places a call")
    return DialLink(source=name, template=source.dial_url, adapter=source.adapter)


def _call_request(name: str, source: InfocallerSource) -> "CallRequest":
    from hub.vendors.infocaller.outbound import CallRequest

    if not source.lines:
        raise ConfigurationError(f"sources.{name}.lines: missing; expected the line that a call is issued by")
    return CallRequest(
        lines={line: password.get_secret_value() for line, password in source.lines.items()},
        form=source.outbound_format,
        signed=source.outbound_signature,
        group=source.outbound_group,
        wait=source.outbound_wait,
        retries=source.outbound_retries,
        agent_variable=source.agent_variable,
    )


def _agent_call(name: str, source: UContactSource) -> "AgentCall":
    from hub.vendors.ucontact.dialing import AgentCall

    if source.user is None and source.api_key is None:
        raise ConfigurationError(f"sources.{name}.user: missing; expected whom calls are placed as")
    return AgentCall(
        extensions=source.extensions,
        caller_number=source.caller_number,
        campaign=source.campaign,
        tech=source.tech,
        context=source.context,
    )


FORMS: Final[dict[str, Callable[[str, Any], Form]]] = {
    "infocaller": _call_request,
    "focalscope": _dial_link,
    "ucontact": _agent_call,
}
"""What can be asked of a vendor that places calls, by vendor. A new one is a line here."""


def _dialer(name: str, source: Any, client: Any) -> PlacesCalls:
    """A vendor's client as one that places calls: what does nothing else is one by itself."""
    if not isinstance(source, UContactSource):
        dialer: PlacesCalls = client
        return dialer
    from hub.vendors.ucontact.dialing import AgentCaller

    return AgentCaller(name, client, _agent_call(name, source))


def diallable(settings: Settings) -> dict[str, Form]:
    """The sources that can place calls, with what they can be asked for."""
    forms: dict[str, Form] = {}
    for name, source in settings.sources.items():
        if source.vendor in FORMS:
            with contextlib.suppress(ConfigurationError):  # it has not what it takes, and is not said to
                forms[name] = FORMS[source.vendor](name, source)
    return forms


def make_dialing(settings: Settings, dials: Dials) -> Dialing:
    """Who takes orders for calls."""
    return Dialing({name: _counter(settings.sources[name], form) for name, form in diallable(settings).items()}, dials)


def _counter(source: Any, form: Form) -> Counter:
    from hub.vendors.values import phone

    def callee(number: str) -> Mapping[str, str]:
        return phone(number, country=source.country)

    return Counter(source.vendor, form, source.dial_within, callee)


@asynccontextmanager
async def lines(settings: Settings) -> AsyncIterator[list["Line"]]:
    """Every source that can place calls, ready to be asked."""
    from workers.dial.service import Line

    names = diallable(settings)
    async with asking(settings) as outgoing, AsyncExitStack() as stack:
        lines = []
        for name in names:
            source: Any = settings.sources[name]
            desk = make_client(name, source, outgoing)
            stack.push_async_callback(desk.close)
            lane = outgoing.lanes[f"{source.vendor}.{name}"]
            lines.append(Line(name, _dialer(name, source, desk.client), lane.free, source.concurrency, source.timeout))
        yield lines


# --- records of calls -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Means:
    """What a source of records is asked by.

    Attributes:
        outgoing: for a vendor that is asked over HTTP.
        gaps: what was heard, for a vendor whose records stand in for lost callbacks.
        grace: seconds for which such a callback may be late.
    """

    outgoing: "Outgoing"
    gaps: Gaps
    grace: float


def _infocu5_records(name: str, source: Infocu5Source, means: Means) -> RecordSource:
    from hub.vendors.infocu5.polling import Infocu5Records
    from hub.vendors.infocu5.records import Reader

    reader = Reader(source=name, country=source.country, inbound_is=source.inbound_number)
    return Infocu5Records(name, _infocu5(name, source, means.outgoing).client, reader)


def _focalscope_records(name: str, source: FocalScopeSource, means: Means) -> RecordSource:
    from hub.gaps.finding import Comparing
    from hub.vendors.focalscope.records import FocalScopeRecords

    assert source.archive is not None  # noqa: S101  `with_records` looked
    fields = {str(ours): theirs for ours, theirs in source.archive_fields.items()}
    records = FocalScopeRecords(name, source.archive, epoch=source.epoch, country=source.country, fields=fields)
    return Comparing(records, means.gaps, grace=means.grace)


RECORDS: Final[dict[str, Callable[[str, Any, Means], RecordSource]]] = {
    "infocu5": _infocu5_records,
    "focalscope": _focalscope_records,
}
"""Who has records of finished calls, by vendor."""


def with_records(name: str, source: AnySource) -> None:
    """Raises ConfigurationError where a source's vendor, or its configuration, has no records."""
    if source.vendor not in RECORDS:
        raise ConfigurationError(f"sources.{name}: its vendor has no records to ask for; expected {', '.join(RECORDS)}")
    if isinstance(source, FocalScopeSource) and source.archive is None:
        raise ConfigurationError(f"sources.{name}.archive: missing; expected the folder of FocalScope's archive")


def make_records(name: str, source: AnySource, means: Means) -> RecordSource:
    """A source's records. Raises ConfigurationError where it has none."""
    with_records(name, source)
    return RECORDS[source.vendor](name, source, means)


@asynccontextmanager
async def pollings(settings: Settings, store: GapStore) -> AsyncIterator[list[poll.Polling]]:
    """Every source that is polled, ready to be asked."""
    async with asking(settings) as outgoing:
        means = Means(outgoing, store.gaps, settings.gaps.grace)
        yield [
            poll.Polling(make_records(name, source, means), *_streams(name, source))
            for name, source in settings.sources.items()
            if _has_records(source)
        ]


def _has_records(source: AnySource) -> bool:
    return isinstance(source, Infocu5Source) or (isinstance(source, FocalScopeSource) and source.archive is not None)


def _streams(name: str, source: AnySource) -> tuple[tuple[Stream, ...], float]:
    """How often, and how far back; and the seconds that are asked for at once."""
    match source:
        case Infocu5Source():
            often = Stream(f"poll/{name}", source.poll_seconds, source.poll_overlap)
            return (often, Stream(f"sweep/{name}", source.sweep_seconds, source.sweep_overlap)), source.poll_window
        case FocalScopeSource():
            return (Stream(f"gaps/{name}", source.archive_seconds, source.archive_overlap),), _ARCHIVE_WINDOW
        case _:
            raise AssertionError(f"{name} has no records")


_ARCHIVE_WINDOW: Final = 3600.0  # seconds of legs that are compared at once


def _infocu5_dialer(client: Any, source: Any) -> Dialer:
    from hub.vendors.infocu5.respooling import Infocu5Dialer

    return Infocu5Dialer(client, timeout=source.timeout)


def _ucontact_dialer(client: Any, source: Any) -> Dialer:
    from hub.vendors.ucontact.respooling import UContactDialer

    return UContactDialer(client, timeout=source.timeout)


DIALERS: Final[dict[str, Callable[[Any, Any], Dialer]]] = {
    "infocu5": _infocu5_dialer,
    "ucontact": _ucontact_dialer,
}
"""Who takes contacts back, by vendor: over a client and the source's settings."""


@asynccontextmanager
async def dialers_of(settings: Settings) -> "AsyncIterator[Mapping[str, Asked]]":
    """Every source that a rule dials by."""
    from workers.respool.service import Asked

    named = {rule.dialer: settings.sources[rule.dialer] for rule in settings.respool.rules}
    async with asking(settings) as outgoing, AsyncExitStack() as stack:
        dialers = {}
        for name, source in named.items():
            desk = make_client(name, source, outgoing)
            stack.push_async_callback(desk.close)
            lane = outgoing.lanes[f"{source.vendor}.{name}"]
            dialers[name] = Asked(DIALERS[source.vendor](desk.client, source), lane.free)
        yield dialers
