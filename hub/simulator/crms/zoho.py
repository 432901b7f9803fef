"""A Zoho CRM: modules ``Calls`` and ``Contacts``, where an error comes with a 2xx too."""

import re
from typing import Any, Final

import orjson
from aiohttp import web

from hub.simulator.crms.double import Double, Json, Objects, reply

_TERM: Final = re.compile(r"\((\w+):equals:((?:[^()\\]|\\.)*)\)")
_TYPES: Final = frozenset({"Inbound", "Outbound", "Missed"})


class ZohoDouble(Double):
    """``/crm/v8``."""

    scheme = "Zoho-oauthtoken"

    def routes(self) -> list[web.RouteDef]:
        """Search, create, update."""
        base = "/crm/v8/{what:Calls|Contacts}"
        return [
            web.get(f"{base}/search", self._search),
            web.post(base, self._create),
            web.put(f"{base}/{{id}}", self._update),
        ]

    def error_inside(self) -> tuple[int, Any]:
        """As Zoho has it, with the field's name."""
        return 200, {"data": [_error("INVALID_DATA", {"api_name": "Call_Type"})]}

    def _objects(self, request: web.Request) -> Objects:
        return self.calls if request.match_info["what"] == "Calls" else self.contacts

    async def _search(self, request: web.Request) -> web.Response:
        criteria = request.query.get("criteria", "")
        terms = [(name, re.sub(r"\\(.)", r"\1", value)) for name, value in _TERM.findall(criteria)]
        if not terms:
            return reply({"code": "INVALID_QUERY", "status": "error", "message": criteria}, 400)

        def fits(fields: Json) -> bool:
            return any(fields.get(name) == value for name, value in terms)

        found = self._objects(request).find(fits)
        if not found:
            return reply(None, 204)
        return reply({"data": [{"id": name} for name in found], "info": {"count": len(found)}})

    async def _create(self, request: web.Request) -> web.Response:
        [fields] = orjson.loads(await request.read())["data"]
        problem = self._problem(request, fields)
        if problem is not None:
            return reply({"data": [problem]}, 202)
        name = self._objects(request).add(fields)
        return reply({"data": [{"code": "SUCCESS", "status": "success", "details": {"id": name}}]}, 201)

    def _problem(self, request: web.Request, fields: Json) -> Json | None:
        calls = request.match_info["what"] == "Calls"
        if calls and fields.get("Call_Type") not in _TYPES:
            return _error("INVALID_DATA", {"api_name": "Call_Type"})
        if calls and not re.fullmatch(r"\d\d+:\d\d", fields.get("Call_Duration", "00:00")):
            return _error("INVALID_DATA", {"api_name": "Call_Duration"})
        if not calls and not fields.get("Last_Name"):
            return _error("MANDATORY_NOT_FOUND", {"api_name": "Last_Name"})
        return None

    async def _update(self, request: web.Request) -> web.Response:
        [fields] = orjson.loads(await request.read())["data"]
        name = request.match_info["id"]
        if not self._objects(request).write(name, fields):
            return reply({"data": [_error("INVALID_DATA", {"api_name": "id"})]}, 404)
        return reply({"data": [{"code": "SUCCESS", "status": "success", "details": {"id": name}}]})


def _error(code: str, details: Json) -> Json:
    return {"code": code, "status": "error", "message": "invalid data", "details": details}
