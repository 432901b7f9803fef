"""Every error raised on purpose, named by what happens next.

The docstring of an error is what it means; the message it is raised with is what an operator reads.
"""

from datetime import datetime
from typing import Literal

Reason = Literal["event", "undecodable", "signature", "identity", "address"]
NoReply = Literal["none", "late", "failed", "invalid", "open", "full"]


class TrunklineError(Exception):
    """Anything that Trunkline raises on purpose."""


class ConfigurationError(TrunklineError):
    """The configuration cannot be used; the message is one line: key, what was found, what is expected."""


# --- a callback ------------------------------------------------------------------------------------------------------


class Unusable(TrunklineError):
    """A callback that came with the right token and cannot become an event: it goes to quarantine.

    Attributes:
        reason: the word of the answer: ``event``, ``undecodable``, ``signature`` or ``identity``; of a Query, which is
            answered where a callback is refused, ``address`` too.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


class QuarantineFull(TrunklineError):
    """The source's quarantine has no room left: answered 503, so that the operator notices before bytes are lost."""


# --- a Query ---------------------------------------------------------------------------------------------------------


class Unresolved(TrunklineError):
    """A resolver has no reply to a question: its fallback is asked, and where there is none the call goes on without.

    Attributes:
        reason: ``none``: it knows nothing of it; ``late``; ``failed``: down, or an error; ``invalid``: a reply that the
            vendor cannot read; ``open``: its breaker is; ``full``: it has too many questions in hand.
    """

    def __init__(self, reason: NoReply, detail: str) -> None:
        super().__init__(detail)
        self.reason: NoReply = reason


# --- the bus ---------------------------------------------------------------------------------------------------------


class NotDurable(TrunklineError):
    """The bus could not take the events: nobody may be told that they were accepted."""


class Undecodable(TrunklineError):
    """A message on the bus that is no event of ours: a dead letter at once."""


class BusClosed(TrunklineError):
    """The subscription is closed; nothing more will come from it."""


class Stuck(TrunklineError):
    """This process gets nothing from its bus any more, and another one may: its supervisor starts it anew."""


# --- a delivery: what should happen next -----------------------------------------------------------------------------


class NotYet(TrunklineError):
    """Too early: come back later; it does not count as an attempt."""

    def __init__(self, after: float, reason: str) -> None:
        super().__init__(reason)
        self.after = after


class Permanent(TrunklineError):
    """Will never work: a dead letter at once, with the message as its reason."""


class RateLimited(TrunklineError):
    """The other side asked to wait until the given time."""

    def __init__(self, until: datetime, reason: str) -> None:
        super().__init__(reason)
        self.until = until


class StoreUnavailable(TrunklineError):
    """The store cannot be reached or did not answer in time; the work is repeated, nobody is at fault."""


# --- a request to somebody else's system -----------------------------------------------------------------------------


class NotSent(TrunklineError):
    """Certainly nothing was done at the other side: no name, no connection, no handshake. Safe to repeat."""


class LaneClosed(NotSent):
    """Not even tried: the other side was failing, or asked for a pause; no attempt was used up.

    Attributes:
        until: when it is worth asking again; aware, UTC.
    """

    def __init__(self, until: datetime, reason: str) -> None:
        super().__init__(reason)
        self.until = until


class NoTurn(NotSent):
    """Not even tried: so many ask the same system that its turn did not come in time; no attempt was used up."""


class Doubtful(TrunklineError):
    """Sent, or perhaps sent, and it is not known what came of it: look before it is repeated."""


class Later(Doubtful):
    """The other side answered that it failed (5xx, 408, 3xx…); it may have had its effect all the same.

    Attributes:
        status: of the answer.
        until: not to be asked before, where it said so.
    """

    def __init__(self, status: int, reason: str, until: datetime | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.until = until


class Expired(TrunklineError):
    """The other side does not know us (401, 403), and did nothing: renew the credentials, once, and ask again."""


class Refused(Permanent):
    """The other side understood, and will never do it.

    Attributes:
        status: of the answer.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Gone(Permanent):
    """The other side is there no more (410) and does not want to be asked again."""


class Forbidden(Permanent):
    """We do not go there: an address, port or scheme that outgoing requests may not have. Nothing was sent."""


class TooMuch(Permanent):
    """The answer is longer than anybody reads: ask for less at a time."""


# --- a dial ----------------------------------------------------------------------------------------------------------


class Unacceptable(TrunklineError):
    """A call that cannot be placed as it was asked for; one line says the key, what was found, what is expected."""


class KeyReused(TrunklineError):
    """The idempotency key stands for another request."""


# --- custody ---------------------------------------------------------------------------------------------------------


class CustodyUnavailable(TrunklineError):
    """The place for recordings cannot be used now: full, away or closed to us; what was to be kept waits."""
