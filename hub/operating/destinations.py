"""The destinations as operators see them: how each is, what was tried there; disabled and enabled."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import structlog

from hub.config import AnyDestination
from hub.events import timestamp
from hub.ports.forwarding import BY_OPERATOR, Forwarding, Standing, Tried

_log = structlog.get_logger("operator")


class Destinations:
    """The verbs, over the configuration and the store."""

    def __init__(self, configured: Mapping[str, AnyDestination], forwarding: Forwarding) -> None:
        self.configured = configured
        self._forwarding = forwarding

    async def listed(self) -> list[dict[str, Any]]:
        """Every configured destination, and those of which something is still kept. Raises StoreUnavailable."""
        known = {one.destination: one for one in await self._forwarding.standings()}
        names = sorted(self.configured.keys() | known.keys())
        return [_shown(name, self.configured.get(name), known.get(name, Standing(name))) for name in names]

    async def switch(self, name: str, *, on: bool) -> bool:
        """Enables or disables; returns whether that is a change. Raises KeyError for an unknown one."""
        kind = self.configured[name].kind
        told = None if on else BY_OPERATOR
        changed = await self._forwarding.disable(name, kind, told, datetime.now(UTC))
        _log.warning("operator.destination", destination=name, enabled=on, changed=changed)
        return changed


def _shown(name: str, settings: AnyDestination | None, one: Standing) -> dict[str, Any]:
    """An item of ``GET /v1/destinations``."""
    since = one.disabled_at if one.disabled is not None else one.breaker_at
    return {
        "name": name,
        "kind": None if settings is None else settings.kind,
        "url": None if settings is None else _address(settings.url),
        "state": _state(settings, one),
        "since": _when(since),
        "reason": one.disabled or (one.breaker_reason if one.breaker == "open" else None),
        "breaker": {"state": one.breaker, "since": _when(one.breaker_at), "until": _when(one.breaker_until)},
        "waiting": one.waiting,
        "done": one.done,
        "dead": one.dead,
        "oldest_waiting": _when(one.oldest),
        "last_error": one.error,
        "last_error_at": _when(one.error_at),
    }


def _state(settings: AnyDestination | None, one: Standing) -> str:
    if settings is None:
        return "removed"
    if one.disabled is not None:
        return "disabled"
    return "open" if one.breaker == "open" else "ok"


def shown(one: Tried) -> dict[str, Any]:
    """A request to a destination, as ``/v1/calls/{call_id}/timeline`` has it."""
    return {
        "destination": one.destination,
        "attempt": one.attempt,
        "at": timestamp(one.at),
        "step": one.step,
        "request": one.request,
        "status": one.status,
        "answer": one.answer,
        "seconds": one.seconds,
        "outcome": one.outcome,
        "reason": one.reason,
    }


def told(one: Tried) -> str:
    """It in a line."""
    status = "no answer" if one.status is None else str(one.status)
    why = f": {one.reason}" if one.reason else ""
    return (
        f"{one.destination}, attempt {one.attempt} at {timestamp(one.at)}: {one.step}, "
        f"{one.request.get('method')} {one.request.get('url')}, {status} after {one.seconds:.3f} s, {one.outcome}{why}"
    )


def _address(url: str) -> str:
    """Without its query: some have their secret there."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _when(moment: datetime | None) -> str | None:
    return None if moment is None else timestamp(moment)
