"""``/v1/dial``: calls that are to be placed, and what became of them."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web

from hub.answers import BadRequest, error, reply, uuid_of
from hub.dialing.orders import parsed
from hub.errors import KeyReused, StoreUnavailable, Unacceptable
from hub.operating.dialing import Dialing

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADER: Final = "Idempotency-Key"
_log = structlog.get_logger("dial")


class DialRoutes:
    """Both of its paths."""

    def __init__(self, dialing: Dialing) -> None:
        self._dialing = dialing

    def routes(self) -> dict[tuple[str, str], Handler]:
        """Handlers by method and path."""
        return {("POST", "/v1/dial"): self.take, ("GET", "/v1/dial/{dial_id}"): self.shown}

    async def take(self, request: web.Request) -> web.Response:
        """``POST /v1/dial``: 202 once it is kept; it is sent at once, and what came of it is asked for afterwards."""
        keys = request.headers.getall(HEADER, [])
        if len(keys) > 1:
            raise BadRequest(f"{HEADER} came {len(keys)} times, expected it once")
        try:
            dial = await self._dialing.take(parsed(await request.read()), keys[0] if keys else None)
        except Unacceptable as bad:
            raise BadRequest(str(bad)) from None
        except KeyReused as reused:
            return error(409, str(reused))
        except StoreUnavailable as trouble:
            _log.warning("dial.not_taken", reason=str(trouble))
            return error(503, "the store cannot take it now; ask again with the same key", **{"Retry-After": "5"})
        return reply({"dial_id": dial.dial_id, "state": dial.state}, 202)

    async def shown(self, request: web.Request) -> web.Response:
        """``GET /v1/dial/{dial_id}``: all that is known of one."""
        dial = await self._dialing.dials.dial(uuid_of(request.match_info["dial_id"]))
        return error(404, "no such dial") if dial is None else reply(dial.shown())
