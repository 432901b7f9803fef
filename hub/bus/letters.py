"""Dead letters in the broker: looked at, put back, discarded.

A queue can only be read from its head. So the letters are got one by one on a channel of their own and not
acknowledged; those that were chosen are, when their new copy is confirmed, and all others return when the channel is
closed. What is cut short in between returns too.

They do not return in their order (a quorum queue shuffles more than 32), so the order is ours: by when they died.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Final, Generic, TypeVar

from aiormq.abc import AbstractChannel, AbstractConnection
from pamqp import commands as spec

from hub.bus.topology import RPC_TIMEOUT, close_channel, counts, dead_queue
from hub.bus.wire import Received, microseconds, received
from hub.errors import NotDurable
from hub.ports import Dead

_TOGETHER: Final = 100  # copies on their way at once
_LOOK_AGAIN: Final = 0.02
_RETURN: Final = 1.0  # seconds for which letters on their way back are waited for
_DIGITS: Final = 18  # of Unix microseconds, at most

T = TypeVar("T")
Place = tuple[int, str]
"""When it died, in Unix microseconds, and its name."""

Move = Callable[[Sequence[Received]], Awaitable[list[str | None]]]
"""Does with letters what is wanted; says for each None, or why it has to stay."""


def place(cursor: str | None) -> Place | None:
    """The place that a cursor stands for. Raises ValueError where it is none of ours."""
    if cursor is None:
        return None
    died_at, dot, name = cursor.partition(".")
    if not (dot and died_at.isascii() and died_at.isdecimal() and len(died_at) <= _DIGITS):
        raise ValueError(f"{cursor!r} is not a cursor of this bus")
    return int(died_at), name


async def look(
    connection: AbstractConnection,
    queue: str,
    limit: int,
    after: Place | None,
    where: Callable[[Dead], bool] | None,
) -> list[Dead]:
    """The oldest letters behind a place that ``where`` holds for."""
    found: _Oldest[Dead] = _Oldest(limit)
    async with _walk(connection, dead_queue(queue)) as walk, aclosing(walk.letters()) as letters:
        async for _, letter in letters:
            dead = letter.dead()
            at = _place(dead)
            if (after is None or at > after) and (where is None or where(dead)):
                found.add(at, dead)
    return found.items()


async def take(connection: AbstractConnection, queue: str, ids: Collection[str] | None, limit: int, move: Move) -> int:
    """Moves the oldest letters, or those of the ids; returns how many. Raises NotDurable where one has to stay."""
    async with _walk(connection, dead_queue(queue)) as walk:
        chosen = await (walk.oldest(limit) if ids is None else walk.named(frozenset(ids), limit))
        for at in range(0, len(chosen), _TOGETHER):
            await walk.move(dict(chosen[at : at + _TOGETHER]), move)
        await walk.settled()
    return walk.moved


async def rescue(connection: AbstractConnection, queue: str, move: Move) -> int:
    """Moves the bystanders, and forgets probes; returns how many bystanders there were. Raises as ``take``."""

    async def forget(found: Sequence[Received]) -> list[str | None]:
        return [None] * len(found)

    async with _walk(connection, dead_queue(queue)) as walk:
        bystanders, probes = await walk.innocent()
        await walk.move(probes, forget)
        for at in range(0, len(bystanders), _TOGETHER):
            await walk.move(dict(bystanders[at : at + _TOGETHER]), move)
        if walk.moved:
            await walk.settled()
    return len(bystanders)


async def reroute(connection: AbstractConnection, name: str, move: Move) -> int:
    """Moves all that lies in a queue now, and nothing that comes meanwhile; returns how many. Raises as ``take``."""
    ready = await _ready(connection, name)
    if not ready:
        return 0
    async with _walk(connection, name) as walk:
        while walk.got < ready and (some := await walk.some(min(_TOGETHER, ready - walk.got))):
            await walk.move(some, move)
        await walk.settled()
    return walk.moved


async def names(connection: AbstractConnection, name: str) -> list[str]:
    """The ids of all that lies in a queue, strangers' too; each of its messages has been returned once more then."""
    async with _walk(connection, name) as walk, aclosing(walk.letters()) as letters:
        return [letter.dead().id async for _, letter in letters]


@asynccontextmanager
async def _walk(connection: AbstractConnection, name: str) -> AsyncIterator["_Walk"]:
    """Over what lies in a queue, on a channel of its own. Raises NotDurable where there is no such queue."""
    if await _ready(connection, name) is None:
        raise NotDurable(f"there is no queue {name}")
    channel = await connection.channel(publisher_confirms=False, timeout=RPC_TIMEOUT)
    walk = _Walk(channel, name)
    try:
        yield walk
    finally:
        await close_channel(channel)
    # The broker returns them some time after it has answered: whoever looks next would miss them.
    with suppress(TimeoutError):
        async with asyncio.timeout(_RETURN):
            while (await _ready(connection, name) or 0) < walk.got - walk.moved:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(_LOOK_AGAIN)


async def _ready(connection: AbstractConnection, name: str) -> int | None:
    (count,) = await counts(connection, [name])
    return count


class _Walk:
    """Every message that nobody else is looking at, each but once.

    Attributes:
        got: how many the channel was given.
        moved: how many of them are gone for good.
    """

    def __init__(self, channel: AbstractChannel, name: str) -> None:
        self.got = 0
        self.moved = 0
        self._channel = channel
        self._name = name

    async def letters(self) -> AsyncGenerator[tuple[int, Received], None]:
        """Them, each with its delivery tag."""
        while True:
            got = await self._channel.basic_get(self._name, timeout=RPC_TIMEOUT)
            if isinstance(got.delivery, spec.Basic.GetEmpty):
                return
            self.got += 1
            yield got.delivery_tag or 0, received(got)

    async def some(self, limit: int) -> dict[int, Received]:
        """The next few, fewer where there are no more."""
        found: dict[int, Received] = {}
        async with aclosing(self.letters()) as letters:
            async for tag, letter in letters:
                found[tag] = letter
                if len(found) == limit:
                    break
        return found

    async def oldest(self, limit: int) -> list[tuple[int, Received]]:
        """The oldest of all."""
        found: _Oldest[tuple[int, Received]] = _Oldest(limit)
        async with aclosing(self.letters()) as letters:
            async for tag, letter in letters:
                found.add(_place(letter.dead()), (tag, letter))
        return found.items()

    async def named(self, ids: Collection[str], limit: int) -> list[tuple[int, Received]]:
        """The first that have one of the names."""
        found: list[tuple[int, Received]] = []
        async with aclosing(self.letters()) as letters:
            async for tag, letter in letters:
                if letter.dead().id in ids:
                    found.append((tag, letter))
                if len(found) == limit:
                    break
        return found

    async def innocent(self) -> tuple[list[tuple[int, Received]], dict[int, Received]]:
        """Those that the broker buried and nobody has looked at, and what is no letter at all."""
        bystanders: list[tuple[int, Received]] = []
        probes: dict[int, Received] = {}
        async with aclosing(self.letters()) as letters:
            async for tag, letter in letters:
                if letter.is_probe:
                    probes[tag] = letter
                elif letter.is_bystander:
                    bystanders.append((tag, letter))
        return bystanders, probes

    async def move(self, chosen: Mapping[int, Received], move: Move) -> None:
        """Acknowledges what could be moved. Raises NotDurable where not all could."""
        problems = dict(zip(chosen, await move(list(chosen.values())), strict=True))
        for tag, problem in problems.items():
            if problem is None:
                await self._channel.basic_ack(tag)
                self.moved += 1
        problem = next((problem for problem in problems.values() if problem is not None), None)
        if problem is not None:
            raise NotDurable(problem)

    async def settled(self) -> None:
        """Waits until the queue has the acknowledgements.

        The broker's channel hands 32 of them to a quorum queue and keeps the others until the queue has answered;
        should the channel close before, those are lost, and the letters come back. An answer to a get comes behind what
        the queue answered to the first ones, and then the others are on their way.
        """
        for _ in range(2):
            await self._channel.basic_get(self._name, timeout=RPC_TIMEOUT)


class _Oldest(Generic[T]):
    """The oldest few of many, in their order."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._found: list[tuple[Place, T]] = []

    def add(self, at: Place, item: T) -> None:
        self._found.append((at, item))
        if len(self._found) > 2 * self._limit:
            self._shrink()

    def items(self) -> list[T]:
        self._shrink()
        return [item for _, item in self._found]

    def _shrink(self) -> None:
        self._found.sort(key=lambda entry: entry[0])
        del self._found[self._limit :]


def _place(dead: Dead) -> Place:
    return microseconds(dead.died_at), dead.id
