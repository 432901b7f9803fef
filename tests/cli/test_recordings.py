"""``trunkline recordings import`` over an archive in both of its shapes."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson
import pytest

from hub.events import Event, identity
from hub.ports.recordings import Recording
from hub.simulator.audio import wav
from hub.store.sql import SqlStore
from hub.store.upgrade import upgrade
from tests.cli.command import Said, trunkline
from tests.contract.stores import drain
from tests.store.evidence import NOON, TIMING, after, event, expected

T = TypeVar("T")
DATED, PLAIN, SILENT, STRANGER, BROKEN = (f"{n}fa2dbc8-ab8a-34c8-f243-c2aad8c446ff" for n in range(1, 6))
CONFIGURATION: Final = """
[store]
url = "sqlite:///store.db"
[recordings]
url = "file://kept"
[sources.desk]
vendor = "focalscope"
tokens = ["t"]
"""


def hangup(request: int, leg: str) -> Event:
    content: dict[str, Any] = {"leg": {"id": leg, "role": "agent"}, "vendor_ids": {"request_id": str(request)}}
    return event("desk", "hangup", identity("focalscope", "desk", "", str(request)), after(request), **content)


def on_the_store(home: Path, use: Callable[[SqlStore], Awaitable[T]]) -> T:
    async def work() -> T:
        store = SqlStore(f"sqlite:///{home}/store.db", expected=expected, timing=TIMING)
        await store.start()
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(work())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Calls with four legs, and an archive of five."""
    (tmp_path / "trunkline.toml").write_text(CONFIGURATION)
    asyncio.run(upgrade(f"sqlite:///{tmp_path}/store.db"))
    legs = [hangup(number, leg) for number, leg in enumerate((DATED, PLAIN, SILENT, BROKEN), 1)]
    on_the_store(tmp_path, lambda store: store.apply(legs, NOON))
    dated, plain = tmp_path / "archive/monitor/2026-UTC/11/20", tmp_path / "archive/monitor"
    dated.mkdir(parents=True)
    for folder, guid, audio in (
        (dated, DATED, wav(DATED, 1)),
        (plain, PLAIN.upper(), wav(PLAIN, 2)),
        (plain, SILENT, None),
        (plain, STRANGER, wav(STRANGER, 1)),
        (plain, BROKEN, wav(BROKEN, 1)[:4000]),
    ):
        (folder / f"{guid}.json").write_text('{"nId": 7, /* internal */ "usId": "%s"}' % guid)  # noqa: UP031
        if audio is not None:
            (folder / f"{guid}.wav").write_bytes(audio)
    return tmp_path


def run(home: Path, *more: str) -> Said:
    return trunkline("recordings", "import", "archive", *more, at=home)


def of(home: Path, leg: str) -> list[Recording]:
    return on_the_store(home, lambda store: store.recordings.of_leg("desk", [leg]))


def test_an_archive_is_stored_with_its_calls_and_what_cannot_be_is_named(home: Path) -> None:
    said = run(home)
    assert said.status == 1
    assert f"{BROKEN}.wav: " in said.err
    assert "are missing" in said.err
    assert f"no call has a leg {STRANGER}" in said.out
    assert ["2", "stored"] in [line.split() for line in said.lines]
    for leg, seconds in ((DATED, 1), (PLAIN, 2)):
        [stored] = of(home, leg)
        assert stored.kept is not None
        assert (home / "kept" / stored.kept.key).read_bytes() == wav(leg, seconds)
        assert stored.state == "stored"
    assert of(home, STRANGER) == of(home, SILENT) == []
    told = on_the_store(home, lambda store: drain(store, after(9)))
    assert [one.routing_key for one in told if one.noun == "recording"] == ["recording.focalscope.stored"] * 2


def test_a_second_import_finds_everything_stored(home: Path) -> None:
    run(home)
    on_the_store(home, lambda store: drain(store, after(9)))
    said = run(home)
    assert ["2", "stored", "before"] in [line.split() for line in said.lines]
    assert on_the_store(home, lambda store: drain(store, after(99))) == []


def test_a_dry_run_stores_nothing(home: Path) -> None:
    said = run(home, "--dry-run", "--json")
    assert orjson.loads(said.out)["outcomes"] == {"found": 2, "silent": 1, "no_call": 1, "error": 1}
    assert of(home, DATED) == []
    assert [path for path in (home / "kept").rglob("*") if path.is_file()] == []


def test_what_is_no_archive_or_no_source_is_a_wrong_usage(home: Path) -> None:
    said = trunkline("recordings", "import", "kept", at=home)
    assert (said.status, "no folder monitor" in said.err) == (2, True)
    said = run(home, "--source", "other")
    assert (said.status, "expected one of desk" in said.err) == (2, True)
