"""Vendors that place calls when told to, and misbehave on order: FocalScope's link, Infocaller's outbound API.

Written from docs/vendors.md for themselves, not from the clients: what both misread would pass unseen. The paths are
made up, since no page tells them. A call that was placed can then play its callbacks against a hub.
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import md5
from typing import Final, Literal
from urllib.parse import parse_qsl, quote

import xmltodict
from aiohttp import ClientSession, web
from yarl import URL

from hub.simulator.call import Call, Source
from hub.simulator.dice import Dice
from hub.simulator.focalscope import focalscope_call
from hub.simulator.infocaller_wire import Issued, infocaller_call

Mood = Literal["slow", "hang", "drop", "500", "garbage", "empty", "zero", "503", "404", "401", "429"]
"""``slow`` answers late; ``hang`` dials and never answers; ``drop`` dials and closes the connection; ``500`` dials and
answers so; ``garbage``, ``empty`` and ``zero`` dial and answer what names no request. The others do not dial.
"""

_UNDONE: Final = frozenset({"503", "404", "401", "429"})
_START: Final = datetime(2026, 11, 16, 10, 0, 0)  # noqa: DTZ001  of the line's zone, without a zone
_UNESCAPE: Final = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A call that a vendor was told to place.

    Attributes:
        request_id: as it was answered, or would have been.
        number: where to.
        agent: who is rung first; empty where nobody was named.
        variables: that came with it.
        asked: everything that came, by name.
    """

    request_id: str
    number: str
    agent: str
    variables: Mapping[str, str]
    asked: Mapping[str, str]


@dataclass
class Vendor:
    """What both vendors share.

    Attributes:
        moods: what the next answers are; a request takes one.
        slow: seconds that a slow answer takes.
        placed: every call that was dialled, in its order: also those whose answer nobody got.
        requests: that came, dialled or not.
        first: the first request's id.
    """

    moods: deque[Mood] = field(default_factory=deque)
    slow: float = 0.3
    placed: list[PlacedCall] = field(default_factory=list)
    requests: int = 0
    first: int = 513

    async def _answered(self, request: web.Request, call: PlacedCall, answer: web.Response) -> web.StreamResponse:
        mood = self.moods.popleft() if self.moods else None
        if mood in _UNDONE:
            return web.Response(status=int(mood), headers={"Retry-After": "1"} if mood == "429" else None)
        self.placed.append(call)
        match mood:
            case "slow":
                await asyncio.sleep(self.slow)
            case "hang":
                await asyncio.Event().wait()
            case "drop":
                assert request.transport is not None  # noqa: S101
                request.transport.abort()
            case "500":
                return web.Response(status=500, text="Internal Server Error")
            case "garbage":
                return web.Response(text="<html><body>RequestID</body></html>", content_type="text/html")
            case "empty":
                return web.Response()
            case "zero":
                return web.Response(text="{RequestID:00000}")
        return answer

    def _next_id(self) -> str:
        return str(self.first + len(self.placed))


@dataclass
class FocalScopeServer(Vendor):
    """FocalScope's dial link, at ``/dial?number=&agent=&adapter=``.

    Attributes:
        form: how the request id is written; the page prints it without quotes.
        headers: that a request has to have.
    """

    form: str = "{RequestID:%s}"
    headers: Mapping[str, str] = field(default_factory=dict)

    def routes(self) -> list[web.RouteDef]:
        """Where it listens."""
        return [web.get("/dial", self._dial), web.post("/dial", self._dial)]

    async def _dial(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        if any(request.headers.get(name) != value for name, value in self.headers.items()):
            return web.Response(status=401)
        asked = dict(request.query)
        call = PlacedCall(self._next_id(), asked.get("number", ""), asked.get("agent", ""), {}, asked)
        return await self._answered(request, call, web.Response(text=self.form % call.request_id))

    def call(self, placed: PlacedCall, source: Source, scenario: str = "click-to-dial-answered", seed: int = 0) -> Call:
        """The callbacks of a call that was placed: both legs, with its request id, and the agent's extension."""
        dice = Dice("focalscope dialled", seed, placed.request_id)
        made = focalscope_call(scenario, dice, source, int(placed.request_id))
        return replace(made, requests=tuple(replace(one, query=_as(one.query, placed.agent)) for one in made.requests))


def _as(query: str, agent: str) -> str:
    pairs = dict(parse_qsl(query, keep_blank_values=True, encoding="utf-8", errors="replace"))
    pairs |= {"Ext": agent} if agent else {}
    return "&".join(f"{name}={quote(value, safe='{}')}" for name, value in pairs.items())


@dataclass
class InfocallerOutbound(Vendor):
    """Infocaller's outbound API, which checks the signature.

    Attributes:
        lines: line number → telephone password.
        form: what it answers in.
        result: other than 0: it refuses everything.
    """

    lines: Mapping[str, str] = field(default_factory=dict)
    form: Literal["json", "xml"] = "xml"
    result: str = "0"
    first: int = 700_001

    def routes(self) -> list[web.RouteDef]:
        """Where it listens."""
        return [web.post("/", self._issue)]

    async def _issue(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        posted = await request.post()
        name, text = next(
            ((name, str(posted[name])) for name in ("apiCALLxml", "apiCALLjson") if name in posted), ("", "")
        )
        if not name:
            return self._said("1", "", "apiCALLxml or apiCALLjson is missing")
        root = (xmltodict.parse(text) if name == "apiCALLxml" else json.loads(text))["callRequest"]
        user, data = root["UserID"], root["callData"]
        line, number = user["idinfocaller"], data["numtelefono"]
        signed = md5(f"{line}{number}{self.lines.get(line, '')}".encode("iso-8859-1")).hexdigest()  # noqa: S324
        if line not in self.lines or user["firma"] != signed:
            return self._said("2", "", "firma")
        if self.result != "0":
            return self._said(self.result, "", "no credit")
        call = PlacedCall(
            self._next_id(), number, "", _variables(data, escaped=name == "apiCALLjson"), {"form": name, **_flat(data)}
        )
        return await self._answered(request, call, self._said("0", call.request_id, "OK"))

    def _said(self, result: str, idcall: str, text: str) -> web.Response:
        if self.form == "json":
            said = {"callResponse": {"Status": {"Result": result, "Text": text}, "idcall": idcall}}
            return web.json_response(said)
        body = (
            "<callResponse xmlns='http://tempuri.org/'><Status><Result>"
            f"{result}</Result><Text>{text}</Text></Status><idcall>{idcall}</idcall></callResponse>"
        )
        return web.Response(text=body, content_type="text/xml")

    def call(self, placed: PlacedCall, source: Source, scenario: str = "outbound-issued", seed: int = 0) -> Call:
        """The callbacks of a call that was placed, with its number, its ``idcall`` and its variables."""
        dice = Dice("infocaller issued", seed, placed.request_id)
        national = re.sub(r"^\+34", "", placed.number)
        issued = Issued(national, placed.request_id, tuple(placed.variables.items()))
        return infocaller_call(scenario, dice, source, 90_000_000 + int(placed.request_id), _START, issued=issued)


def _flat(data: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value or "") for name, value in data.items() if name != "CustVars"}


def _variables(data: Mapping[str, object], *, escaped: bool) -> dict[str, str]:
    inside = data.get("CustVars")
    entries = inside.get("CustVar") if isinstance(inside, dict) else None
    listed = entries if isinstance(entries, list) else [] if entries is None else [entries]
    found = {one["VarName"]: one["VarValue"] or "" for one in listed}
    return {name: _unescaped(value) if escaped else value for name, value in found.items()}


def _unescaped(text: str) -> str:
    for entity, character in _UNESCAPE.items():
        text = text.replace(entity, character)
    return text.replace("&amp;", "&")


async def play(call: Call, base_url: str, events: Sequence[int] | None = None) -> list[int]:
    """Sends a call's callbacks to a hub in their order, or those at some places; returns the answers' statuses."""
    chosen = call.requests if events is None else [call.requests[n] for n in events]
    statuses = []
    async with ClientSession() as session:
        for one in chosen:
            url = URL(f"{base_url.rstrip('/')}{one.path}{'?' if one.query else ''}{one.query}", encoded=True)
            headers = {"Content-Type": one.content_type} if one.content_type else {}
            async with session.request(one.method, url, data=one.body or None, headers=headers) as answer:
                statuses.append(answer.status)
    return statuses


@asynccontextmanager
async def serving(
    vendor: FocalScopeServer | InfocallerOutbound, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """The vendor on a port; yields its URL."""
    application = web.Application()
    application.add_routes(vendor.routes())
    runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
