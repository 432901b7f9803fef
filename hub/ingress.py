"""The HTTP door: callbacks become events, durably, before they are answered.

A callback walks: size, token, address, decoding, publishing, answer. What is refused before the token is proved leaves
nothing behind; what comes with the right token and cannot be used is quarantined byte for byte; what is answered with
200 is durable.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Final, Protocol

import structlog
from aiohttp import web

from hub import failpoints, metrics
from hub.disk import Disk, Refused
from hub.doorstep import Addresses, Hands, Network, Unread, proved, refuse, told, trace, whole
from hub.errors import NotDurable, QuarantineFull, Unusable
from hub.events import Event, Message, to_message
from hub.ports import Callback, Vendor

_RETRY_AFTER: Final = "5"
_log = structlog.get_logger("ingress")


class Publisher(Protocol):
    """Where accepted events go."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns once they are durable. Raises NotDurable."""
        ...

    async def nudge(self) -> None:
        """Something was put into the outbox by other means."""
        ...


@dataclass(frozen=True, slots=True)
class Gate:
    """A source as the ingress sees it.

    Attributes:
        tokens: the secret path segments that are valid now.
        allow: networks that may call; empty means any.
        refuse_bad_signature: answer 401 to a bad signature instead of keeping the request.
    """

    source: str
    vendor: str
    tokens: tuple[str, ...]
    allow: tuple[Network, ...]
    decoder: Vendor
    refuse_bad_signature: bool = False


class Ingress:
    """The handlers of callbacks. One instance for each process."""

    def __init__(
        self,
        gates: Mapping[str, Gate],
        publisher: Publisher,
        disk: Disk,
        *,
        hands: Hands | None = None,
        trusted_proxies: Sequence[Network] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._gates = gates
        self._publisher = publisher
        self._disk = disk
        self._hands = hands or Hands()
        self._addresses = Addresses(trusted_proxies)
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """The routes; HEAD is not a callback, so it is not answered like GET."""
        paths = ("/callbacks/{source}/{token}{end:/?}", "/callbacks/{source}/{token}/{event}{end:/?}")
        return [
            route
            for path in paths
            for route in (web.get(path, self.callback, allow_head=False), web.post(path, self.callback))
        ]

    async def callback(self, request: web.Request) -> web.Response:
        """Answers one callback."""
        began = perf_counter()
        gate = self._gates.get(request.match_info["source"])
        with self._hands.holding():
            response = await self._answer(request, gate)
        if self._hands.draining:
            response.force_close()
        answer = str(response.status)
        source = gate.source if gate else "unknown"
        metrics.callbacks.labels(source, answer).inc()
        metrics.callback_seconds.labels(source).observe(perf_counter() - began)
        self._disk.tally(_TALLIES.get(response.status, "unavailable"))
        return response

    async def _answer(self, request: web.Request, gate: Gate | None) -> web.Response:
        body = await whole(request)
        if isinstance(body, Unread):
            return body.refused()
        failpoints.hit("ingress.after_read")
        if not proved(gate.tokens if gate else (), request.match_info["token"]) or gate is None:
            return refuse(401, "unknown source or wrong token")
        callback = Callback(
            source=gate.source,
            event=request.match_info.get("event"),
            query=_query(request),
            content_type=request.headers.get("Content-Type", ""),
            body=body,
            received_at=self._clock(),
        )
        if not self._addresses.allowed(gate.allow, request):
            if gate.refuse_bad_signature and _badly_signed(gate, callback):  # 401 stands before 403
                return refuse(401, "wrong signature or unknown line")
            return refuse(403, "this address may not call this source")
        return await self._decode(request, gate, callback)

    async def _decode(self, request: web.Request, gate: Gate, callback: Callback) -> web.Response:
        try:
            events = gate.decoder.decode(callback)
        except Unusable as unusable:
            if unusable.reason == "signature" and gate.refuse_bad_signature:
                return refuse(401, "wrong signature or unknown line")
            return await self._quarantine(request, gate, callback, unusable)
        except Exception:  # noqa: BLE001
            # A defect of ours must not cost a callback: it is kept, and decoded again once the defect is mended.
            _log.exception("ingress.decoder_failed", source=gate.source)
            return await self._quarantine(request, gate, callback, Unusable("undecodable", "the decoder failed"))
        return await self._accept(gate, events, trace(request.headers))

    async def _accept(self, gate: Gate, events: Sequence[Event], trace: str) -> web.Response:
        try:
            await self._publisher.publish([to_message(replace(event, traceparent=trace)) for event in events])
        except NotDurable as error:
            _log.error("ingress.not_durable", source=gate.source, reason=str(error))
            return _unavailable("neither the broker nor the outbox can take the event now")
        for what in (what for event in events for what in event.unknown):
            metrics.unknown.labels(gate.source, what).inc()
        return told(200, {"status": "accepted", "event_id": events[0].id})

    async def _quarantine(self, request: web.Request, gate: Gate, callback: Callback, why: Unusable) -> web.Response:
        refused = Refused(
            source=gate.source,
            vendor=gate.vendor,
            reason=why.reason,
            detail=why.detail[:500],
            received_at=callback.received_at,
            method=request.method,
            url=_masked(request),
            event=callback.event,
            headers=tuple(request.headers.items()),
            body=callback.body,
        )
        try:
            quarantine_id = await self._disk.quarantine(refused)
        except (QuarantineFull, NotDurable) as error:
            _log.error("ingress.quarantine_refused", source=gate.source, reason=str(error))
            return _unavailable("the request can be neither used nor kept now")
        await self._publisher.nudge()
        metrics.quarantined.labels(gate.source, why.reason).inc()
        _log.warning(
            "ingress.quarantined", source=gate.source, reason=why.reason, detail=why.detail[:200], id=quarantine_id
        )
        answer = {
            "status": "quarantined",
            "quarantine_id": quarantine_id,
            "reason": why.reason,
            "detail": why.detail[:200],
        }
        return told(422, answer)


_TALLIES: Final = {
    200: "accepted",
    422: "quarantined",
    **dict.fromkeys((401, 403, 408, 413, 414), "refused"),
}


def _badly_signed(gate: Gate, callback: Callback) -> bool:
    try:
        gate.decoder.decode(callback)
    except Unusable as unusable:
        return unusable.reason == "signature"
    except Exception:  # noqa: BLE001  a defect of ours is no verdict on a signature
        return False
    return False


def _query(request: web.Request) -> str:
    """The query string as it came, in ASCII: a byte that was not percent-encoded is now."""
    raw = request.raw_path.partition("?")[2]
    if raw.isascii():
        return raw
    return "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in raw.encode("utf-8", "surrogateescape"))  # noqa: PLR2004  ASCII


def _masked(request: web.Request) -> str:
    """The path and query as they came, without the token; without the host too, where a proxy's form of URL came."""
    path, mark = request.rel_url.raw_path, "?" if "?" in request.raw_path else ""
    head, _, rest = path.removeprefix("/callbacks/").partition("/")
    tail = rest.partition("/")[2]
    return f"/callbacks/{head}/…" + (f"/{tail}" if tail else "") + mark + _query(request)


def _unavailable(detail: str) -> web.Response:
    return told(503, {"status": "unavailable", "detail": detail}, **{"Retry-After": _RETRY_AFTER})
