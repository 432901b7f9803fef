"""A service of the customer's, asked by POST with JSON. Its lane limits it, guards it, and has its breaker."""

from datetime import UTC, datetime
from typing import Final

from hub.config import HttpResolver as Configured
from hub.errors import LaneClosed, TrunklineError, Unresolved
from hub.outgoing import Lane, Request, verdict
from hub.questions import Question, Reply
from hub.resolvers.means import Means
from hub.resolvers.wire import answered, asked

_OF_IT: Final = 0.97  # of the time for the lane, so that it is the lane that sees it end, and its breaker learns of it


class HttpResolver:
    """One service, on a lane of its own."""

    def __init__(self, name: str, configured: Configured, means: Means) -> None:
        """As it is configured."""
        self._name, self._configured, self._outgoing = name, configured, means.outgoing
        secret = {header: value.get_secret_value() for header, value in configured.headers.items()}
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"} | secret
        self._lane: Lane | None = None

    async def open(self) -> None:
        """Makes its lane."""
        self._lane = self._outgoing.lane(
            f"resolver.{self._name}",
            rate=self._configured.rate,
            concurrency=self._configured.concurrency,
            timeout=self._configured.wait,
        )

    async def resolve(self, question: Question, within: float) -> Reply:
        """What the service answers with a 2xx. Raises Unresolved."""
        if self._lane is None:
            raise Unresolved("failed", "not opened")
        request = Request("POST", self._configured.url, self._headers, asked(question))
        try:
            answer = await self._lane.ask(request, within=_OF_IT * within)
        except LaneClosed as closed:
            raise Unresolved("open", str(closed)) from None
        except TrunklineError as error:
            raise Unresolved("failed", str(error)) from None
        problem = verdict(answer, datetime.now(UTC))
        if problem is not None:
            raise Unresolved("failed", str(problem))
        if not answer.whole:
            raise Unresolved("invalid", "the answer is too long to be read")
        return answered(answer.body)

    async def close(self) -> None:
        """The lane is closed with the others of its ``Outgoing``."""
