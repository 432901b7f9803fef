"""Writes down what many say at the same time in one transaction: a commit is what costs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MOST: Final = 200


class Together(Generic[T, R]):
    """One write at a time, of everything that was handed in while the one before ran.

    Args:
        write: takes items, returns a result for each, in their order.
    """

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._write = write
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """The item's result, once it is written; raises what the write raised."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        return await future

    async def _write_all(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            try:
                results = await self._write([item for item, _ in some])
            except Exception as error:  # noqa: BLE001  whoever waits is told, whatever it is
                for _, future in some:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), result in zip(some, results, strict=True):
                if not future.done():
                    future.set_result(result)
