"""A connection to the broker that is always kept: hosts in turn, jittered back-off, everything rebuilt after a loss.

aio-pika's robust connection does less (one host, a fixed interval, one queue that cannot be redeclared stops all of it)
and more (it restores what it remembers, where we would rather build what we want). So this one only connects; what is
built on a connection is built anew each time, by whoever needs it.
"""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection as PikaConnection
from aiormq.abc import AbstractConnection
from aiormq.exceptions import AuthenticationError, ConnectionNotAllowed, ProbableAuthenticationError
from yarl import URL

from hub.bus.publisher import is_blocked
from hub.bus.tasks import end, ending, error_of

log = structlog.get_logger("bus")

CONNECT_TIMEOUT: Final = 5.0
CLOSE_TIMEOUT: Final = 3.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 2.0
REFUSED_PAUSE: Final = 60.0  # seconds at most, where the broker is there and does not let us in
LASTED: Final = 10.0  # seconds after which a connection counts as a success


class Broken(Exception):
    """The connection or the channel is no good any more; the message says what happened."""


@asynccontextmanager
async def broken_by() -> AsyncIterator[None]:
    """Makes Broken of whatever the broker, the network or the library raises.

    Two things happen to cancellation inside the library. A connection that closes cancels the calls that wait on it:
    that is no cancellation of ours, and must not end the task that it happens in. And an answer that arrives together
    with a cancellation swallows it (``asyncio.wait_for`` up to Python 3.11): then it is raised here.
    """
    try:
        yield
    except asyncio.CancelledError:
        if _is_being_cancelled():
            raise
        raise Broken("the connection was closed") from None
    except Exception as error:  # a peer's nonsense comes out of the library as anything at all
        if _is_being_cancelled():
            raise asyncio.CancelledError from error
        raise Broken(f"{type(error).__name__}: {error}") from error
    if _is_being_cancelled():
        raise asyncio.CancelledError


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Pause:
    """Back-off: from 0.5 s to 2 s, doubling, jittered so that many processes do not come back at once.

    Attributes:
        longest: seconds.
    """

    def __init__(self) -> None:
        self.longest = LONGEST_PAUSE
        self._ceiling = SHORTEST_PAUSE

    def reset(self) -> None:
        """After a success."""
        self._ceiling = SHORTEST_PAUSE

    def next(self) -> float:
        """Seconds of the next pause at most; the one behind it is twice as long."""
        ceiling = min(self.longest, self._ceiling)
        self._ceiling = 2 * ceiling
        return ceiling

    async def wait(self) -> None:
        """Sleeps, longer each time."""
        await asyncio.sleep(self.next() * random.uniform(0.5, 1.0))  # noqa: S311  not a secret


class Link:
    """One supervised connection.

    Attributes:
        trouble: why there is no connection; empty while there is one.
    """

    def __init__(
        self,
        urls: Sequence[str],
        purpose: str,
        *,
        heartbeat: int,
        serve: Callable[[AbstractConnection], Awaitable[None]] | None = None,
    ) -> None:
        """Connects nowhere yet.

        Args:
            urls: of the broker's nodes; the next one is tried whenever one is lost.
            purpose: in logs, and in the broker's list of connections.
            heartbeat: seconds; a peer that is silent for twice as long is gone.
            serve: runs on each connection for as long as it lasts; raises Broken when it wants another.
        """
        self.trouble = "not connected yet"
        self._urls = [URL(url) for url in urls]
        self._purpose = purpose
        self._heartbeat = heartbeat
        self._serve = serve
        self._connection: AbstractConnection | None = None
        self._up = asyncio.Event()
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ending: asyncio.Future[str] | None = None

    def start(self) -> None:
        """Begins to connect."""
        self._task = asyncio.create_task(self._run(), name=f"bus {self._purpose}")

    async def tried(self) -> None:
        """Waits until the first attempt to connect has ended, one way or the other."""
        await self._tried.wait()

    async def connection(self, patience: float | None = None) -> AbstractConnection:
        """The connection, once there is one. Raises Broken after ``patience`` seconds without."""
        try:
            async with asyncio.timeout(patience):
                while self._connection is None:
                    await self._up.wait()
        except TimeoutError:
            raise Broken(self.trouble) from None
        return self._connection

    def replace(self, reason: str) -> None:
        """Ends the connection; another is made."""
        if self._ending is not None and not self._ending.done():
            self._ending.set_result(reason)

    async def close(self) -> None:
        """Stops and disconnects."""
        task, self._task = self._task, None
        await end([task])

    async def _run(self) -> None:
        pause = Pause()
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            url = self._urls[attempt % len(self._urls)]
            attempt += 1
            began = loop.time()
            refused = False
            try:
                await self._session(url)
            except Broken as broken:
                self.trouble = str(broken)
                refused = _is_refusal(broken.__cause__)
            self._tried.set()
            if loop.time() - began > LASTED:
                pause.reset()
            where = {"purpose": self._purpose, "host": _place(url), "reason": self.trouble}
            if refused:  # waiting does not mend a password: an alarm, and no storm at a broker that counts attempts
                log.error("bus.refused", **where)
            else:
                log.warning("bus.disconnected", **where)
            pause.longest = REFUSED_PAUSE if refused else LONGEST_PAUSE
            await pause.wait()

    async def _session(self, url: URL) -> None:
        """A connection from its beginning to its end. Always ends by an exception."""
        async with broken_by():
            pika = await aio_pika.connect(
                url,
                timeout=CONNECT_TIMEOUT,
                heartbeat=self._heartbeat,
                client_properties={"connection_name": f"trunkline {self._purpose}"},
            )
        try:
            if pika.transport is None:
                raise Broken("the connection was closed")
            connection = pika.transport.connection
            log.info("bus.connected", purpose=self._purpose, host=_place(url))
            self._connection = connection
            self.trouble = ""
            self._up.set()
            self._tried.set()
            await self._attend(connection)
        finally:
            self._up.clear()
            self._connection = None
            self.trouble = self.trouble or "the connection was lost"
            await _close(pika)

    async def _attend(self, connection: AbstractConnection) -> None:
        """Serves, probes, and waits for the end."""
        jobs: list[Coroutine[Any, Any, Any]] = [self._probe(connection)]
        if self._serve is not None:
            jobs.append(_as_coroutine(self._serve(connection)))
        tasks = [asyncio.create_task(job, name=f"bus {self._purpose} job") for job in jobs]
        closing = connection.closing
        self._ending = asyncio.get_running_loop().create_future()
        try:
            done, _ = await asyncio.wait((closing, self._ending, *tasks), return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task in done and not task.cancelled():
                    task.result()  # raises what it ended with
            if self._ending.done():
                raise Broken(self._ending.result())
            raise Broken(ending(closing, "the connection was closed")) from error_of(closing)
        finally:
            self._ending = None
            closing.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self, connection: AbstractConnection) -> None:
        """Asks for a sign of life: a half-open connection is found in two heartbeats, not in aiormq's three."""
        async with broken_by():
            channel = await connection.channel(publisher_confirms=False, timeout=self._heartbeat)
        while True:
            await asyncio.sleep(self._heartbeat)
            if is_blocked(connection):
                continue  # a blocked connection is not read by the broker: silence is what it means
            async with broken_by():
                await channel.basic_qos(prefetch_count=1, timeout=self._heartbeat)


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable


def _is_refusal(error: BaseException | None) -> bool:
    """Whether the broker is there, and we may not in, or do not trust it."""
    if isinstance(error, AuthenticationError | ProbableAuthenticationError | ConnectionNotAllowed | ssl.SSLError):
        return True
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


async def _close(pika: PikaConnection) -> None:
    # A peer that does not answer must not hold us up; the socket is closed either way.
    with contextlib.suppress(Broken):
        async with broken_by(), asyncio.timeout(CLOSE_TIMEOUT):
            await pika.close()


def _place(url: URL) -> str:
    """Where it is, without who we are."""
    return f"{url.host}:{url.port or ''}{url.path}"
