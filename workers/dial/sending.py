"""One dial from its claim to its outcome: the intent is written, the request is sent, what came of it is kept."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import Final

import structlog

from hub import failpoints, metrics
from hub.errors import StoreUnavailable
from hub.ports import Failure
from hub.ports.dialing import Dial, Dials, Placed, PlacesCalls
from workers.dial.troubles import Again, Failed, Unknown, judge

_MARGIN: Final = 5.0  # seconds that a claim outlives the request: for the store to take the outcome
_PAUSES: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # the answer is worth more than the claim, which it outlives
_log = structlog.get_logger("dial")


class Sender:
    """Places the calls of one source.

    Args:
        source: its name.
        dialer: of its vendor.
        dials: where they are kept.
        clock: aware, UTC.
        timeout: seconds that a request waits for its turn, and as many again that it takes.
    """

    def __init__(
        self, source: str, dialer: PlacesCalls, dials: Dials, clock: Callable[[], datetime], timeout: float
    ) -> None:
        self.source = source
        self._dialer, self._dials, self._clock = dialer, dials, clock
        self._lease = 2 * timeout + _MARGIN

    async def send(self, dial: Dial) -> None:
        """Sends a claimed dial, once. Raises StoreUnavailable where nothing was sent."""
        failpoints.hit("dial.after_claim")
        claim = dial.claim or ""
        if not await self._dials.intend(dial.dial_id, claim, self._clock(), self._lease):
            return  # too late, or somebody else's by now
        failpoints.hit("dial.after_intent")
        began = monotonic()
        outcome = await self._sent(dial)
        failpoints.hit("dial.after_response")
        kept = await self._kept(dial, claim, outcome)
        failpoints.hit("dial.after_outcome")
        self._report(dial, outcome, monotonic() - began, kept=kept)

    async def _kept(self, dial: Dial, claim: str, outcome: Placed | Again | Failed | Unknown) -> bool:
        """Writes down what came of it, for as long as the store may come back; then it is unknown, for good or not."""
        for pause in (*_PAUSES, None):
            try:
                return await self._keep(dial, claim, outcome)
            except StoreUnavailable as error:
                reason = str(error)
            if pause is not None:
                await asyncio.sleep(pause)
        _log.error("dial.not_kept", dial_id=dial.dial_id, source=self.source, reason=reason)
        return False

    async def _sent(self, dial: Dial) -> Placed | Again | Failed | Unknown:
        try:
            failpoints.hit("dial.before_request")
            left = (dial.give_up_at - self._clock()).total_seconds()
            return await self._dialer.dial(dial.order, monotonic() + left)
        except Exception as error:  # noqa: BLE001  whatever is raised is judged by its name
            return judge(error, dial, self._clock())

    async def _keep(self, dial: Dial, claim: str, outcome: Placed | Again | Failed | Unknown) -> bool:
        now = self._clock()
        match outcome:
            case Placed():
                return await self._dials.accepted(dial.dial_id, claim, outcome, now)
            case Again():
                return await self._dials.postpone(dial.dial_id, claim, outcome.at, Failure(now, outcome.reason))
            case Failed():
                return await self._dials.failed(dial.dial_id, claim, outcome.reason, now)
            case Unknown():
                return await self._dials.doubted(dial.dial_id, claim, outcome.reason, now)

    def _report(self, dial: Dial, outcome: Placed | Again | Failed | Unknown, seconds: float, *, kept: bool) -> None:
        word = {Placed: "accepted", Again: "again", Failed: "failed", Unknown: "unknown"}[type(outcome)]
        metrics.dials.labels(self.source, word).inc()
        if isinstance(outcome, Placed):
            metrics.dial_seconds.labels(self.source).observe((self._clock() - dial.requested_at).total_seconds())
        _log.info(
            "dial.attempt",
            dial_id=dial.dial_id,
            source=self.source,
            attempt=dial.attempt + 1,
            outcome=word,
            request_id=outcome.request_id if isinstance(outcome, Placed) else None,
            reason=None if isinstance(outcome, Placed) else outcome.reason,
            seconds=round(seconds, 3),
            kept=kept,
        )
