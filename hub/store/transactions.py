"""One transaction at a time: begun, committed or given up as a whole, whoever stops waiting for it."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hub.errors import StoreUnavailable
from hub.store.engine import WRITES
from hub.store.failures import Meaning, bad_data, meaning, unavailable

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]

ATTEMPTS: Final = 5
JITTER: Final = 0.05  # seconds before the second attempt, at most; doubles with each one
GOODBYE: Final = 5  # seconds for connections to say goodbye


class Transactions:
    """Runs work in transactions of an engine.

    Each runs in a task of its own. A cancelled caller stops waiting and nothing else: the transaction comes to its end,
    committed or rolled back, where a cancelled statement would leave a connection in the midst of one.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._running: set[asyncio.Task[Any]] = set()
        # SQLite has one writer. Those of this process take turns here, where they are woken, rather than there, where
        # they would ask again and again.
        self._turn = asyncio.Lock() if engine.dialect.name == "sqlite" else None
        self._closed = False

    async def write(self, work: Work[T]) -> T:
        """What the work returns, committed.

        Raises:
            BadData: the same data will fail again.
            StoreUnavailable: nothing was written, or it is not known whether it was.
        """
        return await self._shielded(self._repeated(work))

    async def read(self, work: Work[T], within: float | None = None) -> T:
        """What the work returns; each of its statements sees one state. Raises as ``write`` does.

        Args:
            work: statements that change nothing.
            within: seconds, for those who cannot wait as long as a statement may take.
        """
        waiting = self._shielded(self._once(work, isolation_level="AUTOCOMMIT"))
        try:
            async with asyncio.timeout(within):
                return await waiting
        except TimeoutError:
            raise StoreUnavailable(f"the store does not answer: nothing within {within} seconds") from None

    async def close(self, grace: float) -> None:
        """Lets what runs come to its end for ``grace`` seconds, then hangs up."""
        self._closed = True
        if self._running:
            await asyncio.wait(self._running, timeout=grace)
        for task in self._running:
            task.cancel()
        await self._hang_up()

    async def _shielded(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise StoreUnavailable("the store is closed")
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; where nobody does any more, asyncio shall not complain

    async def _repeated(self, work: Work[T]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if self._turn is None:
                    return await self._once(work, **WRITES)
                async with self._turn:
                    return await self._once(work, **WRITES)
            except _Again as again:
                if attempt == ATTEMPTS:
                    raise unavailable(again.error) from again.error
            await asyncio.sleep(random.uniform(0, JITTER * 2**attempt))  # noqa: S311
        raise AssertionError("unreachable")

    async def _once(self, work: Work[T], **options: Any) -> T:
        connection = await self._connected()
        try:
            await connection.execution_options(**options)
            result = await work(connection)
            await connection.commit()
        except BaseException as error:
            await self._give_up(connection, error)
            translated = _translated(error)
            if translated is None:
                raise
            raise translated from error
        else:
            return result
        finally:
            with suppress(Exception):  # the outcome is known by now
                await connection.close()

    async def _connected(self) -> AsyncConnection:
        try:
            return await self._engine.connect()
        except Exception as error:
            raise unavailable(error) from error

    async def _give_up(self, connection: AsyncConnection, error: BaseException) -> None:
        what = meaning(error)
        if what in (Meaning.AGAIN, Meaning.BAD, Meaning.BUG) and not isinstance(error, asyncio.CancelledError):
            return  # a sound connection: it is rolled back as it goes back to the pool
        # A hung server answers no ROLLBACK either, and a polite goodbye to it may never end: cut the line.
        with suppress(Exception):
            driver: Any = (await connection.get_raw_connection()).driver_connection
            if hasattr(driver, "terminate"):
                driver.terminate()
        with suppress(Exception):
            await connection.invalidate()
        if what is Meaning.READ_ONLY:
            await self._hang_up()  # the others lead to the old primary too

    async def _hang_up(self) -> None:
        with suppress(Exception):
            async with asyncio.timeout(GOODBYE):
                await self._engine.dispose()


class _Again(Exception):
    """Rolled back for its neighbours' sake: the whole transaction is to be done again."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def _translated(error: BaseException) -> Exception | None:
    match meaning(error):
        case Meaning.AGAIN:
            return _Again(error)
        case Meaning.BAD:
            return bad_data(error)
        case Meaning.DOWN | Meaning.READ_ONLY:
            return unavailable(error)
        case Meaning.BUG:
            return None
