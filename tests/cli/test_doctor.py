"""``trunkline doctor``: one line for each part, and 1 where any is bad."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from hub.cli import checks
from hub.config import load
from hub.disk import Refused
from hub.events import UNROUTED
from hub.parts import make_bus, make_disk
from hub.ports import Bus, QueueSpec
from tests.cli.command import Said, edited, trunkline
from tests.cli.served import Served
from tests.cli.test_operating import bury, configured
from tests.contract.buses import eventually, message

T = TypeVar("T")

PARTS = ["configuration", "broker", "database", "bindings", "disk", "recordings"]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for five seconds for a broker that is away."""
    monkeypatch.setattr(checks, "_PATIENCE", 0.2)


def verdicts(said: Said) -> dict[str, str]:
    """``ok`` or ``bad`` of each part."""
    told = [line.split()[:2] for line in said.lines]
    assert [part for _, part in told] == PARTS
    return {part: verdict for verdict, part in told}


def bad(said: Said) -> dict[str, str]:
    """The line of each bad part, without its verdict and its name."""
    assert set(verdicts(said)) == set(PARTS)
    return {line.split()[1]: line[21:] for line in said.lines if line.startswith("bad")}


def test_a_sound_hub_is_ok_in_every_part_and_exits_0(served: Served) -> None:
    said = served.trunkline("doctor")
    assert (said.status, said.err) == (0, "")
    assert set(verdicts(said).values()) == {"ok"}
    assert "2 sources that call back: line-900, desk" in said.lines[0]
    assert "trunkline.persistence: 0 ready, 0 in flight, none dead" in said.lines[3]
    assert said.lines[4].endswith(" MiB free for the outbox")


def test_before_the_first_start_the_database_is_missing_and_the_queue_is_made(home: Path) -> None:
    said = trunkline("doctor", at=home)
    assert said.status == 1
    assert set(bad(said)) == {"database"}
    assert "trunkline db upgrade" in bad(said)["database"]
    assert "trunkline.persistence: 0 ready" in said.lines[3]


@pytest.fixture(params=["sqlite", "rabbitmq"])
def lived(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A hub's directory after its first start, over each bus."""
    url = "" if request.param == "sqlite" else str(request.getfixturevalue("amqp_url"))
    directory = configured(tmp_path, bus=url)
    assert trunkline("db", "upgrade", at=directory).status == 0
    return directory


def test_dead_letters_are_told_and_are_no_fault(lived: Path) -> None:
    bury(lived, [message(), message()])
    said = trunkline("doctor", at=lived)
    assert (said.status, bad(said)) == (0, {})
    assert "trunkline.persistence: 0 ready, 0 in flight, 2 dead: trunkline dead list" in said.lines[3]


def test_what_no_queue_was_bound_to_is_bad_and_the_binding_is_made(lived: Path) -> None:
    strays = [message(), message()]

    async def lose(bus: Bus) -> None:
        await bus.declare([QueueSpec("my.app", ("agent.#",))])
        await bus.publish(strays)

        async def unrouted() -> bool:
            return (await bus.depth(UNROUTED)).ready == 2

        await eventually(unrouted)

    with_bus(lived, lose)
    said = trunkline("doctor", at=lived)
    assert (said.status, set(bad(said))) == (1, {"bindings"})
    assert bad(said)["bindings"] == (
        "trunkline.unrouted has 2 events: no queue was bound to them when they came; the bindings are there now, "
        "and a running hub moves them within seconds"
    )

    async def routed(bus: Bus) -> int:
        await bus.publish([message()])
        return (await bus.depth(UNROUTED)).ready

    assert with_bus(lived, routed) == 2, "the doctor has mended it"


def with_bus(directory: Path, use: Callable[[Bus], Awaitable[T]]) -> T:
    """What is done with a bus on which nobody has declared anything."""

    async def work() -> T:
        bus = make_bus(load(directory / "trunkline.toml"))
        await bus.start()
        try:
            return await use(bus)
        finally:
            await bus.close()

    return asyncio.run(work())


def test_what_waits_on_the_ingresss_disk_is_told_and_is_no_fault(lived: Path) -> None:
    async def fill() -> None:
        disk = make_disk(load(lived / "trunkline.toml"))
        await disk.start()
        await disk.keep([message(), message()])  # and the news of the quarantine
        now = datetime.now(UTC)
        await disk.quarantine(Refused("desk", "focalscope", "event", "", now, "GET", "/", None, (), b""))
        await disk.close()

    asyncio.run(fill())
    said = trunkline("doctor", at=lived)
    assert (said.status, bad(said)) == (0, {})
    assert said.lines[4].endswith("; 3 events wait in it for the bus; 1 in quarantine: trunkline quarantine list")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("tokens = [", "tokens = []\n# ", "sources.line-900.tokens: found none; nobody can call it"),
        ("token = ", "# ", "admin.token: missing; nobody can read /v1"),
    ],
)
def test_a_configuration_that_nobody_can_use_is_bad(served: Served, old: str, new: str, line: str) -> None:
    with edited(served.directory / "trunkline.toml", old, new) as path:
        said = served.trunkline("--config", str(path), "doctor")
    assert (said.status, bad(said)) == (1, {"configuration": line})


def test_a_configuration_without_sources_is_bad(tmp_path: Path) -> None:
    said = trunkline("doctor", at=tmp_path)
    assert said.status == 1
    assert bad(said)["configuration"] == "no source is configured; expected at least one table [sources.NAME]"


def test_a_source_that_is_asked_alone_needs_nobody_to_call_it(home: Path) -> None:
    alone = """
[admin]
token = "administrator"

[sources.focu5]
vendor = "infocu5"
affiliate_id = "a"
affiliate_key = "k"

[sources.cloud]
vendor = "ucontact"
base_url = "https://instance.ucontactcloud.com"
"""
    path = home / "alone.toml"
    path.write_text(alone)
    said = trunkline("--config", str(path), "doctor", at=home)
    assert verdicts(said)["configuration"] == "ok"
    assert said.lines[0].endswith("0 sources that call back; asked alone: focu5, cloud")


def test_a_broker_that_is_away_is_bad(home: Path) -> None:
    said = trunkline("doctor", at=home, TRUNKLINE_BUS__URL="amqp://user:CANARY@127.0.0.1:1/")
    assert said.status == 1
    assert {"broker", "bindings"} <= set(bad(said))
    assert bad(said)["broker"]
    assert "CANARY" not in said.out + said.err


def test_a_database_that_is_away_is_bad(served: Served) -> None:
    with edited(
        served.directory / "trunkline.toml",
        'url = "sqlite:///data/store.db"',
        'url = "postgresql://u:CANARY@127.0.0.1:1/db"',
    ) as path:
        said = served.trunkline("--config", str(path), "doctor")
    assert (said.status, set(bad(said))) == (1, {"database"})
    assert "CANARY" not in said.out + said.err


def test_a_disk_with_too_little_room_for_the_outbox_is_bad(served: Served) -> None:
    with edited(served.directory / "trunkline.toml", "[outbox]", f"[outbox]\nmax_bytes = {1 << 60}") as path:
        said = served.trunkline("--config", str(path), "doctor")
    assert (said.status, set(bad(said))) == (1, {"disk"})
    assert bad(said)["disk"].startswith("outbox.path: ")
    assert bad(said)["disk"].endswith(", expected room for the outbox")


def test_a_disk_that_the_outbox_leaves_alone_is_bad(served: Served) -> None:
    with edited(served.directory / "trunkline.toml", "[outbox]", f"[outbox]\nmin_free_bytes = {1 << 60}") as path:
        said = served.trunkline("--config", str(path), "doctor")
    assert (said.status, set(bad(said))) == (1, {"disk"})
    assert bad(said)["disk"].startswith("outbox.min_free_bytes: ")
    assert "the outbox takes nothing" in bad(said)["disk"]


def test_a_place_for_the_outbox_that_is_no_directory_is_bad(served: Served) -> None:
    with edited(served.directory / "trunkline.toml", 'path = "data/outbox.db"', 'path = "trunkline.toml/o.db"') as path:
        said = served.trunkline("--config", str(path), "doctor")
    assert (said.status, set(bad(said))) == (1, {"disk"})
