"""A HubSpot: objects ``calls`` and ``contacts`` with searches."""

from typing import Any

import orjson
from aiohttp import web

from hub.simulator.crms.double import Double, Json, Objects, reply

_REQUIRED = "hs_timestamp"


class HubSpotDouble(Double):
    """``/crm/objects/2026-03``; a call's contact is its field ``associated``."""

    def routes(self) -> list[web.RouteDef]:
        """Search, create, update."""
        base = "/crm/objects/2026-03/{what:calls|contacts}"
        return [
            web.post(f"{base}/search", self._search),
            web.post(base, self._create),
            web.patch(f"{base}/{{id}}", self._update),
        ]

    def _objects(self, request: web.Request) -> Objects:
        return self.calls if request.match_info["what"] == "calls" else self.contacts

    async def _search(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        groups = [[(one["propertyName"], one["value"]) for one in group["filters"]] for group in body["filterGroups"]]
        if len(groups) > 5:  # noqa: PLR2004  as HubSpot has it
            return reply({"status": "error", "message": "too many groups"}, 400)

        def fits(fields: Json) -> bool:
            return any(all(fields.get(name) == value for name, value in group) for group in groups)

        found = self._objects(request).find(fits)[: body.get("limit", 10)]
        return reply({"total": len(found), "results": [{"id": name} for name in found]})

    async def _create(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        fields: dict[str, Any] = body["properties"]
        if request.match_info["what"] == "calls" and _REQUIRED not in fields:
            return reply({"status": "error", "message": f"{_REQUIRED} is required"}, 400)
        associated = [one["to"]["id"] for one in body.get("associations", ())]
        name = self._objects(request).add(fields | ({"associated": associated[0]} if associated else {}))
        return reply({"id": name, "properties": fields}, 201)

    async def _update(self, request: web.Request) -> web.Response:
        fields = orjson.loads(await request.read())["properties"]
        name = request.match_info["id"]
        if not self._objects(request).write(name, fields):
            return reply({"status": "error", "message": "resource not found"}, 404)
        return reply({"id": name, "properties": fields})
