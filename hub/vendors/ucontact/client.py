"""What we ask of uContact: a session's token, which every other request carries.

Source: docs/vendors.md, uContact. The token is already the credential of ``Authorization: Basic``: encoding it once
more would break it. The password is configured in the form that the vendor wants, already encrypted.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from hub.errors import Expired
from hub.outgoing import Lane, Request, Token, Tokens, verdict

PATHS: Final[Mapping[str, str]] = {"getUserToken": "Integra/resources/auth/getUserToken"}
"""Endpoints by their names in docs/vendors.md; ``paths`` of a source replaces them."""

_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_FAILURE: Final = "0"


class UContact:
    """One instance of uContact, as one user.

    Args:
        lane: to ask it by.
        base_url: with or without a slash at its end.
        user: of the API.
        password: encrypted.
        paths: endpoints that differ from ``PATHS``.
        now: the clock.
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
    ) -> None:
        self._lane = lane
        self._base = base_url.rstrip("/")
        self._form = urlencode({"user": user, "password": password}).encode()
        self._paths = {**PATHS, **paths}
        self._now = now
        self._tokens = Tokens(self._fetch)

    async def authorization(self) -> Token:
        """The present token; its ``value`` is the header's."""
        return await self._tokens.get()

    async def renewed(self, old: Token) -> Token:
        """Another one: the vendor did not accept ``old``."""
        return await self._tokens.renew(old)

    async def _fetch(self, _: Token | None) -> Token:
        url = f"{self._base}/{self._paths['getUserToken'].lstrip('/')}"
        answer = await self._lane.ask(Request("POST", url, _FORM, self._form))
        problem = verdict(answer, self._now())
        if problem is not None:
            raise problem
        # The vendor says 200 and 0 to a wrong password; quotes and newlines around a token are its habit.
        text = answer.body.decode("latin-1").strip().strip('"').strip()
        if text in ("", _FAILURE) or not text.isascii() or any(sign.isspace() for sign in text) or text[0] in "<{":
            raise Expired("uContact gave no token: look at user and password, which has to be the encrypted one")
        return Token(f"Basic {text}")
