"""``trunkline backfill``, beside a hub that runs."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from hub.simulator.infocu5 import Infocu5, made
from tests.cli.command import Said, trunkline
from tests.cli.vendor import infocu5
from tests.hub import running, until
from tests.polling.house import settings, source
from tests.process.site import site

WORDS = ("backfill", "focu5", "--since", "2026-11-01", "--until", "2026-11-01T06:00:00Z")
NOW = datetime(2026, 11, 1, tzinfo=UTC)


async def test_a_range_is_counted_then_published_then_known_and_every_call_is_sealed_once(tmp_path: Path) -> None:
    vendor = Infocu5(calls=made(5, 120, NOW, NOW + timedelta(hours=6)), details="array")
    with infocu5(vendor) as url:
        async with site(tmp_path) as here, running(settings(tmp_path, url, poll_seconds=3600)) as hub:
            here.configure(**{"sources.focu5": source(url), "egress": {"allow": ["127.0.0.0/8"]}})
            dry = await _trunkline(*WORDS, "--dry-run", "--json", at=tmp_path)
            assert dry.status == 0, dry.err
            assert orjson.loads(dry.out)["new"] == 120
            assert (await hub.process.store.counts())["calls"] == 0
            done = await _trunkline(*WORDS, at=tmp_path)
            assert done.status == 0, done.err
            assert ": 120 published, " in done.out

            async def sealed() -> bool:
                return (await hub.process.store.counts())["seals"] == 120

            await until(sealed)
            again = await _trunkline(*WORDS, at=tmp_path)
            assert ": 0 published, " in again.out
            vendor.moods.extend(["900"])
            insisted = await _trunkline(*WORDS, "--window", "7200", at=tmp_path)
            assert insisted.status == 0
            counts = await hub.process.store.counts()
            assert (counts["calls"], counts["seals"], counts["repeats"]) == (120, 120, 0)
            events = (await hub.read("/v1/events?limit=1000"))["items"]
            assert {one["data"]["origin"] for one in events if "ended" in one["type"]} == {"backfill"}


async def _trunkline(*words: str, at: Path) -> Said:
    return await asyncio.to_thread(trunkline, *words, at=at)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["backfill", "focu5"], "--since: missing"),
        (["backfill", "focu5", "--since", "monday"], "--since: found 'monday'"),
        (["backfill", "focu5", "--since", "2026-11-02", "--until", "2026-11-01"], "--since: found 2026-11-02"),
        (["backfill", "focu5", "--since", "2226-11-02"], "--since: found 2226-11-02"),
        (["backfill", "nobody", "--since", "2026-11-01"], "sources: found 'nobody'"),
        (["backfill", "line-900", "--since", "2026-11-01"], "sources.line-900: its vendor has no records"),
        (["backfill", "desk", "--since", "2026-11-01"], "sources.desk.archive: missing"),
        (["backfill", "focu5", "--since", "2026-11-01"], "store.url: found no file"),
    ],
)
def test_a_wrong_usage_is_one_line_and_exit_2(tmp_path: Path, words: list[str], told: str) -> None:
    (tmp_path / "trunkline.toml").write_text(
        '[sources.focu5]\nvendor = "infocu5"\naffiliate_id = "a"\naffiliate_key = "k"\n'
        '[sources.line-900]\nvendor = "infocaller"\n[sources.desk]\nvendor = "focalscope"\n'
    )
    said = trunkline(*words, at=tmp_path)
    assert (said.status, said.out) == (2, "")
    [line] = said.err.splitlines()
    assert line.startswith(f"trunkline: {told}")
