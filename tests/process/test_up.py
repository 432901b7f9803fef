"""The embedded hub as one process: its first start, its end, and its death."""

import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest
from aiohttp import ClientSession
from yarl import URL

from tests.hub import until
from tests.process.site import Load, Site, exit_status, site, terminated


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


async def test_in_an_empty_directory_it_writes_a_configuration_prints_its_urls_and_serves(here: Site) -> None:
    began = monotonic()
    process = here.start("up", TRUNKLINE_HTTP__PORT=str(here.port))
    await here.ready()
    assert monotonic() - began < 10
    written = here.directory / "trunkline.toml"
    assert written.stat().st_mode & 0o777 == 0o600
    said = here.log(0).read_text()
    inicio = re.search(r"INICIO +(http\S+)", said)
    administrator = re.search(r"Authorization: Bearer (\S+)", said)
    assert inicio is not None
    assert administrator is not None
    assert administrator[1] in written.read_text()

    pasted = inicio[1].replace("[_IdLlamada]", "1").replace("[_NumInfocaller]", "900805089")
    headers = {"Authorization": f"Bearer {administrator[1]}"}
    async with ClientSession(headers=headers) as session:
        async with session.get(URL(pasted, encoded=True)) as answer:
            assert (answer.status, (await answer.json())["status"]) == (200, "accepted")

        async def recorded() -> bool:
            async with session.get(f"{here.url}/v1/calls") as answer:
                return len((await answer.json())["items"]) == 1

        await until(recorded)
    assert (await terminated(process))[0] == 0


async def test_a_second_start_uses_the_configuration_that_is_there(here: Site) -> None:
    here.configure()
    before = (here.directory / "trunkline.toml").read_text()
    process = here.start("up")
    await here.ready()
    assert (here.directory / "trunkline.toml").read_text() == before
    assert (await terminated(process))[0] == 0


async def test_a_terminated_hub_drains_within_20_seconds_and_loses_nothing_that_it_accepted(here: Site) -> None:
    here.configure()
    process = here.start("up")
    await here.ready()
    async with Load(here.url, seed=1) as load:
        await load.accepts(400)
        status, seconds = await terminated(process)
        assert load.report is None  # they were still calling
    assert status == 0
    assert seconds < 20
    assert here.said(0, "process.draining") == 1
    await _has_everything(here, load)


async def test_a_killed_hub_has_everything_that_it_accepted(here: Site) -> None:
    here.configure()
    process = here.start("up")
    await here.ready()
    async with Load(here.url, seed=2) as load:
        await load.accepts(400)
        process.kill()
        assert await exit_status(process) == -signal.SIGKILL
        await load.until(lambda: bool(load.errors))
    await _has_everything(here, load)


async def _has_everything(here: Site, load: Load) -> None:
    """A fresh process finds every event, makes its records and seals them."""
    assert set(load.statuses) == {200}
    process = here.start("up")
    await here.ready()
    await here.has(load.accepted)
    assert (await terminated(process))[0] == 0
