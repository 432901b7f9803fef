"""The rules that keep the promises, each with what breaks it and the test that notices.

``python -m tests.faults.mutants [NAME…]`` breaks one rule after another in a copy of the source, runs the test named
beside it, and expects it to fail. The test without the mutation passes: that is ``make test``.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.source import ROOT

_COPIED: Final = ("hub", "workers", "tests", "pyproject.toml", "docs", "README.md", "deploy", "Makefile")
_FAILED, _LONGEST = 1, 180


@dataclass(frozen=True)
class Mutant:
    """One rule, broken.

    Attributes:
        rule: what holds.
        file: where.
        sound: the text that keeps the rule; stands there exactly once.
        broken: what stands there in the mutant.
        test: what must notice: a path with the node's name, as pytest takes it, and a keyword expression or nothing.
    """

    rule: str
    file: str
    sound: str
    broken: str
    test: str
    keyword: str = ""


MUTANTS: Final[dict[str, Mutant]] = {
    "no-confirm": Mutant(
        "a publish is durable when the broker has confirmed it",
        "hub/bus/publisher.py",
        "            frames.append(frame)\n",
        "            frames.append(frame)\n            self.settle(entry, None)\n",
        "tests/bus/test_rabbitmq.py::test_what_a_queue_refuses_is_not_durable",
    ),
    "no-mandatory": Mutant(
        "what goes to no queue is returned, and a returned message is not durable",
        "hub/bus/wire.py",
        '_MANDATORY: Final = b"\\x01"',
        '_MANDATORY: Final = b"\\x00"',
        "tests/bus/test_rabbitmq.py::test_what_can_go_nowhere_at_all_is_not_durable_and_the_topology_is_repaired",
    ),
    "transient": Mutant(
        "messages are persistent",
        "hub/bus/wire.py",
        'table, b"\\x02"]',
        'table, b"\\x01"]',
        "tests/bus/test_wire.py::test_our_frames_are_pamqps_frames_byte_for_byte",
    ),
    "one-id-twice-in-flight": Mutant(
        "of one id never two publishes are in flight",
        "hub/bus/publisher.py",
        "        if followers is not None:\n",
        "        if followers is None and not entry:\n",
        "tests/bus/test_rabbitmq.py::test_of_two_publishes_of_one_id_the_lost_one_is_told_from_the_other",
    ),
    "no-reject-publish": Mutant(
        "a full queue refuses, it does not drop; and dead letters are at least once",
        "hub/bus/topology.py",
        '    "x-overflow": "reject-publish",\n',
        "",
        "tests/bus/test_rabbitmq.py::test_queues_are_made_with_what_safety_hangs_on",
    ),
    "unlimited-prefetch": Mutant(
        "a consumer has its prefetch in hand at most",
        "hub/bus/consumer.py",
        "basic_qos(prefetch_count=prefetch,",
        "basic_qos(prefetch_count=0,",
        "tests/contract/test_bus.py::test_no_more_than_the_prefetch_is_in_hand",
    ),
    "copy-after-ack": Mutant(
        "a copy is confirmed before its original is acknowledged",
        "hub/bus/consumer.py",
        "            outcomes = await self._publisher.deliver(list(copies.values()))\n",
        "            await self._ack(channel, list(copies))\n"
        "            outcomes = await self._publisher.deliver(list(copies.values()))\n",
        "tests/faults/test_rules.py::test_a_delivery_whose_copy_the_broker_refuses_stays_in_hand",
    ),
    "dead-without-copy": Mutant(
        "a dead letter is kept with its reason",
        "hub/bus/consumer.py",
        "                return what.buried(dead_queue(self.queue), reason)\n",
        "                return None if reason else what.buried(dead_queue(self.queue), reason)\n",
        "tests/contract/test_bus_settling.py",
        "dead and rabbitmq",
    ),
    "ack-before-effect": Mutant(
        "a delivery is settled after its effect",
        "workers/runner.py",
        "        try:\n            failures = await self._handle(events) if events else {}\n",
        "        await self._settle(subscription, [(one, Ack()) for one in deliveries])\n"
        "        try:\n            failures = await self._handle(events) if events else {}\n",
        "tests/workers/test_stopping.py::test_a_batch_that_does_not_end_is_abandoned_and_goes_back",
    ),
    "reject-on-cancel": Mutant(
        "a worker that is cut short gives its deliveries back (the library's process() rejects them)",
        "workers/runner.py",
        "            await _ended(batch, stopping)\n",
        "            await _ended(batch, stopping)\n"
        "            if batch.cancelled():\n"
        '                await self._settle(subscription, [(one, DeadLetter("cancelled")) for one in deliveries])\n',
        "tests/workers/test_stopping.py::test_a_batch_that_does_not_end_is_abandoned_and_goes_back",
    ),
    "outage-is-an-attempt": Mutant(
        "an outage of the store costs no attempt",
        "workers/runner.py",
        "                await self._pause(next(pauses), error)\n            except Exception as error:",
        "                return await self._one_by_one(events[:1], error)\n            except Exception as error:",
        "tests/workers/test_outcomes.py::test_an_outage_of_the_store_keeps_the_batch_in_hand_and_costs_no_attempt",
    ),
    "no-inbox": Mutant(
        "an event is kept once",
        "hub/store/folding.py",
        "                if event.id in known:\n                    continue\n",
        "                if event.id in known:\n                    object.__setattr__(event, 'id', event.id[::-1])\n",
        "tests/contract/test_store.py",
        "repeat",
    ),
    "sealed-without-lock": Mutant(
        "a call is sealed once, however many seal",
        "hub/store/folding.py",
        "order_by(calls.c.seal_at).with_for_update(skip_locked=True)",
        "order_by(calls.c.seal_at)",
        "tests/contract/test_store.py::test_many_that_seal_at_once_seal_each_call_once",
    ),
    "removed-before-confirm": Mutant(
        "the outbox forgets an event after its confirm",
        "hub/bus/hedged.py",
        '        failpoints.hit("relay.before_publish")\n',
        '        failpoints.hit("relay.before_publish")\n        await self._disk.remove(list(group))\n',
        "tests/faults/test_rules.py::test_what_the_bus_does_not_take_stays_in_the_outbox_in_its_order",
    ),
    "relay-out-of-order": Mutant(
        "the outbox is handed over in the order of acceptance",
        "hub/disk_rows.py",
        "NOT BETWEEN ? AND ? ORDER BY seq LIMIT ?",
        "NOT BETWEEN ? AND ? ORDER BY seq DESC LIMIT ?",
        "tests/disk/test_disk.py::test_what_is_kept_is_claimed_oldest_first_byte_for_byte",
    ),
    "answer-before-commit": Mutant(
        "the answer waits for the outbox",
        "hub/bus/hedged.py",
        "            await self._disk.keep(messages)\n",
        "            self._late.add(asyncio.create_task(self._disk.keep(messages)))\n",
        "tests/disk/test_hedge.py::test_where_neither_takes_it_it_is_refused_and_taken_again_once_there_is_room",
    ),
    "no-hedge": Mutant(
        "a late confirm costs an answer no more than the bound",
        "hub/bus/hedged.py",
        "asyncio.wait((asked,), timeout=bound)",
        "asyncio.wait((asked,))",
        "tests/disk/test_hedge.py::test_a_confirm_that_is_later_than_the_bound_costs_no_more_than_the_bound_and_no_event",
    ),
    "commit-without-sync": Mutant(
        "a commit is synced before it is told",
        "hub/opening.py",
        '"PRAGMA synchronous = FULL"',
        '"PRAGMA synchronous = NORMAL"',
        "tests/bus/test_journal.py::test_every_commit_is_synced_and_the_file_is_its_owners_alone",
    ),
    "watermark-off": Mutant(
        "silence counts only up to what the queue has shown",
        "workers/persistence.py",
        "        upto = self.crew.watermark()\n",
        "        upto = self._clock()\n",
        "tests/workers/test_persistence.py::test_a_backlog_is_applied_before_an_overdue_timer_may_seal",
    ),
}


def survives(mutant: Mutant) -> str:
    """Why a mutant was not noticed; empty where its test failed, as it must."""
    with TemporaryDirectory(prefix="trunkline-mutant-") as name:
        place = Path(name)
        _copy(place)
        path = place / mutant.file
        text = path.read_text()
        if text.count(mutant.sound) != 1:
            return f"{mutant.file} has what is to be broken {text.count(mutant.sound)} times, expected once"
        path.write_text(text.replace(mutant.sound, mutant.broken))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.test]
        command += ["-k", mutant.keyword] if mutant.keyword else []
        environment = os.environ | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
        ran = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, timeout=_LONGEST, check=False
        )
    return "" if ran.returncode == _FAILED else f"pytest ended with {ran.returncode}:\n{ran.stdout[-2000:]}"


def _copy(place: Path) -> None:
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, place / name)


def main(names: Iterable[str]) -> int:
    """Tries those of the names, or all; 0 where every one is noticed."""
    alive = 0
    for name in names or MUTANTS:
        why = survives(MUTANTS[name])
        alive += bool(why)
        print(f"{name:24} {'SURVIVES ' + why if why else 'noticed'}   {MUTANTS[name].rule}", flush=True)  # noqa: T201
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
