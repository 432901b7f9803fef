"""Who we are to a CRM: a token for ever, or one that is got for a refresh token and expires."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from hub.config import CrmDestination
from hub.errors import Expired, LaneClosed, Permanent, TrunklineError
from hub.outgoing import Fetch, Lane, Token, Tokens, oauth

_LOCKED: Final = timedelta(seconds=5)  # until another look whether there is a token


class Credentials(Protocol):
    """What goes into ``Authorization`` behind the scheme."""

    async def get(self) -> Token:
        """The present token. Raises what ``Lane.ask`` raises, ``Expired`` or ``Refused``."""
        ...

    async def renew(self, old: Token) -> Token | None:
        """Another one than the one that was not accepted; None where there is no other. Raises likewise."""
        ...


class Lasting:
    """A token that the operator renews."""

    def __init__(self, value: str) -> None:
        self._token = Token(value)

    async def get(self) -> Token:
        """Always the same."""
        return self._token

    async def renew(self, old: Token) -> Token | None:  # noqa: ARG002  there is no other
        """Never."""
        return None


def credentials(settings: CrmDestination, door: Callable[[], Lane]) -> Credentials:
    """As configured; tokens are got over a lane of their own (``door``), so that they wait for nobody."""
    if settings.token is not None:
        return Lasting(settings.token.get_secret_value())
    return _Renewed(Tokens(_fetch(settings, door())))


class _Renewed:
    """OAuth's refresh token; one request for all who find the token expired."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def get(self) -> Token:
        return await self._said(self._tokens.get())

    async def renew(self, old: Token) -> Token | None:
        return await self._said(self._tokens.renew(old))

    @staticmethod
    async def _said(token: Awaitable[Token]) -> Token:
        """What the door for tokens says is no word on the work: nothing of that was sent, no attempt used up."""
        try:
            return await token
        except LaneClosed:
            raise
        except Permanent as error:
            raise Expired(f"no access token: {error}") from error
        except TrunklineError as error:
            raise LaneClosed(datetime.now(UTC) + _LOCKED, f"no access token: {error}") from error


def _fetch(settings: CrmDestination, lane: Lane) -> Fetch:
    secret, refresh = settings.client_secret, settings.refresh_token
    assert settings.token_url and settings.client_id and secret and refresh  # noqa: S101, PT018  the settings say so
    return oauth(
        lane,
        settings.token_url,
        grant_type="refresh_token",
        client_id=settings.client_id,
        client_secret=secret.get_secret_value(),
        refresh_token=refresh.get_secret_value(),
    )
