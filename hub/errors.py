"""Every error raised on purpose, named by what happens next.

The docstring of an error is what it means; the message it is raised with is what an operator reads.
"""

from datetime import datetime
from typing import Literal

Reason = Literal["event", "undecodable", "signature", "identity"]


class TrunklineError(Exception):
    """Anything that Trunkline raises on purpose."""


class ConfigurationError(TrunklineError):
    """The configuration cannot be used; the message is one line: key, what was found, what is expected."""


# --- a callback ------------------------------------------------------------------------------------------------------


class Unusable(TrunklineError):
    """A callback that came with the right token and cannot become an event: it goes to quarantine.

    Attributes:
        reason: the word of the answer: ``event``, ``undecodable``, ``signature`` or ``identity``.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


class QuarantineFull(TrunklineError):
    """The source's quarantine has no room left: answered 503, so that the operator notices before bytes are lost."""


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
