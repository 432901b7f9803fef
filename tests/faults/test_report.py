"""The account of a row tells what is wrong; a negative control of each figure."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from tests.faults.report import Account, publish, reckon
from tests.process.site import Load, Site, site


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


async def test_of_an_undisturbed_hub_nothing_is_wrong_and_each_damage_to_its_books_is_told(
    here: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.configure()
    here.start("up")
    await here.ready()
    async with Load(here.url, seed=21, calls=28) as load:
        await load.ends()
    await here.has(load.accepted)
    await here.seals(28)
    events, calls = await here.pages("/v1/events"), await here.pages("/v1/calls")
    (tmp_path / "oracle").mkdir()

    account = await reckon("none", load, events, calls, planned=0, injected=0, oracle=tmp_path / "oracle")
    account.check()
    assert (account.ok, account.acknowledged, account.attempted) == (len(load.accepted),) * 3
    assert account.differing == ()

    vendors = next(event for event in events if event["id"] in load.accepted)
    sealed = next(event for event in events if "sealed" in event["type"])

    async def of(some: list[dict[str, object]], more: list[dict[str, object]]) -> Account:
        return await reckon("damaged", load, some, more, planned=0, injected=0)

    assert (await of([event for event in events if event is not vendors], calls)).lost == 1
    assert (await of([*events, vendors], calls)).duplicated == 1
    assert (await of([*events, {**sealed, "id": "another"}], calls)).duplicated == 1
    assert (await of([*events, {**vendors, "id": "a stranger's"}], calls)).unexpected == 1
    assert (await of([event for event in events if event is not sealed], calls)).unsealed == 1
    assert (await of(events, [*calls, calls[0]])).duplicated == 1
    calls[0]["disposition"] = "something else"
    altered = await reckon("altered", load, events, calls, planned=0, injected=0, oracle=tmp_path / "oracle")
    assert altered.differing == (calls[0]["call_id"],)

    with pytest.raises(AssertionError, match="0 faults of 1"):
        replace(account, planned=1).check()
    with pytest.raises(AssertionError, match="'lost': 1"):
        replace(account, lost=1).check()

    monkeypatch.setenv("FAULTS_REPORT", str(tmp_path / "report"))
    publish(account)
    publish(account)
    lines = [orjson.loads(line) for line in (tmp_path / "report").read_text().splitlines()]
    assert [line["row"] for line in lines] == ["none", "none"]
    assert lines[0]["attempted"] == account.attempted
    assert "test_report.py" in lines[0]["command"]
