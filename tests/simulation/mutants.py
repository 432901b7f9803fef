"""Mistakes that could be made, each of which the simulation must find: one that cannot fail proves nothing.

A mutant is the hub with one rule broken, in the production's own code wherever the rule stands there.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from types import SimpleNamespace
from typing import Any, Final, cast
from unittest.mock import patch

from hub import disk_rows, opening
from hub.bus.hedged import Hedge
from hub.calls.facts import Facts
from hub.disk import Disk
from hub.errors import StoreUnavailable
from hub.events import Event, Message
from hub.ports import Ack, DeadLetter
from hub.store import changes
from hub.store.folding import Folding
from tests.simulation import store
from tests.simulation.faults import Plan, outage
from tests.simulation.world import Options
from workers import runner
from workers.persistence import Persistence
from workers.runner import Runner


@dataclass(frozen=True)
class Mutant:
    """A broken rule.

    Attributes:
        breaks: makes it so, for as long as the context lasts.
        found: what a seed that finds it says, among other words.
        within: seeds, from 0, of which one must find it.
        plan: what happens in its seeds, where the usual plans seldom bring it to light.
    """

    breaks: Callable[[], AbstractContextManager[Any]]
    found: str
    within: int = 300
    plan: Callable[[Random], Plan] | None = None

    @property
    def options(self) -> Options:
        """How its worlds are made: with a plan of its own the witness has no say, so that the books have to find it."""
        return Options() if self.plan is None else Options(plan=self.plan, heed_witness=False)


def not_synced() -> AbstractContextManager[Any]:
    """``synchronous = NORMAL``: a commit is in the page cache."""
    pragmas = tuple(pragma.replace("= FULL", "= NORMAL") for pragma in opening.PRAGMAS)
    assert pragmas != opening.PRAGMAS
    return patch("hub.opening.PRAGMAS", pragmas)


def answers_before_the_commit() -> AbstractContextManager[Any]:
    """``keep`` hands the write over and does not wait for it."""

    async def keep(disk: Disk, messages: Sequence[Message]) -> None:
        disk._journal.submit(lambda connection: disk_rows.put(connection, messages)).add_done_callback(_looked_at)

    return patch.object(Disk, "keep", keep)


def trusts_what_a_failed_sync_left() -> AbstractContextManager[Any]:
    """A process that starts after it reads pages that are on no disk, and builds upon them."""
    return patch("hub.opening.renew", lambda _: None)


def takes_a_late_confirm_for_one() -> AbstractContextManager[Any]:
    """Whoever is still asked for a confirm is answered as if it had come."""

    async def confirmed(hedge: Hedge, asked: "asyncio.Task[None]", bound: float) -> str | None:
        del hedge
        done, _ = await asyncio.wait((asked,), timeout=bound)
        return None if not done or asked.exception() is None else "refused"

    return patch.object(Hedge, "_confirmed", confirmed)


def removes_before_the_confirm() -> AbstractContextManager[Any]:
    """The relay forgets an event, then publishes it."""

    async def hand_over(hedge: Hedge, group: Mapping[int, Message], claims: set[int]) -> None:
        claims.difference_update(group)
        await hedge._disk.remove(list(group))
        await hedge._bus.publish(list(group.values()))

    return patch.object(Hedge, "_hand_over", hand_over)


def relays_the_youngest_first() -> AbstractContextManager[Any]:
    """Claims come in the wrong order."""
    real = disk_rows.claim

    def claim(*args: Any, **options: Any) -> disk_rows.Claimed:
        claimed = real(*args, **options)
        claimed.events.reverse()
        return claimed

    return patch("hub.disk_rows.claim", claim)


@contextmanager
def keeps_what_it_has_kept() -> Iterator[None]:
    """No inbox: neither the look at what is known nor the unique index."""
    choose = Folding._choose

    def forgetful(folding: Folding, touched: Any) -> dict[str, str]:
        for call in touched:
            known, call.known = call.known, []
            choose(folding, [call])
            call.known = known
        return {}

    def keep(connection: store.Connection, values: Any) -> store.Answers:
        rows = store._rows(values)
        connection._tables.events.extend(SimpleNamespace(**row) for row in rows)
        connection._tables.ids.update(row["id"] for row in rows)
        return store.Answers(row["id"] for row in rows)

    with ExitStack() as stack:
        stack.enter_context(patch.object(Folding, "_choose", forgetful))
        stack.enter_context(patch.object(store.Connection, "_keep", keep))
        yield


def acknowledges_before_it_applies() -> AbstractContextManager[Any]:
    """The delivery is gone, and then the worker begins."""

    async def batch(self: Runner, subscription: Any, deliveries: list[Any]) -> None:
        await self._settle(subscription, [(delivery, Ack()) for delivery in deliveries])
        await self._handle([event for _, event in runner._decode(deliveries, self.worker.decode)[0]])

    return patch.object(Runner, "_batch", batch)


def takes_unknown_for_done() -> AbstractContextManager[Any]:
    """A store that does not answer is taken at its word."""
    handle = Persistence.handle

    async def hopeful(self: Persistence, events: Sequence[Event]) -> Mapping[str, Exception]:
        try:
            return await handle(self, events)
        except StoreUnavailable:
            return {}

    return patch.object(Persistence, "handle", hopeful)


def drops_at_the_last_attempt() -> AbstractContextManager[Any]:
    """What is given up is acknowledged, not buried."""
    real = runner._outcome

    def outcome(*args: Any) -> Any:
        planned = real(*args)
        return Ack() if isinstance(planned, DeadLetter) else planned

    return patch("workers.runner._outcome", outcome)


def gives_up_too_early() -> AbstractContextManager[Any]:
    """A snooze counts as an attempt, or so: the last attempt is the third."""
    return patch("hub.retry.give_up", lambda attempt, _attempts=0: attempt >= 3)


def tells_before_it_is_told() -> AbstractContextManager[Any]:
    """The store forgets a derived event, then it is published."""

    async def relay_some(self: Persistence) -> float:
        claimed = await self._store.claim(self._clock(), 500, 6.0)
        if not claimed:
            return 2.0
        await self._store.published([one.seq for one in claimed], self._clock())
        await self._bus.publish([one.message for one in claimed])
        return 0

    return patch.object(Persistence, "_relay_some", relay_some)


def seals_what_is_sealed() -> AbstractContextManager[Any]:
    """A sealed call stays due."""
    real = changes.sealed

    def sealed(call: Any, folded: Any, now: Any) -> Any:
        change = real(call, folded, now)
        again = None if call.before.sealed_at is not None else now
        return cast("Any", changes).Change(
            {**change.row, "seal_at": again}, change.conflicts, change.gone, change.come, change.derived
        )

    return patch("hub.store.folding.sealed", sealed)


def folds_in_the_order_of_arrival() -> AbstractContextManager[Any]:
    """A record depends on which event came first over the bus."""

    def of(_class: type[Facts], events: Sequence[Event]) -> Facts:
        return Facts(tuple({event.id: event for event in events}.values()))

    return patch.object(Facts, "of", classmethod(of))


def _looked_at(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()


MUTANTS: Final[Mapping[str, Mutant]] = {
    "synchronous is NORMAL": Mutant(not_synced, "nowhere: lost", plan=outage),
    "the answer comes before the commit": Mutant(answers_before_the_commit, "answered with 200 and is nowhere: lost"),
    "a start trusts what a failed sync left": Mutant(trusts_what_a_failed_sync_left, "nowhere: lost", plan=outage),
    "a start trusts what a failed sync left, told by the witness": Mutant(
        trusts_what_a_failed_sync_left, "the witness tells of a loss"
    ),
    "a late confirm is taken for one": Mutant(takes_a_late_confirm_for_one, "answered with 200 and is nowhere: lost"),
    "the relay removes before the confirm": Mutant(removes_before_the_confirm, "removed before its confirm"),
    "the relay takes the youngest first": Mutant(relays_the_youngest_first, "not the order of acceptance"),
    "the store keeps twice": Mutant(keeps_what_it_has_kept, "kept an event twice"),
    "the worker acknowledges before it applies": Mutant(acknowledges_before_it_applies, "nowhere: lost"),
    "an unknown commit is taken for done": Mutant(takes_unknown_for_done, "nowhere: lost"),
    "the last attempt is dropped": Mutant(drops_at_the_last_attempt, "without an effect, and is not dead"),
    "the third attempt is the last": Mutant(gives_up_too_early, "died at attempt 3, expected"),
    "a derived event is removed before its confirm": Mutant(tells_before_it_is_told, "outbox before its confirm"),
    "a sealed call is sealed again": Mutant(seals_what_is_sealed, "was sealed 2 times|told 2 times"),
    "the order of arrival shows in the record": Mutant(folds_in_the_order_of_arrival, "is not the fold"),
}
