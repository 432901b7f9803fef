"""What a fault row came to: counted, held against its promise, printed, and written down.

A row plays a ``Load`` against a hub while faults happen to it, reads the hub's events and calls, and then::

    account = await reckon("B01 broker killed", load, await here.pages("/v1/events"), await here.pages("/v1/calls"),
                           planned=20, injected=len(pids), recoveries=seconds, ledger=ledger, oracle=directory)
    publish(account)
    account.check()

``publish`` prints one line, and appends it as JSON to the file that the environment variable ``FAULTS_REPORT`` names.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from hub.ports import Callback
from hub.simulator.driver import percentiles, play
from hub.simulator.scenarios import Step
from hub.wiring import make_gates
from tests.acceptance.test_equal_records import without_receipts
from tests.hub import configuration, running, until
from tests.process.site import Load

Record = Mapping[str, Any]

FILE: Final = "FAULTS_REPORT"
_REFUSED: Final = frozenset({"ClientConnectorError", "ConnectionRefusedError"})
_UNANSWERED: Final = frozenset({"TimeoutError", "ServerTimeoutError", "SocketTimeoutError", "ConnectionTimeoutError"})
_GATES: Final = make_gates(configuration(Path()))
_TIMING: Final = {"settle": 0.5, "gap_after": 3, "longest": 3600}
_ANY_TIME: Final = datetime(2026, 11, 20, tzinfo=UTC)  # an event's id does not hang on its receipt


@dataclass(frozen=True, slots=True)
class Account:
    """The figures of a row. "Lost" is defined over what was acknowledged: nobody else was promised anything.

    Attributes:
        row: the faults' ids and a few words.
        command: runs this row alone.
        seed: of its load.
        planned: faults that were to happen.
        injected: faults that were seen to happen.
        attempted: callbacks that were sent.
        acknowledged: of them, answered 200.
        ok: acknowledged events in the store.
        lost: acknowledged events that are not.
        duplicated: rows of an event or a call that are there more than once, ``sealed`` of one call among them.
        recovered: events in the store whose callback was not acknowledged.
        unexpected: vendors' events in the store that nobody sent.
        unsealed: calls whose every callback is in the store, and which were not sealed.
        statuses: answers by status.
        refused: connections that nobody took.
        resets: requests whose connection broke.
        unanswered: requests that were given up.
        recovery: seconds from the end of a fault to progress, of the slowest; None where the row does not measure it.
        p50: seconds to an answer; 0 where nothing was answered.
        p99: likewise.
        ledger: the hub's own, at the end; None where it was not asked.
        differing: calls whose record is not the one that an undisturbed hub makes of the same callbacks; None where
            there was no oracle.
    """

    row: str
    command: str
    seed: int
    planned: int
    injected: int
    attempted: int
    acknowledged: int
    ok: int
    lost: int
    duplicated: int
    recovered: int
    unexpected: int
    unsealed: int
    statuses: Mapping[str, int]
    refused: int
    resets: int
    unanswered: int
    recovery: float | None
    p50: float
    p99: float
    ledger: Record | None
    differing: tuple[str, ...] | None

    def check(self) -> None:
        """Asserts what every row promises."""
        assert self.injected == self.planned, f"{self.injected} faults of {self.planned} happened"
        assert self.acknowledged, "nothing was acknowledged: the row shows nothing"
        found = {name: getattr(self, name) for name in ("lost", "duplicated", "unexpected", "unsealed")}
        assert not any(found.values()), found
        assert not self.differing, f"{len(self.differing)} records differ, for instance {self.differing[0]}"


async def reckon(
    row: str,
    load: Load,
    events: Sequence[Record],
    calls: Sequence[Record],
    *,
    planned: int,
    injected: int,
    recoveries: Iterable[float] = (),
    ledger: Record | None = None,
    oracle: Path | None = None,
) -> Account:
    """The account of a load that has ended.

    Args:
        row: the faults' ids and a few words.
        load: with all its results.
        events: all of ``/v1/events``.
        calls: all of ``/v1/calls``.
        planned: faults that were to happen.
        injected: faults that were seen to happen.
        recoveries: seconds of each recovery.
        ledger: of ``/v1/ledger``.
        oracle: a directory for an undisturbed hub that is played the same, made here; None to do without.
    """
    named = [(result, ids(result.step)) for result in load.results]
    attempted = {id_: result for result, names in named for id_ in names}
    acknowledged = {id_ for id_, result in attempted.items() if result.status == 200} | load.accepted
    told = Counter(event["id"] for event in events if not _is_derived(event))
    sealed = Counter(event["subject"] for event in events if ".sealed." in event["type"])
    there = Counter(call["call_id"] for call in calls)
    kept = [result.step for result, names in named if names <= told.keys()]
    whole = _whole(kept)
    latency = percentiles(result.seconds for result in load.results if result.status is not None)
    differing = None
    if oracle is not None:
        oracle.mkdir(exist_ok=True)  # noqa: ASYNC240  nothing else runs here
        expected = await undisturbed(oracle, kept)
        found = {call["call_id"]: without_receipts(dict(call)) for call in calls if call.get("sealed")}
        differing = tuple(sorted(key for key in whole if found.get(key) != expected.get(key)))
    return Account(
        row=row,
        command=_command(),
        seed=load.seed,
        planned=planned,
        injected=injected,
        attempted=len(load.results),
        acknowledged=load.statuses[200],
        ok=len(acknowledged & set(told)),
        lost=len(acknowledged - set(told)),
        duplicated=sum(count - 1 for counted in (told, sealed, there) for count in counted.values()),
        recovered=len(set(told) & set(attempted) - acknowledged),
        unexpected=len(set(told) - set(attempted)),
        unsealed=len(whole - set(sealed)),
        statuses={str(status): count for status, count in sorted(load.statuses.items())},
        refused=sum(count for name, count in load.errors.items() if name in _REFUSED),
        resets=sum(count for name, count in load.errors.items() if name not in _REFUSED | _UNANSWERED),
        unanswered=sum(count for name, count in load.errors.items() if name in _UNANSWERED),
        recovery=max(recoveries, default=None),
        p50=latency.get("p50", 0),
        p99=latency.get("p99", 0),
        ledger=ledger,
        differing=differing,
    )


def publish(account: Account) -> None:
    """Prints the account, and appends it to the report where there is one."""
    line = orjson.dumps(asdict(account) | {"at": datetime.now(UTC)})
    sys.stdout.write(f"\nFAULTS {line.decode()}\n")
    if FILE in os.environ:
        with Path(os.environ[FILE]).open("ab") as file:
            file.write(line + b"\n")


def ids(step: Step) -> set[str]:
    """The events of a callback, as the vendor's decoder names them."""
    _, _, source, _, *event = step.request.path.split("/")
    request = step.request
    callback = Callback(
        source, event[0] if event else None, request.query, request.content_type, request.body, _ANY_TIME
    )
    return {made.id for made in _GATES[source].decoder.decode(callback)}


async def undisturbed(directory: Path, steps: Sequence[Step]) -> dict[str, Record]:
    """The sealed records, without receipts, that a hub makes of these callbacks when nothing goes wrong."""
    whole = _whole(steps)
    async with running(configuration(directory, calls=_TIMING)) as hub:
        report = await play(iter(steps), str(hub.url))
        assert set(report.statuses) == {200}

        async def sealed() -> dict[str, dict[str, Any]] | None:
            if (await hub.process.store.counts())["sealed"] < len(whole):
                return None  # every record is read once, not with each look
            found = {call["call_id"]: call for call in await hub.calls() if call.get("sealed")}
            return found if whole <= set(found) else None

        found = await until(sealed, within=60 + len(steps) / 50)
    return {key: without_receipts(call) for key, call in found.items()}


def _is_derived(event: Record) -> bool:
    """What no vendor sent: seals, and what they and recordings lead to."""
    return not event["type"].startswith("trunkline.call.") or any(
        verb in event["type"] for verb in (".sealed.", ".resealed.")
    )


def _whole(steps: Sequence[Step]) -> set[str]:
    """The calls of which every callback is among these."""
    requests = {step.call.key: len(step.call.requests) for step in steps}
    found = Counter(key for key, _ in {(step.call.key, step.ordinal) for step in steps})
    return {key for key, count in found.items() if count == requests[key]}


def _command() -> str:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").removesuffix(" (call)")
    return f"FAULTS={os.environ.get('FAULTS', '')} .venv/bin/pytest {test}"
