"""A process whose event loop is blocked says so, and goes on."""

from pathlib import Path

import pytest

from tests.hub import until
from tests.process.site import Load, site


@pytest.mark.timeout(60)
async def test_a_blocked_event_loop_is_told_and_costs_no_callback(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        here.configure()
        here.start("up", TRUNKLINE_TEST="1", TRUNKLINE_FAILPOINTS="ingress.after_read=sleep(1.5):1/2")
        await here.ready()
        async with Load(here.url, seed=9, calls=4) as load:

            async def said() -> bool:
                return here.said(0, "process.loop_blocked") > 0

            await until(said, within=30)
            await load.ends()
        assert set(load.statuses) == {200}
        await here.has(load.accepted)
