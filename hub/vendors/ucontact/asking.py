"""One request to uContact: where it goes, what it carries, how often it is sent, what its answer means."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from hub.errors import Expired, Permanent, TooMuch
from hub.outgoing import Answer, Lane, Request, Token, verdict
from hub.vendors.ucontact.answers import Meaning, read
from hub.vendors.ucontact.paths import MEANINGS, PATHS
from hub.vendors.ucontact.session import FORM, Session

LIMIT: Final = 8 << 20
"""Bytes of an answer."""

JSON: Final = {"Content-Type": "application/json", "Accept": "application/json, */*;q=0.1"}
_TOTAL: Final = 4.0  # times the time limit: for a long answer that keeps coming
_LONG: Final = frozenset(
    {"GetRecordings", "CampaignsSummary", "CampaignStatus", "GetCampaigns", "getqueuemembersofqueue", "listState"}
)
"""Functions that only read, and may have much to say. Every other one is asked once, over a connection of its own."""


class Asking:
    """Who asks one instance.

    Args:
        lane: to ask it by.
        base_url: with or without a slash at its end.
        session: whose token the classic functions carry.
        api_token: of the automation API, made by hand in the portal.
        paths: endpoints that differ from ``PATHS``.
        names: parameters that are called otherwise, by ``FUNCTION.NAME`` (``paths.NAMES``).
        answers: what an answer of 200 means, where it differs from ``MEANINGS``.
        timeout: seconds until an answer begins.
        now: the clock.
    """

    def __init__(
        self,
        lane: Lane,
        *,
        base_url: str,
        session: Session,
        api_token: str | None = None,
        paths: Mapping[str, str] | None = None,
        names: Mapping[str, str] | None = None,
        answers: Mapping[str, Meaning] | None = None,
        timeout: float = 15.0,
        now: Callable[[], datetime],
    ) -> None:
        """Opens nothing."""
        self._lane = lane
        self._base = base_url.rstrip("/")
        self._session = session
        self._api_token = api_token
        self._paths = {**PATHS, **(paths or {})}
        self._names = dict(names or {})
        self._meanings: dict[str, Meaning] = dict(MEANINGS)
        self._meanings.update(answers or {})
        self.timeout = timeout
        self.now = now

    async def close(self) -> None:
        """Ends the session, where one was begun."""
        await self._session.close()

    async def classic(
        self, function: str, form: Mapping[str, str], *, within: float | None = None, before: float | None = None
    ) -> Any:
        """Asks with a form."""
        wish = Request("POST", self.url(function), FORM, urlencode(form).encode())
        return await self.basic(function, wish, within=within, before=before)

    async def basic(
        self, function: str, wish: Request, *, within: float | None = None, before: float | None = None
    ) -> Any:
        """Asks with the session's token; once more with another where that was not known, for then nothing was done."""
        token = await self._session.authorization()
        try:
            return await self._asked(function, _with(wish, token), within, before)
        except Expired:
            token = await self._session.renewed(token)
        return await self._asked(function, _with(wish, token), within, before)

    async def automation(self, function: str, method: str, url: str, said: Any, *, before: float | None = None) -> Any:
        """Asks with the token that was made by hand; nothing can renew it."""
        if not self._api_token:
            raise Expired(f"{function} wants api_token, which is not configured")
        wish = Request(method, url, JSON, None if said is None else orjson.dumps(said))
        return await self._asked(function, _with(wish, Token(f"Bearer {self._api_token}")), None, before)

    async def _asked(self, function: str, request: Request, within: float | None, before: float | None) -> Any:
        if function in _LONG:
            answer = await self._read(function, request)
        else:
            # Over a connection of its own: a kept one may be closed in the moment in which it is used, which makes a
            # doubt out of nothing, and aiohttp repeats a GET, PUT or DELETE by itself then.
            answer = await self._lane.ask(replace(request, once=True), within=within, before=before)
        problem = verdict(answer, self.now())
        if problem is not None:
            raise problem
        return read(function, self._meanings[function], answer.body)

    async def _read(self, function: str, request: Request) -> Answer:
        """The answer of a function that only reads, which may be longer than the lane's own limit."""
        total = _TOTAL * self.timeout
        async with self._lane.stream(request, redirects=0, total=total, read=self.timeout) as streamed:
            content = await streamed.body(LIMIT + 1)
            if len(content) > LIMIT:
                raise TooMuch(f"{function}: the answer is longer than {LIMIT} bytes; ask for less")
            return Answer(streamed.status, streamed.headers, content)

    def url(self, function: str, **fields: str) -> str:
        """Where a function is; ``fields`` fill its path. Raises Permanent for an empty one."""
        path = self._paths[function]
        for name, value in fields.items():
            if value in ("", ".", ".."):
                raise Permanent(f"{function}: found no {name}; expected text")
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        return path if "://" in path else f"{self._base}/{path.lstrip('/')}"

    def name(self, function: str, name: str) -> str:
        """What this instance calls a parameter."""
        return self._names.get(f"{function}.{name}", name)

    def called(self, function: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by the names that this instance has for them."""
        return {self.name(function, name): value for name, value in values.items()}


def _with(wish: Request, token: Token) -> Request:
    return replace(wish, headers={**wish.headers, "Authorization": token.value})
