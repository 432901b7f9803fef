"""Where questions are brought: each configured resolver, asked in turn with its fallbacks, inside the caller's wait."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from hub.config import AnyResolver
from hub.errors import Unresolved
from hub.questions import Question, Reply
from hub.resolvers import Means, make
from hub.resolvers.guarded import Guarded


@dataclass(frozen=True, slots=True)
class Resolution:
    """What came of a question.

    Attributes:
        reply: None where nobody had one.
        resolver: who gave it, else who was asked first.
        tried: those that had none, in their order, each with the reason.
    """

    reply: Reply | None
    resolver: str
    tried: tuple[tuple[str, Unresolved], ...] = ()


class Desk:
    """Every configured resolver, open from ``open`` to ``close``."""

    def __init__(
        self, resolvers: Mapping[str, AnyResolver], means: Means, *, clock: Callable[[], float] | None = None
    ) -> None:
        """Opens nothing.

        Args:
            resolvers: by name, as configured; their fallbacks are known to exist and to come to an end.
            means: what they may use.
            clock: monotonic; the event loop's without it.
        """
        self._clock = clock or asyncio.get_running_loop().time
        self._resolvers = {
            name: Guarded(name, part, make(name, part, means), self._clock) for name, part in resolvers.items()
        }

    async def open(self) -> Self:
        """Prepares all of them; none that is down holds it up."""
        for resolver in self._resolvers.values():
            await resolver.open()
        return self

    async def close(self) -> None:
        """Closes all of them."""
        await asyncio.gather(*(resolver.close() for resolver in self._resolvers.values()))

    def wait(self, name: str) -> float:
        """Seconds that the vendor waits for a resolver's answer, fallbacks included."""
        return self._resolvers[name].wait

    def places(self) -> dict[str, int]:
        """How many may be at each resolver at once."""
        return {name: resolver.places for name, resolver in self._resolvers.items()}

    async def resolve(self, name: str, question: Question, until: float) -> Resolution:
        """The reply of the first that has one.

        Args:
            name: of the first to be asked.
            question: what.
            until: when the last of them has to be done, on the clock.
        """
        tried: list[tuple[str, Unresolved]] = []
        chain = list(self._chain(name))
        for place, resolver in enumerate(chain):
            slow = sum(not later.instant for later in chain[place:])
            left = until - self._clock()
            try:
                reply = await resolver.ask(question, min(resolver.wait, left / max(1, slow)))
            except Unresolved as unresolved:
                tried.append((resolver.name, unresolved))
            else:
                return Resolution(reply, resolver.name, tuple(tried))
        return Resolution(None, name, tuple(tried))

    def _chain(self, name: str | None) -> Iterator[Guarded]:
        while name is not None:
            resolver = self._resolvers[name]
            yield resolver
            name = resolver.fallback
