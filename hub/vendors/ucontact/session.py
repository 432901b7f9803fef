"""A session with uContact: the token that every other request carries.

Source: docs/vendors.md, chapter 4. The token is already the credential of ``Authorization: Basic``: encoding it once
more would break it. The password is configured in the form that the vendor wants, already encrypted.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Final, Literal
from urllib.parse import urlencode

import orjson

from hub.errors import Doubtful, Expired, NotSent, TrunklineError
from hub.outgoing import Lane, Request, Token, Tokens, verdict
from hub.vendors.ucontact.answers import FAILURE, stripped
from hub.vendors.ucontact.paths import PATHS

Login = Literal["getUserToken", "UserLogin"]

FORM: Final = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
_GOODBYE: Final = 3.0  # seconds: a shutdown does not wait for a vendor that is down
_TOKEN_AT: Final = 2  # of UserLogin's array, as real clients read it
_NONE: Final = "uContact gave no token: look at user and password, which has to be the encrypted one"


class Session:
    """One user's session with one instance: begun when it is needed, renewed when it has expired, ended by ``close``.

    Args:
        lane: to ask it by.
        base_url: with or without a slash at its end.
        user: of the API.
        password: encrypted.
        paths: endpoints that differ from ``PATHS``.
        now: the clock.
        login: the function that gives the token.
        api_key: a fixed key that the vendor issued; there is no session where there is one.
    """

    def __init__(
        self,
        lane: Lane,
        base_url: str,
        user: str,
        password: str,
        paths: Mapping[str, str],
        *,
        now: Callable[[], datetime],
        login: Login = "getUserToken",
        api_key: str | None = None,
    ) -> None:
        """Asks for nothing yet."""
        self._lane = lane
        self._base = base_url.rstrip("/")
        self._user = user
        self._form = urlencode({"user": user, "password": password}).encode()
        self._paths = {**PATHS, **paths}
        self._now = now
        self._login: Login = login
        self._api_key = api_key
        self._tokens = Tokens(self._fetch)
        self._open: Token | None = None

    async def authorization(self) -> Token:
        """The present token; its ``value`` is the header's.

        Raises:
            Expired: user or password are not accepted.
            NotSent: no answer, or none that can be read: the request that the token is for was not sent.
            TrunklineError: whatever else asking raises; nothing was done in any case.
        """
        with _nothing_was_done():
            return await self._tokens.get()

    async def renewed(self, old: Token) -> Token:
        """Another one: the vendor did not accept ``old``. Raises as ``authorization``."""
        if self._api_key is not None:
            raise Expired("uContact does not accept api_key")
        with _nothing_was_done():
            return await self._tokens.renew(old)

    async def close(self) -> None:
        """Ends the session, where one was begun; a vendor that cannot be reached ends it by itself."""
        token, self._open = self._open, None
        if token is None:
            return
        form = urlencode({"user": self._user, "token": token.value.removeprefix("Basic ")}).encode()
        headers = {**FORM, "Authorization": token.value}
        with suppress(TrunklineError):
            await self._lane.ask(Request("POST", self._url("EndSession"), headers, form), within=_GOODBYE)

    def _url(self, function: str) -> str:
        path = self._paths[function]
        return path if "://" in path else f"{self._base}/{path.lstrip('/')}"

    async def _fetch(self, _: Token | None) -> Token:
        if self._api_key is not None:
            return Token(f"Basic {self._api_key}")
        answer = await self._lane.ask(Request("POST", self._url(self._login), FORM, self._form))
        problem = verdict(answer, self._now())
        if problem is not None:
            raise problem
        text = stripped(answer.body) if self._login == "getUserToken" else _logged_in(answer.body)
        # The vendor says 200 and 0 to a wrong password.
        if text in ("", FAILURE) or not text.isascii() or any(sign.isspace() for sign in text) or text[0] in "<{[":
            raise Expired(_NONE)
        self._open = Token(f"Basic {text}")
        return self._open


@contextmanager
def _nothing_was_done() -> Iterator[None]:
    """Of a token that was perhaps given: what it was wanted for was certainly not done."""
    try:
        yield
    except Doubtful as problem:
        raise NotSent(f"no token: {problem}") from None


def _logged_in(body: bytes) -> str:
    """The token in an answer of UserLogin: the third of an array, or ``Md5secret`` of an object; empty without one."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    if isinstance(said, list) and len(said) > _TOKEN_AT:
        said = said[_TOKEN_AT]
    if isinstance(said, dict):
        said = next((value for name, value in said.items() if str(name).lower() == "md5secret"), "")
    return said.strip() if isinstance(said, str) else ""
