"""``trunkline replay``, on the files and servers that the configuration names."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Final

import orjson
import pytest

from hub.config import load
from hub.events import AGAIN, REPLAY, Event, Message
from hub.parts import WORKERS, make_bus, opened
from hub.ports import Bus, QueueSpec
from hub.store.upgrade import upgrade
from tests.cli.command import clean_environment, trunkline
from tests.cli.test_operating import ROOT, configured
from tests.contract.buses import eventually, receive
from tests.store.evidence import NOON, after, call_id, ended, started, whole_call

THEIRS: Final = QueueSpec("my.app", ("call.*.sealed",))
UNKNOWN: Final = "5f5f5f5f-0000-4000-8000-000000000000"


@pytest.fixture(params=["sqlite", "rabbitmq"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A directory with a configuration, over each bus."""
    url = "" if request.param == "sqlite" else str(request.getfixturevalue("amqp_url"))
    return configured(tmp_path, bus=url)


def keep(home: Path, *events: Event) -> None:
    """What the hub has kept, an event after another, with its queues and one of somebody else's."""

    async def work() -> None:
        settings = load(home / "trunkline.toml")
        await upgrade(settings.store.url.get_secret_value())
        bus = make_bus(settings)
        await bus.start()
        try:
            await bus.declare([QueueSpec("trunkline.persistence", ("#",)), THEIRS])
        finally:
            await bus.close()
        async with opened(settings) as store:
            for at in range(0, len(events), 50):
                await store.apply(events[at : at + 50], NOON if at == 0 else after(at))

    asyncio.run(work())


async def _opened(home: Path) -> Bus:
    bus = make_bus(load(home / "trunkline.toml"))
    await bus.start()
    return bus


def got(home: Path, count: int, queue: str = THEIRS.name) -> list[Message]:
    """Exactly so many messages, from the queue, for good."""

    async def work() -> list[Message]:
        bus = await _opened(home)
        try:

            async def there() -> bool:
                return (await bus.depth(queue)).ready == count

            await eventually(there)
            deliveries = await receive(bus.subscribe(queue, 1000), count) if count else []
            return [delivery.message for delivery in deliveries]
        finally:
            await bus.close()

    return asyncio.run(work())


def test_without_ids_it_is_a_dry_run_unless_it_is_meant(home: Path) -> None:
    keep(home, *whole_call(1), started(2))
    said = trunkline("replay", "--queue", "my.app", "--type", "call.started", at=home)
    assert (said.status, said.out) == (0, "my.app: replay: 2 would be published (dry run; --yes does it)\n")
    said = trunkline("replay", "--queue", "my.app", "--yes", "--dry-run", at=home)
    assert (said.status, said.out) == (0, f"my.app: replay: {len(whole_call(1)) + 1} would be published (dry run)\n")
    got(home, 0)
    said = trunkline("replay", "--queue", "my.app", "--type", "call.started", "--yes", at=home)
    assert (said.status, said.out, said.err) == (0, "my.app: replay: 2 of 2 published\n", "")
    assert [one.id for one in got(home, 2)] == [started(1).id, started(2).id]


def test_a_call_and_events_are_done_at_once_and_what_is_missing_is_exit_code_1(home: Path) -> None:
    keep(home, *whole_call(1), *whole_call(2))
    count = len(whole_call(1))
    said = trunkline("replay", "persistence", "--call", call_id(1), at=home)
    assert (said.status, said.out) == (0, f"persistence: replay: {count} of {count} published\n")
    assert {one.id for one in got(home, count, "trunkline.persistence")} == {one.id for one in whole_call(1)}
    said = trunkline("replay", "--queue", "my.app", "--event", ended(2).id, "--event", UNKNOWN, "--again", at=home)
    assert (said.status, said.out) == (1, "my.app: replay: 1 of 1 published\n")
    assert said.err == f"trunkline: no event {UNKNOWN}\n"
    (one,) = got(home, 1)
    assert one.headers[REPLAY] == AGAIN
    said = trunkline("replay", "persistence", "--call", UNKNOWN, at=home)
    assert (said.status, said.err) == (1, f"trunkline: no event of call {UNKNOWN}\n")


def test_the_time_is_when_the_store_kept_them(home: Path) -> None:
    keep(home, *(started(number) for number in range(100)))
    words = ("replay", "--queue", "my.app", "--json", "--since", "2026-11-20T12:00:50Z")
    report = orjson.loads(trunkline(*words, at=home).out)
    assert (report["chosen"], report["published"], report["dry_run"]) == (50, 50, True)
    report = orjson.loads(trunkline(*words, "--until", "2026-11-20T13:00:50+01:00", at=home).out)
    assert report["chosen"] == 0


def test_a_queue_that_is_not_there_is_exit_code_1(home: Path) -> None:
    keep(home, started(1))
    said = trunkline("replay", "--queue", "nobodys.queue", "--yes", at=home)
    assert (said.status, said.out, said.err) == (1, "", "trunkline: there is no queue nobodys.queue\n")


async def begun(home: Path, *words: str) -> asyncio.subprocess.Process:
    """The command in a process of its own, once something of it has arrived."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub", "--config", str(home / "trunkline.toml"), *words),
        cwd=ROOT,
        env=clean_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    bus = await _opened(home)
    try:

        async def some() -> bool:
            assert process.returncode is None
            return (await bus.depth(THEIRS.name)).ready > 0

        await eventually(some, within=60)
    finally:
        await bus.close()
    return process


def test_interrupted_it_says_how_far_it_came_and_goes_on_from_there(home: Path) -> None:
    given = [started(number) for number in range(400)]
    keep(home, *given)
    words = ("replay", "--queue", "my.app", "--yes")

    async def interrupted() -> tuple[int, str, str]:
        process = await begun(home, *words, "--rate", "5")
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, out.decode(), err.decode()

    status, out, err = asyncio.run(interrupted())
    assert status == 1
    first, _, rest = out.removeprefix("my.app: replay: ").partition(" of 400 published")
    assert rest == ", 0 skipped\n"
    assert 0 < int(first) < 400
    assert "interrupted; --after " in err
    place = err.partition("--after ")[2].split()[0]
    there = int(first)
    assert (
        trunkline(*words, "--after", place, at=home).out
        == f"my.app: replay: {400 - there} of {400 - there} published\n"
    )
    assert [one.id for one in got(home, 400)] == [event.id for event in given], "each once, and in order"


def test_killed_and_repeated_it_has_lost_none(home: Path) -> None:
    given = [started(number) for number in range(300)]
    keep(home, *given)

    async def killed() -> None:
        process = await begun(home, "replay", "--queue", "my.app", "--yes", "--rate", "5")
        process.kill()
        await process.communicate()

    asyncio.run(killed())
    assert trunkline("replay", "--queue", "my.app", "--yes", at=home).status == 0

    async def all_of_it() -> set[str]:
        bus = await _opened(home)
        try:
            subscription, ids = bus.subscribe(THEIRS.name, 1000), set[str]()

            async def whole() -> bool:
                ids.update(one.message.id for one in await subscription.fetch(1000))
                return ids >= {event.id for event in given}

            await eventually(whole)
            return ids
        finally:
            await bus.close()

    assert asyncio.run(all_of_it()) == {event.id for event in given}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "expected either a worker or a queue"),
        (("nobody",), f"worker: found 'nobody'; expected one of {', '.join(sorted(WORKERS))}"),
        (("persistence", "--queue", "my.app"), "expected either a worker or a queue"),
        (("--queue", "trunkline.x"), "queue: found 'trunkline.x'; expected a worker's or one of your own"),
        (("persistence", "--call", "nope"), "--call: found 'nope'; expected a UUID"),
        (("persistence", "--since", "noon"), "--since: found 'noon'; expected a time like 2026-11-20T09:15:30Z"),
        (("persistence", "--event", "x", "--vendor", "y"), "found IDs and filters; expected one of them"),
        (("persistence", "--event", "x", "--call", UNKNOWN), "found IDs and filters; expected one of them"),
        (("persistence", "--call", UNKNOWN, "--since", "x"), "found IDs and filters; expected one of them"),
        (("persistence", "--rate", "0"), "--rate: found 0.0; expected more than 0"),
    ],
)
def test_what_makes_no_sense_is_exit_code_2(tmp_path: Path, words: tuple[str, ...], complaint: str) -> None:
    home = configured(tmp_path)
    keep(home)
    said = trunkline("replay", *words, at=home)
    assert (said.status, said.out, said.err) == (2, "", f"trunkline: {complaint}\n")


def test_where_the_hub_never_ran_nothing_is_made(tmp_path: Path) -> None:
    said = trunkline("replay", "persistence", "--yes", at=configured(tmp_path))
    assert said.status == 2
    assert "expected the hub's own, on the machine where it runs" in said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trunkline.toml"]
