"""One piece of work in hand: every request of it under its claim, with credentials, and kept for people."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from time import monotonic
from typing import Any, Final, TypeVar

from hub import failpoints, metrics
from hub.errors import Expired, Forbidden, NotSent, RateLimited, Refused, TrunklineError
from hub.outgoing import Answer, Lane, Request, excerpt, shown_headers, shown_url, verdict, word
from hub.ports.forwarding import Tried, Work
from workers.crm.credentials import Credentials

T = TypeVar("T")

BODY: Final = 2000
"""Characters that are kept of a request's body and of an answer's."""

_FRESH: Final = 0.25
"""Seconds for which an intent is as good as new."""

_CERTAIN: Final = (NotSent, Refused, Forbidden, Expired, RateLimited)
"""After these nothing was done at the other side."""


class Lost(Exception):
    """The claim is over: whatever is still to be done is somebody else's to do."""


def lease(timeout: float) -> float:
    """Seconds of a claim: longer than the longest request, with its wait for a turn, twice over."""
    return 4 * timeout + 2


class Visit:
    """Asks in the name of one claim.

    Attributes:
        work: what is to be done.
        tried: what was asked so far.
        intended: whether we noted that the record is about to be made.
        making: whether a record may have been made by our last request for one.
        remote_id: the record's id there, as soon as it is known.
    """

    def __init__(
        self,
        work: Work,
        claimed_at: float,
        *,
        lane: Lane,
        timeout: float,
        extend: Callable[[tuple[Work, bool]], Awaitable[bool]],
        clock: Callable[[], datetime],
        scheme: str = "",
        credentials: Credentials | None = None,
    ) -> None:
        """Args: claimed_at: of the monotonic clock, before the claim was asked for."""
        self.work = work
        self.tried: list[Tried] = []
        self.intended = self.making = False
        self.remote_id = work.remote_id
        self._lane, self._timeout = lane, timeout
        self._until = claimed_at + lease(timeout)
        self._extend = extend
        self._clock = clock
        self._scheme, self._credentials = scheme, credentials
        self._intended_at = 0.0

    async def intend(self) -> None:
        """Notes that the record is about to be made. Raises Lost."""
        failpoints.hit("crm.before_intent")
        await self._hold(intent=True)
        self.intended = self.making = True
        failpoints.hit("crm.after_intent")

    async def ask(self, step: str, request: Request, read: Callable[[Answer], T]) -> T:
        """What ``read`` makes of the answer, with credentials renewed once where they are not accepted.

        Raises:
            Lost: the claim was over before it was sent.
            TrunklineError: as ``Lane.ask``, ``verdict`` and ``read``.
        """
        token = await self._credentials.get() if self._credentials else None
        try:
            return await self._once(step, self._signed(request, token.value if token else None), read)
        except Expired:
            fresh = await self._credentials.renew(token) if self._credentials and token else None
            if fresh is None or (token is not None and fresh.value == token.value):
                raise
            return await self._once(step, self._signed(request, fresh.value), read)

    async def create(self, request: Request, read: Callable[[Answer], T]) -> T:
        """As ``ask``, of the request that makes the record; ``making`` says afterwards whether it may have."""
        try:
            return await self.ask("create_call", request, read)
        except _CERTAIN:
            self.making = False
            raise

    async def _once(self, step: str, request: Request, read: Callable[[Answer], T]) -> T:
        # The doubt counts from the intent; where a token had to be got since, it would be over too early.
        stale = self.making and monotonic() - self._intended_at > _FRESH
        if stale or self._until - monotonic() < 2 * self._timeout + 1:
            await self._hold(intent=stale)
        at, began = self._clock(), monotonic()
        answer: Answer | None = None
        problem: TrunklineError | None = None
        failpoints.hit("crm.before_request")
        try:
            answer = await self._lane.ask(request, within=self._timeout, before=self._until - self._timeout - 0.5)
            failpoints.hit("crm.after_response")
            problem = verdict(answer, self._clock())
            if problem is not None:
                raise problem
            return read(answer)
        except TrunklineError as error:
            problem = error
            raise
        finally:
            self._keep(step, request, at, monotonic() - began, answer, problem)

    async def _hold(self, *, intent: bool) -> None:
        began = monotonic()
        if not await self._extend((self.work, intent)):
            raise Lost
        self._until = began + lease(self._timeout)
        if intent:
            self._intended_at = began

    def _signed(self, request: Request, token: str | None) -> Request:
        if token is None:
            return request
        return replace(request, headers={**request.headers, "Authorization": f"{self._scheme} {token}"})

    def _keep(  # noqa: PLR0917  all that is known of a request
        self,
        step: str,
        request: Request,
        at: datetime,
        seconds: float,
        answer: Answer | None,
        problem: TrunklineError | None,
    ) -> None:
        outcome = _word(problem)
        metrics.crm_tries.labels(self.work.destination, step, outcome).inc()
        if outcome == "closed":
            return  # nobody was asked: an outage of an hour would be nothing but these
        self.tried.append(
            Tried(
                destination=self.work.destination,
                key=self.work.key,
                call_id=self.work.call_id,
                attempt=self.work.attempt,
                at=at,
                seconds=round(seconds, 4),
                step=step,
                request=_shown(request),
                status=answer.status if answer else None,
                answer=excerpt(answer.body, BODY) if answer else "",
                outcome=outcome,
                reason=str(problem)[:500] if problem else "",
            )
        )


def _word(problem: TrunklineError | None) -> str:
    try:
        return word(problem)
    except StopIteration:
        return "refused"


def _shown(request: Request) -> dict[str, Any]:
    body = excerpt(request.body, BODY) if request.body else ""
    return {
        "method": request.method,
        "url": shown_url(request.url),
        "headers": shown_headers(request.headers),
        "body": body,
    }
