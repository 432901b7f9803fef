"""A lane: everything that limits what we ask of one system."""

from contextlib import AbstractAsyncContextManager

from hub.outgoing.messages import Answer, Request
from hub.outgoing.states import LaneState
from hub.outgoing.streams import Streamed


class Lane:
    """One neighbour: its rate, its concurrency, its breaker, its connections. Made by ``Outgoing.lane``.

    Attributes:
        name: in logs and metrics, ``crm.acme``.
    """

    name: str

    async def ask(self, request: Request, *, timeout: float | None = None) -> Answer:
        """Sends a request when it is its turn, and reads the answer; no redirect is followed, no cookie kept.

        Takes at most ``timeout`` seconds waiting for its turn, and as many again for the request.

        Args:
            request: what to send.
            timeout: seconds in all, instead of the lane's.

        Raises:
            Forbidden: the guard refuses the address. Permanent.
            NotSent: certainly nothing was done.
            LaneClosed: a ``NotSent``: the breaker is open, or the other side asked for a pause.
            Doubtful: sent, and no whole answer.
        """
        raise NotImplementedError

    def stream(
        self,
        request: Request,
        *,
        redirects: int = 3,
        total: float = 3600.0,
        read: float = 10.0,
        slowest: int = 512,
    ) -> AbstractAsyncContextManager[Streamed]:
        """Asks for something long. Holds one of the lane's places until the context ends.

        Redirects (GET and HEAD only) are followed, each one guarded anew; from https to http never; to another host,
        port or scheme without ``Authorization``, cookies and every header that is not known to be harmless. Put
        ``Range``, ``If-Range``, ``If-None-Match`` into the request's headers.

        Args:
            request: what to send.
            redirects: how many to follow; one more is ``Refused``. With 0, a redirect is an answer like any other.
            total: seconds for all of it.
            read: seconds without a byte.
            slowest: bytes a second, over the last 30 s; what is slower is given up.

        Raises:
            As ``ask``, on entering; ``Refused`` for redirects that are too many or lead from https to http.
        """
        raise NotImplementedError

    async def room(self) -> int:
        """Waits until a request could be sent at once; returns how many could, at least 1.

        For whoever claims work: claim so many, so that nothing waits under a lease. Not a reservation.
        """
        raise NotImplementedError

    def free(self) -> int:
        """How many requests could be sent now: 0 while the breaker is open or the other side wants a pause."""
        raise NotImplementedError

    def state(self) -> LaneState:
        """How it is now, for people."""
        raise NotImplementedError

    def change(self, *, rate: float, concurrency: int, timeout: float) -> None:
        """Other limits from now on."""
        raise NotImplementedError
