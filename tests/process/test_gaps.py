"""A hub whose vendor loses callbacks, beside the vendor's archive: all of it as an operator sets it up."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.cli.command import trunkline
from tests.hub import until
from tests.process.site import site, terminated

SIMULATE = ("simulate", "focalscope", "--count", "60", "--drop", "0.1", "--archive", "archive")


async def test_calls_that_a_vendor_did_not_report_come_from_its_archive(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        archive = {"archive": str(tmp_path / "archive"), "archive_seconds": 0.5}
        # Longer than the test: nothing is sealed as a gap, and whatever is sealed was made whole.
        calls = {"settle": 0.2, "gap_after": 1, "longest": 3600}
        here.configure(**{"sources.desk": archive}, gaps={"grace": 0, "every": 1}, calls=calls)
        hub = here.start("up")
        await here.ready()
        said = await asyncio.to_thread(trunkline, *SIMULATE, at=tmp_path)
        assert said.status == 0, said.err
        await here.seals(60)
        records = await here.pages("/v1/calls")
        assert {record["disposition"] for record in records} == {"answered", "no_answer", "failed"}
        assert {record["sealed"]["verdict"] for record in records} == {"complete"}

        async def measured() -> bool:
            _, text = await here.get("/metrics")
            return b'trunkline_callback_loss_ratio{basis="records",source="desk"} 0.' in text

        await until(measured)
        origins = [item["data"].get("origin") for item in await here.pages("/v1/events")]
        assert origins.count("backfill") > 0
        books: dict[str, Any] = (await here.get("/v1/ledger"))[1]
        assert books["callbacks"]["accepted"] == origins.count("callback")
        since = f"{datetime.now(UTC) - timedelta(hours=3):%Y-%m-%dT%H:%M:%SZ}"
        again = await asyncio.to_thread(trunkline, "backfill", "desk", "--since", since, "--dry-run", at=tmp_path)
        assert ": 0 would be published" in again.out, again.out + again.err
        assert (await terminated(hub))[0] == 0
