"""Credentials that expire: fetched when they are needed, by one for all who wait."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Token:
    """A credential.

    Attributes:
        value: what is sent.
        lifetime: seconds from when it was fetched; None where nobody said.
        refresh: the refresh token that came with it, where it replaces the one before.
        extra: what else came and is of use: Salesforce's ``instance_url``, Zoho's ``api_domain``.
    """

    value: str = field(repr=False)
    lifetime: float | None = None
    refresh: str | None = field(default=None, repr=False)
    extra: dict[str, str] = field(default_factory=dict)


Fetch = Callable[["Token | None"], Awaitable[Token]]
"""Gets a new token; is given the last one, or None. Raises what ``Lane.ask`` raises, or ``Refused``."""


class Tokens:
    """One credential for all who send it.

        tokens = Tokens(oauth(lane, url, client_id=…, client_secret=…, refresh_token=…))
        token = await tokens.get()
        …401…
        token = await tokens.renew(token)

    However many find it expired at once, it is fetched once; a failed fetch fails for all who waited for it, and is
    not repeated for them.
    """

    def __init__(self, fetch: Fetch, *, early: float = 60.0) -> None:
        """Fetches nothing yet.

        Args:
            fetch: gets a new one.
            early: seconds before a known expiry at which it is fetched anew; at most a tenth of its lifetime.
        """
        raise NotImplementedError

    async def get(self) -> Token:
        """The present token, fetched where there is none or it is about to expire."""
        raise NotImplementedError

    async def renew(self, old: Token) -> Token:
        """A token other than ``old``, which the other side did not accept: fetched unless somebody else did so."""
        raise NotImplementedError
