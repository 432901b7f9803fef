"""A row: a hub of three processes under load, faults that happen to its servers, and the account of it all."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

import asyncpg

from tests.faults.report import Account, publish, reckon
from tests.faults.scale import at
from tests.hub import until
from tests.process.site import Load, Site, site

SOON: Final = 10.0  # seconds in which a hub is itself again
RATE: Final = at(quick=40, full=120)  # callbacks a second: two cores carry servers, three processes and other tests
_APART: Final = at(
    quick=20, full=8
)  # simulated seconds from call to call: those of one call are a second apart at most
_TIMING: Final = {"settle": 0.5, "gap_after": 3}
_ENOUGH: Final = 20  # confirms that end a gap
_PATIENCE: Final = 60.0  # at the end, for what waits in queues and outboxes


@dataclass
class Trial:
    """What a row has to do with.

    Attributes:
        here: an ingress (0) and two workers (1, 2), by the order of their starts.
        load: what is sent to them.
        store: URL of the database, not through any proxy.
        injected: faults that were seen to happen.
        recoveries: seconds of each one's recovery.
    """

    here: Site
    load: Load
    store: str
    injected: int = 0
    recoveries: list[float] = field(default_factory=list)

    async def recovers(self, within: float = SOON) -> None:
        """The fault was real, and is over now: what it held up must soon begin to arrive.

        Recovered is when the ingress has its bus again, and the store has an event that it did not have when the fault
        ended: publishing and consuming go on. How long the backlog then takes is the machine's affair.
        """
        began = monotonic()
        self.injected += 1
        before = await until(lambda: every_event(self.store), within=_PATIENCE)

        async def progress() -> bool:
            missing = list(self.load.accepted - before)
            arrived = await ask(self.store, "SELECT 1 FROM events WHERE id = ANY($1) LIMIT 1", missing)
            return bool(arrived) and await self._publishes()

        await until(progress, within=_PATIENCE)  # a slow recovery is measured before it is condemned
        self.recoveries.append(monotonic() - began)
        assert self.recoveries[-1] <= within, f"recovered after {self.recoveries[-1]:.1f} s"

    async def logs(self, event: str, *numbers: int, more_than: int = 0) -> None:
        """Waits until each of these processes has said this more often than that."""

        async def said() -> bool:
            return all(self.here.said(number, event) > more_than for number in numbers)

        await until(said, within=_PATIENCE)

    async def gap(self, fault: Callable[[], Awaitable[None]], within: float) -> float:
        """Runs the fault; returns the longest time in which the broker confirmed nothing to the ingress meanwhile.

        Counted at the ingress: what was answered 200, less what the outbox took. Ends with the first confirms after it.
        """
        running = asyncio.ensure_future(fault())
        longest, last, since, after = 0.0, await self.confirmed(), monotonic(), 0
        async with asyncio.timeout(within + _PATIENCE):
            while not running.done() or after < _ENOUGH:
                await asyncio.sleep(0.02)
                now = await self.confirmed()
                longest = max(longest, monotonic() - since)
                if now > last:
                    after += (now - last) if running.done() else 0
                    last, since = now, monotonic()
        await running
        assert longest <= within, f"no confirm for {longest:.1f} s"
        return longest

    async def confirmed(self) -> int:
        """Events that the broker has confirmed to the ingress."""
        return int(await self.metric("trunkline_callbacks_total", 'answer="200"')) - int(
            await self.metric("trunkline_outbox_taken_total")
        )

    async def metric(self, name: str, label: str = "") -> float:
        """Of the ingress, added up over its labels."""
        status, text = await self.here.get("/metrics")
        assert status == 200
        lines = [line for line in text.decode().splitlines() if line.startswith(name) and label in line]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    async def _publishes(self) -> bool:
        status, health = await self.here.get("/readyz")
        return status == 200 and health["parts"]["bus"]["state"] == "ok"

    async def ends(self, row: str, planned: int, oracle: Path) -> Account:
        """Waits until all is quiet, and reckons: every answer 200, nothing lost, nothing twice, the same records."""
        await self.load.finish()
        await self._is_quiet()
        with suppress(TimeoutError):  # what is missing then is for the account to tell
            await self.here.seals(len({result.step.call.key for result in self.load.results}), within=_PATIENCE)
        events, calls = await self.here.pages("/v1/events"), await self.here.pages("/v1/calls")
        account = await reckon(
            row,
            self.load,
            events,
            calls,
            planned=planned,
            injected=self.injected,
            recoveries=self.recoveries,
            ledger=await self._ledger(),
            oracle=oracle,
        )
        publish(account)
        account.check()
        assert set(account.statuses) == {"200"}
        assert account.attempted == account.acknowledged
        return account

    async def _is_quiet(self) -> None:
        async def all_there() -> bool:
            return self.load.accepted <= (await every_event(self.store) or set())

        with suppress(TimeoutError):  # what is missing is for the account to tell
            await until(all_there, within=_PATIENCE)

    async def _ledger(self) -> Any:
        async def settled() -> Any:
            status, ledger = await self.here.get("/v1/ledger")
            return ledger if status == 200 and ledger["workers"]["persistence"]["in_flight"] == 0 else None

        return await until(settled, within=_PATIENCE)


@asynccontextmanager
async def trial(
    directory: Path, bus: str | list[str], store: str, *, witness: str, workers_bus: str | None = None
) -> AsyncIterator[Trial]:
    """Three processes under a load that goes on until the row ends it.

    Args:
        directory: of the hub.
        bus: URL of the ingress's broker, or of its nodes.
        store: URL of everybody's database.
        witness: URL of the same database for the test's own questions.
        workers_bus: URL of the workers' broker where it is another than the ingress's.
    """
    async with site(directory) as here:
        here.configure(bus={"url": bus}, store={"url": store}, calls=_TIMING)
        other: dict[str, Any] = {} if workers_bus is None else {"TRUNKLINE_BUS__URL": workers_bus}
        here.start("ingress")
        for _ in range(2):
            here.start("worker", "persistence", **other)
        await here.ready()
        seed = random.randrange(1_000_000)  # noqa: S311  of the load; the account has it
        async with Load(here.url, seed=seed, calls=1_000_000, rate=RATE, apart=_APART) as load:
            made = Trial(here, load, witness)
            for number in (1, 2):
                await made.logs("bus.consuming", number)
            await load.accepts(at(quick=10, full=50))
            yield made


async def every_event(store: str) -> set[str] | None:
    """The ids of all events in the store; None where it cannot be asked."""
    return {row["id"] for row in await ask(store, "SELECT id FROM events")} or None


async def ask(store: str, question: str, *arguments: Any) -> list[Any]:
    """Rows, on a connection of its own; none where the server does not answer."""
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
        connection = await asyncpg.connect(store, timeout=5, command_timeout=10)
        try:
            return list(await connection.fetch(question, *arguments))
        finally:
            connection.terminate()
    return []
