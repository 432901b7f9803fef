"""The dead letters of every worker: listed, shown, put back into their work, discarded."""

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson
import structlog

from hub.errors import NotDurable
from hub.events import timestamp
from hub.operating.pace import Pace
from hub.ports import SUSPECTS, Bus, Dead, Store

MOST: Final = 10_000
"""Letters that one request may act on; they are named in memory first."""

_TOGETHER: Final = 1000  # the broker's queue is read from its head for each slice
_SOURCE_WORDS: Final = 2  # /<vendor>/<source>
_log = structlog.get_logger("operator")

Verb = Literal["requeue", "discard"]
Progress = Callable[[int, int], None]
"""Told how many of how many are done."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters; None narrows nothing.

    Attributes:
        reason: a part of it, in any case.
        vendor: as in ``ce-source``.
        source: likewise.
        type: ``call.ended``, or the whole ``ce-type``.
    """

    reason: str | None = None
    vendor: str | None = None
    source: str | None = None
    type: str | None = None

    def __call__(self, letter: Dead) -> bool:
        """Whether the letter is meant."""
        headers = letter.message.headers
        vendor, source = _origin(headers)
        kind = headers.get("ce-type", "")
        return (
            (self.reason is None or self.reason.casefold() in letter.reason.casefold())
            and self.vendor in (None, vendor)
            and self.source in (None, source)
            and self.type in (None, kind, _short(kind))
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A dead letter, and whose it is."""

    worker: str
    letter: Dead

    def shown(self) -> dict[str, Any]:
        """It as an item of ``GET /v1/dead-letters``."""
        message = self.letter.message
        vendor, source = _origin(message.headers)
        return {
            "worker": self.worker,
            "event_id": self.letter.id,
            "routing_key": message.routing_key,
            "type": _short(message.headers.get("ce-type", "")),
            "vendor": vendor,
            "source": source,
            "subject": message.headers.get("ce-subject", ""),
            "reason": self.letter.reason,
            "attempt": self.letter.attempt,
            "died_at": timestamp(self.letter.died_at),
            **_payload(message.body),
        }

    def shown_whole(self) -> dict[str, Any]:
        """It with its headers and each attempt that is remembered."""
        letter = self.letter
        earlier = enumerate(letter.history, start=letter.attempt - len(letter.history))
        attempts = [{"attempt": n, "at": timestamp(one.at), "reason": one.reason} for n, one in earlier]
        last = {"attempt": letter.attempt, "at": timestamp(letter.died_at), "reason": letter.reason}
        return {**self.shown(), "headers": letter.message.headers, "attempts": [*attempts, last]}


@dataclass(slots=True)
class Report:
    """What was done, or on a dry run would be.

    Attributes:
        ids: the letters chosen, oldest first.
        done: how many of them are done.
        missing: ids that were asked for and are no dead letters.
        problem: why it ended early; empty where it did not.
    """

    verb: Verb
    worker: str
    dry_run: bool
    ids: list[str] = field(default_factory=list)
    done: int = 0
    missing: list[str] = field(default_factory=list)
    problem: str = ""

    def shown(self) -> dict[str, Any]:
        """It as the answer of ``POST /v1/dead-letters/…``."""
        return {
            "worker": self.worker,
            "action": self.verb,
            "dry_run": self.dry_run,
            "chosen": len(self.ids),
            "done": self.done,
            "ids": self.ids,
            "missing": self.missing,
            **({"error": self.problem} if self.problem else {}),
        }


class DeadLetters:
    """The verbs, over a bus.

    Attributes:
        workers: name → queue.
    """

    def __init__(self, bus: Bus, workers: Mapping[str, str], store: Store) -> None:
        self.workers = workers
        self._bus = bus
        self._store = store

    async def page(
        self, limit: int, after: tuple[str, str] | None, which: Filter, worker: str | None = None
    ) -> tuple[list[Found], tuple[str, str] | None]:
        """The oldest dead letters, worker by worker.

        Args:
            limit: how many at most.
            after: where the page before ended.
            which: narrows them.
            worker: of one worker alone.

        Returns:
            them, and ``after`` of the next page, None at the end.

        Raises:
            NotDurable: the bus cannot be asked.
            ValueError: ``after`` is of no page of ours.
        """
        names = sorted(self.workers) if worker is None else [worker]
        if after is not None and after[0] not in names:
            raise ValueError(f"{after[0]!r} is no worker here")
        found: list[Found] = []
        for name in names:
            if after is not None and name < after[0]:
                continue
            cursor = after[1] if after is not None and name == after[0] else None
            room = limit + 1 - len(found)
            found += [Found(name, one) for one in await self._bus.dead(self.workers[name], room, cursor, which)]
            if len(found) > limit:
                last = found[limit - 1]
                return found[:limit], (last.worker, last.letter.cursor)
        return found, None

    async def find(self, event_id: str, worker: str | None = None) -> list[Found]:
        """The dead letters of an event: one for each worker that gave it up, or none. Raises NotDurable."""
        names = sorted(self.workers) if worker is None else [worker]
        of_it = [(name, await self._bus.dead(self.workers[name], 1, None, _named([event_id]))) for name in names]
        return [Found(name, letter) for name, letters in of_it for letter in letters]

    async def act(
        self,
        verb: Verb,
        worker: str,
        *,
        ids: Collection[str] | None = None,
        which: Filter | None = None,
        limit: int = MOST,
        rate: float | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Report:
        """Requeues or discards a worker's dead letters.

        They are chosen before the first is touched: one that dies again meanwhile is not taken twice.

        Args:
            verb: what to do.
            worker: whose.
            ids: these; or
            which: those; all of them where neither is given.
            limit: how many at most.
            rate: letters a second at most.
            dry_run: only say which.
            progress: told after each slice.

        Raises:
            NotDurable: the bus cannot be asked which there are.
            StoreUnavailable: the ledger cannot be told what is to be discarded; nothing was.
        """
        queue = self.workers[worker]
        chosen = await self._bus.dead(queue, min(limit, MOST), None, which if ids is None else _named(ids))
        report = Report(verb, worker, dry_run, [letter.id for letter in chosen])
        if ids is not None:
            there = set(report.ids)
            report.missing = [one for one in dict.fromkeys(ids) if one not in there]
        if not dry_run:
            if verb == "discard":
                await self._tell_ledger(report)
            await self._carry_out(report, queue, rate, progress)
            _log.warning("operator.dead_letters", verb=verb, worker=worker, done=report.done, chosen=len(report.ids))
        return report

    async def _tell_ledger(self, report: Report) -> None:
        """Before they are gone: an event that is nowhere by somebody's wish is no loss.

        An id that the ledger names and that is no dead letter is taken off its list.
        """
        suspects = {one.event_id for one in await self._store.suspects(report.worker, SUSPECTS)}
        ids = {*report.ids, *suspects.intersection(report.missing)}
        await self._store.judge(report.worker, dict.fromkeys(ids, "discarded"), datetime.now(UTC))

    async def _carry_out(self, report: Report, queue: str, rate: float | None, progress: Progress | None) -> None:
        do = {"requeue": self._bus.requeue, "discard": self._bus.discard}[report.verb]
        pace = Pace(rate, _TOGETHER)
        for names, count in _slices(report.ids, pace.step):
            await pace.turn(report.done)
            try:
                report.done += await do(queue, names, count)
            except NotDurable as error:
                report.problem = str(error)
                return
            if progress is not None:
                progress(report.done, len(report.ids))


def _slices(ids: Sequence[str], step: int) -> list[tuple[list[str], int]]:
    """The ids, some at a time, with how many letters they are: an event may have died twice."""
    count = Counter(ids)
    names = list(count)
    parts = [names[at : at + step] for at in range(0, len(names), step)]
    return [(part, sum(count[name] for name in part)) for part in parts]


def _named(ids: Collection[str]) -> Callable[[Dead], bool]:
    wanted = frozenset(ids)
    return lambda letter: letter.id in wanted


def _origin(headers: Mapping[str, str]) -> tuple[str, str]:
    vendor, _, source = headers.get("ce-source", "").removeprefix("/").partition("/")
    return vendor, source


def _short(kind: str) -> str:
    return kind.removeprefix("trunkline.").removesuffix(".v1")


def _payload(body: bytes) -> dict[str, Any]:
    try:
        return {"data": orjson.loads(body)}
    except orjson.JSONDecodeError:
        return {"body_base64": b64encode(body).decode()}
