"""``trunkline dead`` and ``trunkline quarantine``, on the files and servers that the configuration names."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import orjson
import pytest

from hub.cli import operating
from hub.config import load
from hub.events import Message, identity
from hub.parts import WORKERS, make_bus, queues
from hub.ports import Bus, DeadLetter, Depth, Retry
from hub.store.upgrade import upgrade
from tests.cli.command import Said, clean_environment, trunkline
from tests.contract.buses import depth_becomes, eventually, message, receive
from tests.hub import ADMIN, DESK_TOKEN, LINE, PASSWORD, TOKEN, Hub, body, fin, running, until
from workers.persistence import QUEUE

T = TypeVar("T")

ROOT: Final = Path(__file__).parents[2]
TEMPLATE: Final = """
[http]
port = 0
[bus]
url = "{bus}"
[store]
url = "sqlite:///{directory}/store.db"
[outbox]
path = "{directory}/outbox.db"
[admin]
token = "{admin}"
[calls]
settle = 0.05
gap_after = 0.3
longest = 3600
[sources.line-900]
vendor = "infocaller"
tokens = ["{token}"]
lines = {{ "{line}" = "{password}" }}
[sources.desk]
vendor = "focalscope"
tokens = ["{desk}"]
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with the configuration of a hub that never ran."""
    return configured(tmp_path)


def configured(directory: Path, *, password: str = PASSWORD, bus: str = "") -> Path:
    text = TEMPLATE.format(
        directory=directory,
        bus=bus or f"sqlite:///{directory}/bus.db",
        admin=ADMIN,
        token=TOKEN,
        line=LINE,
        password=password,
        desk=DESK_TOKEN,
    )
    (directory / "trunkline.toml").write_text(text)
    return directory


def in_a_hub(home: Path, use: Callable[[Hub], Awaitable[T]]) -> T:
    """What is done while the hub runs."""

    async def work() -> T:
        async with running(load(home / "trunkline.toml")) as hub:
            return await use(hub)

    return asyncio.run(work())


def on_its_bus(home: Path, use: Callable[[Bus], Awaitable[T]]) -> T:
    """What is done with the bus while no worker runs."""

    async def work() -> T:
        settings = load(home / "trunkline.toml")
        bus = make_bus(settings)
        await bus.start()
        try:
            await bus.declare(queues(settings))
            return await use(bus)
        finally:
            await bus.close()

    return asyncio.run(work())


def bury(home: Path, messages: list[Message], *, failed: int = 0) -> None:
    """Makes dead letters, of which so many have a failed attempt behind them."""

    async def work(bus: Bus) -> None:
        subscription = bus.subscribe(QUEUE.name, 500)
        for at in range(0, len(messages), 250):
            await bus.publish(messages[at : at + 250])
        if failed:
            batch = await receive(subscription, failed)
            await subscription.settle([(one, Retry(0, "the CRM answered 503")) for one in batch])
        for at in range(0, len(messages), 250):
            batch = await receive(subscription, len(messages[at : at + 250]))
            await subscription.settle([(one, DeadLetter("the CRM answered 422")) for one in batch])
        await subscription.close()
        await depth_becomes(bus, Depth(0, 0, len(messages)), QUEUE.name)

    on_its_bus(home, work)
    asyncio.run(upgrade(load(home / "trunkline.toml").store.url.get_secret_value()))


def depth(home: Path) -> Depth:
    return on_its_bus(home, lambda bus: bus.depth(QUEUE.name))


def told(said: Said) -> Any:
    return orjson.loads(said.out)


# --- dead letters ----------------------------------------------------------------------------------------------------


def test_dead_letters_are_listed_and_shown_with_every_attempt(home: Path) -> None:
    bury(home, [one := message(name="Peña"), *(message(n=n) for n in range(2))], failed=1)
    said = trunkline("dead", "list", at=home)
    assert said.status == 0, said.err
    assert "the CRM answered 422" in said.out
    assert said.out.count("infocaller/line-900") == 3
    items = told(trunkline("dead", "list", "--json", "--limit", "2", at=home))
    assert len(items) == 2
    shown = told(trunkline("dead", "show", one.id, at=home))
    assert shown["data"] == {"name": "Peña"}
    assert [(entry["attempt"], entry["reason"]) for entry in shown["attempts"]] == [
        (1, "the CRM answered 503"),
        (2, "the CRM answered 422"),
    ]
    assert "there are more" in trunkline("dead", "list", "--limit", "2", at=home).out
    assert trunkline("dead", "list", "--reason", "no such", at=home).out == "none\n"


def test_ids_are_done_at_once_and_what_is_missing_is_exit_code_1(home: Path) -> None:
    letters = [message(n=n) for n in range(3)]
    bury(home, letters)
    said = trunkline("dead", "requeue", letters[1].id, at=home)
    assert (said.status, said.out) == (0, "persistence: requeue: 1 of 1 done\n")
    said = trunkline("dead", "discard", letters[0].id, letters[1].id, at=home)
    assert (said.status, said.out) == (1, "persistence: discard: 1 of 1 done\n")
    assert f"trunkline: no dead letter {letters[1].id}" in said.err
    assert depth(home) == Depth(ready=1, in_flight=0, dead=1)
    assert trunkline("dead", "show", letters[0].id, at=home).status == 1


def test_without_ids_a_verb_is_a_dry_run_unless_it_is_meant(home: Path) -> None:
    bury(home, [message(n=n) for n in range(3)])
    for verb in ("requeue", "discard"):
        said = trunkline("dead", verb, at=home)
        assert (said.status, said.out) == (0, f"persistence: {verb}: 3 would be (dry run; --yes does it)\n")
        said = trunkline("dead", verb, "--yes", "--dry-run", at=home)
        assert (said.status, said.out) == (0, f"persistence: {verb}: 3 would be (dry run)\n")
    assert depth(home) == Depth(ready=0, in_flight=0, dead=3)
    said = trunkline("dead", "discard", "--yes", "--limit", "2", at=home)
    assert said.out == "persistence: discard: 2 of 2 done; there may be more\n"
    assert depth(home) == Depth(ready=0, in_flight=0, dead=1)


@pytest.mark.timeout(120)
def test_a_thousand_dead_letters_in_the_broker_are_requeued_by_a_filter(tmp_path: Path, amqp_url: str) -> None:
    home = configured(tmp_path, bus=amqp_url)
    wanted = [message(n=n) for n in range(1000)]
    others = [message("call.focalscope.hangup", n=n) for n in range(50)]
    bury(home, [others[0], *wanted[:500], *others[1:], *wanted[500:]])
    which = ("--type", "call.ended", "--reason", "CRM")
    report = told(trunkline("dead", "requeue", *which, "--json", at=home))[0]
    assert (report["dry_run"], report["chosen"]) == (True, 1000)
    said = trunkline("dead", "requeue", *which, "--yes", "--rate", "2000", at=home)
    assert (said.status, said.out) == (0, "persistence: requeue: 1000 of 1000 done\n"), said.err

    async def look(bus: Bus) -> set[str]:
        await depth_becomes(bus, Depth(ready=1000, in_flight=0, dead=50), QUEUE.name)
        back = await receive(bus.subscribe(QUEUE.name, 1000), 1000)
        assert {delivery.attempt for delivery in back} == {1}
        return {delivery.message.id for delivery in back}

    assert on_its_bus(home, look) == {one.id for one in wanted}


KNOWN: Final = ", ".join(sorted(WORKERS))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("dead", "list", "--worker", "nobody"), f"--worker: found 'nobody'; expected one of {KNOWN}"),
        (("dead", "requeue", str(uuid4()), "--reason", "x"), "found IDs and filters; expected one of them"),
        (("dead", "requeue", "--rate", "0"), "--rate: found 0.0; expected more than 0"),
        (("quarantine", "retry", str(uuid4()), "--source", "x"), "found IDs and filters; expected one of them"),
    ],
)
def test_what_makes_no_sense_is_exit_code_2(home: Path, words: tuple[str, ...], complaint: str) -> None:
    said = trunkline(*words, at=home)
    assert (said.status, said.err) == (2, f"trunkline: {complaint}\n")


def test_where_the_hub_never_ran_nothing_is_made(home: Path) -> None:
    for words in (("dead", "list"), ("quarantine", "list"), ("quarantine", "retry", "--yes")):
        said = trunkline(*words, at=home)
        assert said.status == 2
        assert "expected the hub's own, on the machine where it runs" in said.err
    assert sorted(path.name for path in home.iterdir()) == ["trunkline.toml"]


def test_a_broker_that_is_away_is_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operating, "_PATIENCE", 0.1)
    said = trunkline("dead", "list", at=configured(tmp_path, bus="amqp://guest:guest@127.0.0.1:1/"))
    assert said.status == 1
    assert said.err.startswith("trunkline: the bus cannot be reached: ")


# --- the quarantine --------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_mended_by_the_configuration_and_a_retry(tmp_path: Path) -> None:
    wrong = configured(tmp_path, password="9999")

    async def callbacks(hub: Hub) -> list[int]:
        return [(await hub.infocaller("fin", fin(str(n)))).status for n in range(120)]

    assert set(in_a_hub(wrong, callbacks)) == {422}
    said = trunkline("quarantine", "retry", "--reason", "signature", at=wrong)
    assert said.status == 1, "a dry run says that nothing is better yet"
    assert said.err.count("stays: signature: ") == 120

    home = configured(tmp_path)
    assert trunkline("quarantine", "list", at=home).out.count("line-900") == 50
    said = trunkline("quarantine", "retry", at=home)
    assert (said.status, said.out) == (0, "retry: 120 would be (dry run; --yes does it)\n")
    said = trunkline("quarantine", "retry", "--yes", at=home)
    assert (said.status, said.out) == (0, "retry: 120 of 120 done\n"), said.err
    assert trunkline("quarantine", "list", at=home).out == "none\n"

    async def records(hub: Hub) -> int:
        calls = [await hub.sealed(identity("infocaller", "line-900", LINE, str(n))) for n in range(120)]
        return len([call for call in calls if call["duration_seconds"] == 42])

    assert in_a_hub(home, records) == 120


def test_a_request_is_shown_whole_and_discarded_by_its_id(home: Path) -> None:
    async def callbacks(hub: Hub) -> str:
        assert (await hub.infocaller("unheard", body())).status == 422
        answer = await hub.infocaller("fin", body(signature="x"))
        return str(orjson.loads(await answer.read())["quarantine_id"])

    quarantine_id = in_a_hub(home, callbacks)
    shown = told(trunkline("quarantine", "show", quarantine_id, at=home))
    assert (shown["reason"], shown["url"]) == ("signature", "/callbacks/line-900/…/fin")
    assert told(trunkline("quarantine", "list", "--json", "--reason", "signature", at=home)) == [shown]
    said = trunkline("quarantine", "retry", quarantine_id, at=home)
    assert (said.status, said.out) == (1, "retry: 0 of 1 done\n")
    assert f"trunkline: {quarantine_id} stays: signature: " in said.err
    said = trunkline("quarantine", "discard", quarantine_id, at=home)
    assert (said.status, said.out) == (0, "discard: 1 of 1 done\n")
    assert trunkline("quarantine", "show", quarantine_id, at=home).status == 1
    said = trunkline("quarantine", "discard", quarantine_id, at=home)
    assert said.status == 1
    assert f"no request {quarantine_id} in quarantine" in said.err
    assert trunkline("quarantine", "discard", at=home).out == "discard: 1 would be (dry run; --yes does it)\n"


# --- beside a hub that runs ------------------------------------------------------------------------------------------


async def beside(home: Path, *words: str) -> Any:
    """The command in a process of its own, while the hub runs in this one."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub", "--config", str(home / "trunkline.toml"), *words),
        cwd=ROOT,
        env=clean_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, err.decode()
    return orjson.loads(out)


async def test_both_verbs_work_beside_a_running_hub_which_goes_on_with_what_they_give(tmp_path: Path) -> None:
    wrong = load(configured(tmp_path, password="9999") / "trunkline.toml")
    async with running(wrong, workers=()) as hub:
        assert (await hub.infocaller("fin", fin())).status == 422
    home = configured(tmp_path)
    async with running(load(home / "trunkline.toml")) as hub:
        report = await beside(home, "quarantine", "retry", "--yes", "--json")
        assert (report["done"], len(report["items"])) == (1, 1)
        await hub.sealed(identity("infocaller", "line-900", LINE, "98565656"))
        poison = Message("call.their.ended", {"ce-id": str(uuid4())}, b"not json")
        await hub.process.bus.publish([poison])

        async def died() -> bool:
            return (await hub.process.bus.depth(QUEUE.name)).dead == 1

        await eventually(died)
        (before,) = await hub.process.bus.dead(QUEUE.name)
        (report,) = await beside(home, "dead", "requeue", poison.id, "--json")
        assert report["done"] == 1

        async def died_again() -> Any:
            letters = await hub.process.bus.dead(QUEUE.name)
            return letters and letters[0].died_at > before.died_at

        await until(died_again)  # its worker was woken, and is of the same opinion
