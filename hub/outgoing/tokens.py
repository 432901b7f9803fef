"""Credentials that expire: fetched when they are needed, by one for all who wait."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from hub.errors import Doubtful, Refused, TrunklineError
from hub.outgoing.answers import verdict
from hub.outgoing.lane import Lane
from hub.outgoing.messages import Answer, Request

_EARLY: Final = 60.0
_EARLY_SHARE: Final = 0.1
_HOLD: Final = 10.0


@dataclass(frozen=True, slots=True)
class Token:
    """A credential.

    Attributes:
        value: what is sent.
        lifetime: seconds from when it was fetched; None where nobody said.
        refresh: the refresh token that came with it, where it replaces the one before.
        extra: what else came as text and is of use: Salesforce's ``instance_url``, Zoho's ``api_domain``.
    """

    value: str = field(repr=False)
    lifetime: float | None = None
    refresh: str | None = field(default=None, repr=False)
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)


Fetch = Callable[[Token | None], Awaitable[Token]]
"""Gets a new token; is given the last one, or None. Raises what ``Lane.ask`` and ``verdict`` say."""


class Tokens:
    """One credential for all who send it.

        tokens = Tokens(oauth(lane, url, grant_type="refresh_token", refresh_token=…, client_id=…, client_secret=…))
        token = await tokens.get()
        …401…
        token = await tokens.renew(token)

    However many find it expired at once, it is fetched once. A failed fetch fails for all who waited for it, and for
    all who ask within the next ten seconds: a server that does not know us is not asked again by each of them.
    """

    def __init__(self, fetch: Fetch, *, early: float = _EARLY, hold: float = _HOLD) -> None:
        """Fetches nothing yet.

        Args:
            fetch: gets a new one.
            early: seconds before a known expiry at which it is fetched anew; at most a tenth of its lifetime.
            hold: seconds for which a failure stands.
        """
        self._fetch, self._early, self._hold = fetch, early, hold
        self._token: Token | None = None
        self._stale_at = float("inf")
        self._expires_at = float("inf")
        self._fetching: asyncio.Task[Token] | None = None
        self._failure: tuple[TrunklineError, float] | None = None

    async def get(self) -> Token:
        """The present token, fetched where there is none or it is about to expire.

        Raises:
            TrunklineError: what the fetch raised, unless the token is still good.
        """
        now = monotonic()
        token = self._token
        if token is None or now >= self._expires_at:
            return await self._fetched()
        if now < self._stale_at:
            return token
        try:
            return await self._fetched()
        except TrunklineError:
            if monotonic() < self._expires_at:
                return token
            raise

    async def renew(self, old: Token) -> Token:
        """A token other than ``old``, which the other side did not accept: fetched unless somebody else did so.

        Raises:
            TrunklineError: what the fetch raised.
        """
        token = self._token
        if token is not None and token is not old and token.value != old.value and self._fetching is None:
            return token
        return await self._fetched()

    async def _fetched(self) -> Token:
        if self._fetching is None:
            if self._failure is not None and monotonic() < self._failure[1]:
                raise self._failure[0].with_traceback(None)
            self._fetching = asyncio.create_task(self._fetch_one(), name="token")
            self._fetching.add_done_callback(_seen)
        # Shielded: whoever gives up waiting must not take it from the others.
        return await asyncio.shield(self._fetching)

    async def _fetch_one(self) -> Token:
        began = monotonic()
        try:
            token = await self._fetch(self._token)
        except TrunklineError as error:
            self._failure = (error, monotonic() + self._hold)
            raise
        finally:
            self._fetching = None
        self._failure = None
        self._token = token
        lifetime = float("inf") if token.lifetime is None else token.lifetime
        self._expires_at = began + lifetime
        self._stale_at = self._expires_at - min(self._early, lifetime * _EARLY_SHARE)
        return token


def oauth(lane: Lane, url: str, **form: str) -> Fetch:
    """Fetches by OAuth 2: the grants ``refresh_token`` and ``client_credentials``, and their like.

    A refresh token that comes with an answer replaces the one before, in this process.

    Args:
        lane: asked; a lane of its own where the tokens come from another host than what they are for.
        url: the token endpoint.
        form: ``grant_type``, ``client_id``, ``client_secret``, ``refresh_token``, ``scope``…
    """
    present = dict(form)

    async def fetch(_: Token | None) -> Token:
        body = urlencode(present).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        answer = await lane.ask(Request("POST", url, headers, body))
        problem = verdict(answer, datetime.now(UTC))
        if problem is not None:
            raise problem
        token = _token(answer)
        if token.refresh is not None and "refresh_token" in present:
            present["refresh_token"] = token.refresh
        return token

    return fetch


def _token(answer: Answer) -> Token:
    """Some answer 200 with an error inside."""
    said = _table(answer.body)
    value = said.get("access_token")
    if not isinstance(value, str) or not value:
        error = said.get("error")
        if isinstance(error, str):
            raise Refused(answer.status, f"no token: {error[:100]}")
        raise Doubtful("no token: the answer is no JSON with an access_token")
    refresh = said.get("refresh_token")
    return Token(
        value,
        _seconds(said.get("expires_in")),
        refresh if isinstance(refresh, str) and refresh else None,
        {name: text for name, text in said.items() if isinstance(text, str)},
    )


def _table(body: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _seconds(said: Any) -> float | None:
    """Numbers, and numbers as text; what makes no sense is no news."""
    try:
        seconds = float(said)
    except (TypeError, ValueError):
        return None
    return seconds if 0 < seconds < float("inf") else None


def _seen(task: "asyncio.Task[Token]") -> None:
    """An error that nobody waits for any more is not a defect."""
    if not task.cancelled():
        task.exception()
