"""The main job, whole: what vendors do to their callbacks on the way changes no record."""

from pathlib import Path
from typing import Any

import pytest

from hub.simulator.call import Source
from hub.simulator.driver import play
from hub.simulator.mutators import Mutations, mutate
from hub.simulator.scenarios import SCENARIOS, calls, stream
from tests.hub import DESK_TOKEN, LINE, PASSWORD, TOKEN, configuration, running, until

CALLS = 420
TARGET = [
    Source("line-900", "infocaller", TOKEN, line=LINE, password=PASSWORD),
    Source("desk", "focalscope", DESK_TOKEN),
]
CLOUD = {"vendor": "ucontact", "tokens": ["t0ken-of-cloud"], "base_url": "https://instance.example"}
EVERYBODY = [*TARGET, Source("cloud", "ucontact", "t0ken-of-cloud")]
TIMING = {"settle": 0.5, "gap_after": 3, "longest": 3600}
RECEIPTS = ("started_at", "answered_at", "ended_at", "duration_seconds", "talk_seconds")


def without_receipts(record: dict[str, Any]) -> dict[str, Any]:
    """The record without what hangs on when we received its events."""
    stated = record["vendor"] == "infocaller"
    kept = {name: value for name, value in record.items() if (stated and name != "answered_at") or name not in RECEIPTS}
    legs = (
        [{n: v for n, v in leg.items() if n not in RECEIPTS} for leg in record["legs"]]
        if not stated
        else [{n: v for n, v in leg.items() if n != "answered_at"} for leg in record["legs"]]
    )
    sealed = {name: value for name, value in record["sealed"].items() if name != "at"}
    return {**kept, "legs": legs, "sealed": sealed}


async def records(directory: Path, mutations: Mutations, seed: int) -> dict[str, dict[str, Any]]:
    """The sealed records of a simulation, by call."""
    async with running(configuration(directory, calls=TIMING)) as hub:
        made = calls(["all"], seed=seed, count=CALLS, target=TARGET)
        report = await play(mutate(stream(made), mutations, seed=seed), str(hub.url))
        assert set(report.statuses) == {200}
        assert not report.errors

        async def sealed() -> list[dict[str, Any]] | None:
            found = await hub.calls()
            return found if len(found) == CALLS and all("sealed" in record for record in found) else None

        found = await until(sealed, within=40)
        events = await hub.process.store.counts()
        assert (events["sealed"], events["calls"]) == (CALLS, CALLS)
        return {record["call_id"]: without_receipts(record) for record in found}


async def test_repetition_and_disorder_change_no_sealed_record(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "mutated").mkdir()
    plain = await records(tmp_path / "plain", Mutations(), seed=5)
    mutated = await records(tmp_path / "mutated", Mutations(duplicate=0.1, reorder=0.3), seed=5)
    assert mutated == plain


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_every_scenario_is_sealed_complete_with_its_disposition(tmp_path: Path, scenario: str) -> None:
    async with running(configuration(tmp_path, sources={"cloud": CLOUD})) as hub:
        [call] = calls([scenario], seed=3, count=1, target=EVERYBODY)
        report = await play(stream([call]), str(hub.url))
        assert set(report.statuses) == {200}
        record = await hub.sealed(call.key)
        assert (record["disposition"], record["sealed"]["verdict"]) == (SCENARIOS[scenario].disposition, "complete")
