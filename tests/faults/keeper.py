"""A supervisor as systemd is one: it holds the socket, and starts a process again whenever that ends."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

import psutil

from tests.hub import until
from tests.process.site import Site

KILLED: Final = -signal.SIGKILL
_LOOK: Final = 0.01  # seconds between two looks whether it has ended
_START: Final = 60.0  # seconds; two, on a machine that does nothing else


@dataclass
class Life:
    """A process from its start to its end.

    Attributes:
        number: of its log.
        armed: the failpoints that it was started with.
        status: how it ended; None while it lives.
        seconds: from the signal that ended it until it had.
    """

    process: psutil.Popen
    number: int
    armed: str
    status: int | None = None
    told_at: float | None = None
    seconds: float = 0.0


@dataclass
class Keeper:
    """Keeps one role running; every life of it is written down.

    Attributes:
        lives: in their order; the last is the present one.
    """

    here: Site
    command: tuple[str, ...]
    listener: socket.socket | None
    arms: list[str]
    lives: list[Life] = field(default_factory=list)

    @property
    def life(self) -> Life:
        return self.lives[-1]

    @property
    def finished(self) -> bool:
        """Whether every failpoint has been armed, and has ended a life."""
        return not self.arms and not self.life.armed

    async def serves(self, said: str = "process.ready") -> Life:
        """The present life, once it has said so."""

        async def look() -> Life | None:
            life = self.life
            return life if life.status is None and self.here.said(life.number, said) else None

        return await until(look, within=_START)

    async def tell(self, what: signal.Signals) -> Life:
        """Sends a signal to the present life; returns when that has ended, and the next one begins."""
        life = self.life
        life.told_at = monotonic()
        life.process.send_signal(what)
        return await self.ended(life)

    async def ended(self, life: Life) -> Life:
        """Returns when that life has ended."""

        async def look() -> bool:
            return life.status is not None

        await until(look, within=_START)
        return life

    async def keep(self) -> None:
        """For ever."""
        while True:
            armed = self.arms.pop(0) if self.arms else ""
            variables = {"TRUNKLINE_TEST": "1", "TRUNKLINE_FAILPOINTS": armed} if armed else {}
            number = len(self.here.started)
            process = self.here.start(*self.command, listener=self.listener, **variables)
            life = Life(process, number, armed)
            self.lives.append(life)
            while (status := process.poll()) is None:  # noqa: ASYNC110  a process sets no event
                await asyncio.sleep(_LOOK)
            life.seconds = monotonic() - (life.told_at or monotonic())
            life.status = status


@asynccontextmanager
async def keeper(
    here: Site, *command: str, listener: socket.socket | None = None, arms: Iterable[str] = ()
) -> AsyncIterator[Keeper]:
    """Keeps a role running; its first lives are armed with ``arms``, one each. What runs at the end is the site's."""
    made = Keeper(here, command, listener, list(arms))
    task = asyncio.create_task(made.keep())
    try:
        await asyncio.sleep(0)  # it starts the first one
        yield made
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
