"""How a lane is, for people and for whoever plans work for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Standing = Literal["closed", "open", "half_open"]
"""Of the breaker. ``closed``: requests pass. ``open``: none does. ``half_open``: one does, to see."""

Verdict = Literal[
    "done", "limited", "later", "expired", "refused", "gone", "doubtful", "not_sent", "forbidden", "closed"
]
"""How a request ended: six for what was answered, four for what was not."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A lane's breaker opened: requests fail at once until a probe succeeds; said once for an outage.

    Attributes:
        lane: its name.
        at: when.
        reason: the last failure.
        until: the first probe.
    """

    lane: str
    at: datetime
    reason: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Closed:
    """A lane's breaker closed again: the other side answers. ``since``: when it had opened."""

    lane: str
    at: datetime
    since: datetime


OnChange = Callable[[Opened | Closed], None]
"""Called in the event loop; must not block. What it raises is logged and goes no further."""


@dataclass(frozen=True, slots=True)
class LaneState:
    """A lane at one moment.

    Attributes:
        name: of the lane.
        standing: of its breaker.
        since: when it took that standing.
        until: while open: when the next probe may go. While the other side asked for a pause: its end. Else None.
        limit: requests at once, as adapted.
        concurrency: requests at once, as configured: the limit's ceiling.
        rate: requests a second, as adapted.
        in_flight: requests on their way.
        last_error: the last failure, without secrets; None before the first.
        last_error_at: when that was.
        counts: requests by verdict since the start: ``done``, ``limited``, ``later``, ``expired``, ``refused``,
            ``gone``, ``doubtful``, ``not_sent``, ``forbidden``, ``closed`` (refused by this lane itself).
    """

    name: str
    standing: Standing
    since: datetime
    until: datetime | None
    limit: int
    concurrency: int
    rate: float
    in_flight: int
    last_error: str | None
    last_error_at: datetime | None
    counts: Mapping[str, int]
