"""``GET /v1/destinations``, and ``POST /v1/destinations/{name}/enable`` and ``disable``."""

from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from hub.answers import error, page, reply
from hub.config import Settings
from hub.operating.destinations import Destinations
from hub.ports.forwarding import Forwarding

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DestinationRoutes:
    """``/v1/destinations``."""

    def __init__(self, settings: Settings, forwarding: Forwarding) -> None:
        self._destinations = Destinations(settings.destinations, forwarding)

    def routes(self) -> dict[tuple[str, str], Handler]:
        """Handlers by method and path."""
        return {
            ("GET", "/v1/destinations"): self.listed,
            ("POST", "/v1/destinations/{name}/{verb:enable|disable}"): self.switch,
        }

    async def listed(self, _: web.Request) -> web.Response:
        """``GET /v1/destinations``: every one, on one page."""
        return page([orjson.dumps(one) for one in await self._destinations.listed()], None)

    async def switch(self, request: web.Request) -> web.Response:
        """Enables or disables one; ``changed`` says whether it was otherwise before."""
        name, verb = request.match_info["name"], request.match_info["verb"]
        if name not in self._destinations.configured:
            return error(404, "no such destination")
        changed = await self._destinations.switch(name, on=verb == "enable")
        return reply({"name": name, "changed": changed})
