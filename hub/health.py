"""Whether a process lives and is ready, part by part."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import orjson
from aiohttp import web

from hub import metrics

State = Literal["ok", "degraded", "down"]


@dataclass(frozen=True, slots=True)
class Part:
    """The state of one part and one line about it."""

    state: State
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """What ``/livez``, ``/readyz`` and ``/metrics`` answer from.

    Attributes:
        parts: each part of the process by name, asked anew for every request; none of them does I/O.
        ready: whether the process can do its work, given its parts.
    """

    parts: Callable[[], Mapping[str, Part]]
    ready: Callable[[Mapping[str, Part]], bool]

    def probes(self) -> list[web.RouteDef]:
        """The routes an orchestrator asks: liveness depends on nothing, readiness lists every part."""
        return [web.get("/livez", _livez), web.get("/readyz", self._readyz)]

    async def _readyz(self, _: web.Request) -> web.Response:
        parts = self.parts()
        ready = self.ready(parts)
        worst = "ok" if all(part.state == "ok" for part in parts.values()) else "degraded"
        body = {
            "status": worst if ready else "down",
            "parts": {name: {"state": part.state, "detail": part.detail} for name, part in parts.items()},
        }
        return web.Response(status=200 if ready else 503, body=orjson.dumps(body), content_type="application/json")


async def _livez(_: web.Request) -> web.Response:
    return web.Response(body=b'{"status":"ok"}', content_type="application/json")


def exposition() -> web.RouteDef:
    """The route of Prometheus's scrape."""

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})

    return web.get("/metrics", scrape)
