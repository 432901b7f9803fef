"""A store whose transactions are the production's and whose tables are dictionaries.

``hub.store.folding`` runs as it is: what is new, what repeats, what is refused, what is sealed. Only its statements are
answered here, each by what it means. A transaction happens in one step of the loop; its request or its answer may be
lost, so whoever asked may not know whether it was committed. ``test_doubles`` holds it to the real store.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any, Final, Protocol, TypeVar, cast

from sqlalchemy import Insert, Select, Update

from hub.calls import PROMISED, Timing
from hub.errors import StoreUnavailable
from hub.ports import Attempt, Claimed, Presence
from hub.store.batches import _ALLOT
from hub.store.dials_tables import dials
from hub.store.folding import Folding
from hub.store.rows import message_of
from hub.store.sql import SqlStore
from hub.store.tables import outbox

T = TypeVar("T")

TIMING: Final = Timing(settle=0.5, gap_after=1.5, longest=6)
_VENDORS: Final = {"line-900": "infocaller", "line-902": "infocaller", "desk": "focalscope"}


_SLOWLY: Final = 0.25  # of the answers: the others are here as soon as they are given


def expected(source: str) -> frozenset[str]:
    return PROMISED[_VENDORS[source]]


FOLDING: Final = Folding("postgresql", expected, TIMING)


class Tables:
    """What is committed.

    Attributes:
        events: in the order of their keeping.
        calls: by their ids.
        outbox: derived events, by their numbers.
        told: how often each derived event was put into the outbox.
        crew: what each process said of itself last.
    """

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.ids: set[str] = set()
        self.calls: dict[str, Any] = {}
        self.outbox: dict[int, Any] = {}
        self.derived: list[str] = []
        self.crew: dict[str, Presence] = {}
        self.repeats: set[tuple[str, str]] = set()
        self._numbers = 0

    def snapshot(self) -> "Tables":
        copy = Tables()
        copy.events, copy.ids = self.events[:], set(self.ids)
        copy.calls, copy.outbox, copy.derived = dict(self.calls), dict(self.outbox), self.derived[:]
        copy.crew, copy.repeats = dict(self.crew), set(self.repeats)
        copy._numbers = self._numbers
        return copy

    def number(self) -> int:
        self._numbers += 1
        return self._numbers


class Answers(list[Any]):
    """The rows of a statement's result."""

    def all(self) -> list[Any]:
        return self


class Connection:
    """Answers the statements of a folding, by what they mean."""

    dialect = SimpleNamespace(name="postgresql")

    def __init__(self, tables: Tables, folding: Folding, due: tuple[datetime, int] | None) -> None:
        self._tables = tables
        self._due = due
        self._folding = folding
        self._answers: dict[int, Callable[[Any], Any]] = {
            id(_ALLOT): self._allot,
            id(folding._create): self._create,
            id(folding._lock): self._lock,
            id(folding._known): self._known,
            id(folding._keep): self._keep,
            id(folding._remove): self._remove,
            id(folding._write): self._write,
            id(folding._repeat): self._repeat,
            id(folding._count): self._count,
            id(folding._enter): lambda _: Answers(),
            id(folding._leave): lambda _: Answers(),
        }

    async def execute(self, statement: Any, values: Any = None) -> Any:
        known = self._answers.get(id(statement))
        if known is not None:
            return known(values)
        match statement:
            case Select() if statement.columns_clause_froms == [dials]:
                return Answers()  # nobody places calls here
            case Select():
                return self._find_due()
            case Insert() if statement.table is outbox:
                return self._derive(values)
            case Update():
                return self._postpone(statement, values)
        raise AssertionError(f"a statement that the simulation does not know: {statement}")

    async def scalars(self, statement: Any, values: Any = None) -> Any:
        return await self.execute(statement, values)

    def _allot(self, values: Any) -> Answers:
        return Answers(self._tables.number() for _ in range(values["count"]))

    def _create(self, values: Any) -> Answers:
        made = Answers()
        for row in _rows(values):
            if row["call_id"] not in self._tables.calls:
                self._tables.calls[row["call_id"]] = SimpleNamespace(
                    **row, repeats=0, seal_at=None, sealed_at=None, verdict=None, missing=None
                )
                made.append(row["call_id"])
        return made

    def _lock(self, values: Any) -> Answers:
        return Answers(self._tables.calls[row["call_id"]] for row in _rows(values))

    def _known(self, values: Any) -> Answers:
        wanted = {row["call_id"] for row in _rows(values)}
        return Answers(row for row in self._tables.events if row.call_id in wanted and row.folds)

    def _keep(self, values: Any) -> Answers:
        kept = Answers()
        for row in _rows(values):
            if row["id"] not in self._tables.ids:
                self._tables.ids.add(row["id"])
                self._tables.events.append(SimpleNamespace(**row))
                kept.append(row["id"])
        return kept

    def _remove(self, values: Any) -> Answers:
        for row in _rows(values):
            del self._tables.calls[row["call_id"]]
        return Answers()

    def _write(self, values: Any) -> Answers:
        for row in _rows(values):
            self._change(row)
        return Answers()

    def _repeat(self, values: Any) -> Answers:
        fresh = Answers()
        for row in _rows(values):
            if (row["event_id"], row["received_at"]) not in self._tables.repeats:
                self._tables.repeats.add((row["event_id"], row["received_at"]))
                fresh.append(SimpleNamespace(**row))
        return fresh

    def _count(self, values: Any) -> Answers:
        for row in _rows(values):
            call = self._tables.calls.get(row["call_id"])
            if call is not None:
                self._change({"call_id": row["call_id"], "repeats": call.repeats + row["repeats"]})
        return Answers()

    def _change(self, row: dict[str, Any]) -> None:
        call = self._tables.calls[row["call_id"]]
        self._tables.calls[row["call_id"]] = SimpleNamespace(**{**vars(call), **row})

    def _find_due(self) -> Answers:
        now, limit = cast("tuple[datetime, int]", self._due)
        due = [call for call in self._tables.calls.values() if call.seal_at is not None and call.seal_at <= now]
        return Answers(sorted(due, key=lambda call: (call.seal_at, call.call_id))[:limit])

    def _postpone(self, statement: Update, values: Any) -> Answers:
        (later,) = (bound.value for column, bound in cast("Any", statement)._values.items() if column.name == "seal_at")
        for row in _rows(values):
            self._change({"call_id": row["call_id"], "seal_at": later})
        return Answers()

    def _derive(self, rows: Any) -> Answers:
        for row in rows:
            number = self._tables.number()
            self._tables.outbox[number] = SimpleNamespace(seq=number, claimed_until=None, **row)
            self._tables.derived.append(row["event_id"])
        return Answers()


def _rows(values: Any) -> list[dict[str, Any]]:
    names = [name.removeprefix("batch_") for name in values]
    return [dict(zip(names, row, strict=True)) for row in zip(*values.values(), strict=True)]


class Watcher(Protocol):
    """Who looks at what the store does."""

    def befell(self, fault: str) -> None: ...

    def committed(self, before: Tables, tables: Tables) -> None: ...

    def failed(self, defect: Exception) -> None: ...


class Server:
    """The database: its tables, and what happens on the way to it and back.

    Attributes:
        up: it answers.
        lost_before: how often a request never reaches it, as a probability.
        lost_after: how often its answer is lost, and nobody knows.
        slow: seconds that a transaction takes, at most.
    """

    def __init__(self, random: Random, watcher: Watcher) -> None:
        self.random = random
        self.watcher = watcher
        self.tables = Tables()
        self.up = True
        self.lost_before = 0.0
        self.lost_after = 0.0
        self.slow = 0.02

    async def transact(self, work: Callable[[Tables], Awaitable[T]]) -> T:
        """Runs it on the tables, all of it or nothing."""
        random = self.random
        await asyncio.sleep(random.random() * self.slow)
        if not self.up:
            self.watcher.befell("store away")
            raise StoreUnavailable("the store is away")
        if random.random() < self.lost_before:
            self.watcher.befell("transaction lost")
            raise StoreUnavailable("the connection broke before the commit")
        tables = self.tables.snapshot()
        try:
            result = await work(tables)
        except Exception as defect:
            self.watcher.failed(defect)
            raise
        before, self.tables = self.tables, tables
        self.watcher.committed(before, tables)
        lost = random.random() < self.lost_after
        if lost or random.random() < _SLOWLY:
            await asyncio.sleep(random.random() * self.slow)
        if lost:
            self.watcher.befell("commit unknown")
            raise StoreUnavailable("the connection broke, and nobody knows whether it was committed")
        return result


class SimulatedStore(SqlStore):
    """``hub.ports.Store`` of one process: applying and sealing are the production's."""

    def __init__(self, server: Server, folding: Folding = FOLDING) -> None:
        self._server = server
        self._folding = folding
        self._transactions = cast("Any", self)

    async def start(self) -> None:
        pass

    async def write(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Stands in for ``hub.store.transactions``."""
        return await self._server.transact(lambda tables: work(Connection(tables, self._folding, None)))

    async def seal(self, now: datetime, limit: int = 100) -> int:
        async def work(tables: Tables) -> int:
            if not any(call.seal_at is not None and call.seal_at <= now for call in tables.calls.values()):
                return 0  # what the statement would find, at a hundredth of its price
            return await self._folding.seal(cast("Any", Connection(tables, self._folding, (now, limit))), now, limit)

        return await self._server.transact(work)

    async def next_seal(self) -> datetime | None:
        async def work(tables: Tables) -> datetime | None:
            return min((call.seal_at for call in tables.calls.values() if call.seal_at), default=None)

        return await self._server.transact(work)

    async def claim(self, now: datetime, limit: int, lease: float) -> list[Claimed]:
        until, beyond = now + timedelta(seconds=lease), now + timedelta(seconds=2 * lease)

        async def work(tables: Tables) -> list[Claimed]:
            free = [
                row
                for row in tables.outbox.values()
                if row.claimed_until is None or row.claimed_until <= now or row.claimed_until > beyond
            ][:limit]
            for row in free:
                tables.outbox[row.seq] = SimpleNamespace(**{**vars(row), "claimed_until": until})
            return [Claimed(row.seq, message_of(cast("Any", row))) for row in free]

        return await self._server.transact(work)

    async def published(self, seqs: Sequence[int], now: datetime) -> None:  # noqa: ARG002  the seam's
        async def work(tables: Tables) -> None:
            for seq in seqs:
                tables.outbox.pop(seq, None)

        if seqs:
            await self._server.transact(work)

    async def present(self, mine: Presence) -> list[Presence]:
        async def work(tables: Tables) -> list[Presence]:
            tables.crew[mine.process] = mine
            return [one for one in tables.crew.values() if one.process != mine.process]

        return await self._server.transact(work)

    async def leave(self, process: str) -> None:
        async def work(tables: Tables) -> None:
            tables.crew.pop(process, None)

        await self._server.transact(work)

    async def attempted(self, attempts: Sequence[Attempt]) -> None:
        """The notes of failed attempts are for operators: nothing of the core reads them."""

    async def counts(self) -> dict[str, int]:
        tables = self._server.tables
        derived = sum(row.routing_key.endswith(("sealed",)) for row in tables.events)
        seals = sum(row.routing_key.endswith(".sealed") for row in tables.events)
        told = [row for row in tables.events if row.folds and row.routing_key.startswith("call.")]
        return {
            "events": len(tables.events),
            "derived": derived,
            "seals": seals,
            "calls": len(tables.calls),
            "sealed": sum(call.sealed_at is not None for call in tables.calls.values()),
            "outbox": len(tables.outbox),
            "callbacks": len(told),
            "repeats": sum(call.repeats for call in tables.calls.values()),
        }

    async def close(self) -> None:
        pass
