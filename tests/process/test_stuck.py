"""A worker that gets nothing any more ends, so that another one can (rules 4.4.4)."""

import os
import sys
from pathlib import Path

from tests.process.site import exit_status, site
from tests.servers.processes import spawn

ROOT = Path(__file__).parents[2]


async def test_a_worker_whose_consumer_is_deaf_for_good_says_so_and_ends_with_75(tmp_path: Path, amqp_url: str) -> None:
    async with site(tmp_path) as here:
        here.configure(bus={"url": amqp_url}, worker={"port": here.spare[0]})
        process = spawn(
            [sys.executable, "-m", "tests.process.deaf", "worker", "persistence"],
            directory=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            log=here.log(0),
        )
        here.started.append(process)
        assert await exit_status(process, within=60) == 75
        assert here.said(0, "bus.consumer_silent") == 3
        assert here.said(0, "process.stuck") == 1
        assert "nothing arrived for" in here.log(0).read_text().splitlines()[-1]
