"""A Salesforce: ``Task`` and ``Contact``, and the few queries that are asked of them."""

import re
from typing import Any, Final

import orjson
from aiohttp import web

from hub.simulator.crms.double import Double, Json, Objects, reply

_QUERY: Final = re.compile(r"SELECT Id FROM (\w+) WHERE (.+) ORDER BY CreatedDate LIMIT 1")
_TERM: Final = re.compile(r"(\w+) (?:= ('(?:[^'\\]|\\.)*')|IN \(([^)]*)\))")
_TEXT: Final = re.compile(r"'((?:[^'\\]|\\.)*)'")


class SalesforceDouble(Double):
    """``/services/data/v62.0``."""

    def routes(self) -> list[web.RouteDef]:
        """Query, create, update."""
        base = "/services/data/v62.0"
        return [
            web.get(f"{base}/query", self._query),
            web.post(f"{base}/sobjects/{{what}}", self._create),
            web.patch(f"{base}/sobjects/{{what}}/{{id}}", self._update),
        ]

    def error_inside(self) -> tuple[int, Any]:
        """As a collection's answer has it."""
        errors = [{"statusCode": "REQUIRED_FIELD_MISSING", "message": "it was not"}]
        return 200, {"id": None, "success": False, "errors": errors}

    def _objects(self, what: str) -> Objects:
        return self.calls if what == "Task" else self.contacts

    async def _query(self, request: web.Request) -> web.Response:
        asked = _QUERY.fullmatch(request.query.get("q", ""))
        if asked is None:
            return reply([{"errorCode": "MALFORMED_QUERY", "message": request.query.get("q", "")}], 400)
        terms = [
            (term[1], {re.sub(r"\\(.)", r"\1", one) for one in _TEXT.findall(term[2] or term[3])})
            for term in _TERM.finditer(asked[2])
        ]

        def fits(fields: Json) -> bool:
            return any(fields.get(name) in values for name, values in terms)

        found = self._objects(asked[1]).find(fits)[:1]
        return reply({"totalSize": len(found), "done": True, "records": [{"Id": name} for name in found]})

    async def _create(self, request: web.Request) -> web.Response:
        fields = orjson.loads(await request.read())
        what = request.match_info["what"]
        if what == "Contact" and not fields.get("LastName"):
            return reply([{"errorCode": "REQUIRED_FIELD_MISSING", "message": "LastName"}], 400)
        return reply({"id": self._objects(what).add(fields), "success": True, "errors": []}, 201)

    async def _update(self, request: web.Request) -> web.Response:
        fields = orjson.loads(await request.read())
        if not self._objects(request.match_info["what"]).write(request.match_info["id"], fields):
            return reply([{"errorCode": "NOT_FOUND", "message": "no such row"}], 404)
        return reply(None, 204)
