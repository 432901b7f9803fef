"""What the simulator plays against in these tests: two connections, and the decoders that read them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from hub.events import Event
from hub.ports import Callback, Vendor
from hub.simulator.call import Call, Request, Source
from hub.simulator.scenarios import calls
from hub.vendors.focalscope.callbacks import FocalScope
from hub.vendors.infocaller.callbacks import Infocaller
from hub.vendors.ucontact.callbacks import UContactEvents

TARGET: Final = (
    Source("line-900", "infocaller", "token-1", line="900805089", password="3956"),
    Source("line-902", "infocaller", "token-2", line="911222333", password="contraseña"),
    Source("desk", "focalscope", "token-3", line="911888920", epoch="2026"),
)
INFOCALLER: Final = {
    source.name: Infocaller(
        source=source.name, lines={source.line: source.password}, timezone="Europe/Madrid", country="ES"
    )
    for source in TARGET
    if source.vendor == "infocaller"
}
CLOUD: Final = Source("cloud", "ucontact", "token-4")
"""Not of the target: ``all`` would be other scenarios with it."""

DECODERS: Final[dict[str, Vendor]] = {
    **INFOCALLER,
    "desk": FocalScope(source="desk", epoch="2026", country="ES"),
    "cloud": UContactEvents(source="cloud"),
}
RECEIVED: Final = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def made(*scenarios: str, count: int = 100, seed: int = 7) -> list[Call]:
    target = (*TARGET, CLOUD) if scenarios else TARGET
    return list(calls(scenarios or ("all",), seed=seed, count=count, target=target))


def decoded(call: Call, request: Request, *, after: float | None = None) -> Event:
    """What the hub makes of a request that comes ``after`` seconds into the call, else when it is sent."""
    segments = request.path.split("/")
    received = RECEIVED + timedelta(seconds=request.at if after is None else after)
    event = segments[4] if len(segments) > 4 else None
    (decoded_,) = DECODERS[call.source].decode(
        Callback(call.source, event, request.query, request.content_type, request.body, received)
    )
    return decoded_


def told(made_: Iterable[Call]) -> list[tuple[Call, list[Event]]]:
    return [(call, [decoded(call, request) for request in call.requests]) for call in made_]
