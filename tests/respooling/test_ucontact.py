"""uContact as a dialer: each of its ways, its own fields never altered, a list only once it has loaded."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from hub.config import UContactSource
from hub.errors import Doubtful, NotSent, Permanent, RateLimited, Refused
from hub.events import identity
from hub.ports.respool import Order
from hub.simulator.infocu5 import Infocu5
from hub.simulator.ucontact import UContact as Simulated, serving
from hub.vendors.ucontact.client import UContact
from hub.vendors.ucontact.respooling import UContactDialer
from tests.respooling.house import at_work, rule, settings
from tests.respooling.support import NOON, record, sealed
from tests.vendors.ucontact.instance import asked, instance, source

LATER: Final = NOON + timedelta(hours=2)
OWN: Final = {"campaign": "POWER<-", "contact": "77", "list": "base1", "call_id": "x"}


def order(how: Any = "auto", details: Mapping[str, Any] = OWN, **more: Any) -> Order:
    plain: dict[str, Any] = {
        "respool_id": identity("respool", "test"),
        "campaign": "POWER<-",
        "number": "911888920",
        "alternatives": ("600123456", "911888921"),
        "at": None,
        "how": how,
        "priority": None,
        "agent": None,
        "list": None,
        "data": {"order": "9"},
        "details": details,
    }
    return Order(**plain | more)


def dialer(client: UContact) -> UContactDialer:
    return UContactDialer(client, timeout=1.0, clock=lambda: NOON)


@pytest.mark.parametrize(
    ("how", "more", "function", "said"),
    [
        (
            "auto",
            {},
            "DialerTask",
            {"destination": "911888920", "alternatives": "600123456:911888921", "calldate": None},
        ),
        ("auto", {"at": LATER}, "ScheduleDialerCall", {"calldate": "2026-11-20 11:00:00", "agentphone": ""}),
        ("task", {"agent": "9999"}, "DialerTask", {"agent": "9999", "data": "order=9"}),
        ("task", {"at": LATER}, "DialerTask", {"calldate": "2026-11-20 11:00:00"}),
        ("task", {"priority": 1}, "DialerTask", {"priority": 1}),
        ("schedule", {}, "ScheduleDialerCall", {"calldate": "2026-11-20 09:00:00"}),
        (
            "respool",
            {"priority": 5},
            "RespoolCall",
            {"retries": 0, "priority": "5", "alternatives": "600123456:911888921"},
        ),
        ("respool", {"details": {}}, "DialerTask", {"destination": "911888920"}),
        ("fresh", {}, "freshLeads", {"clientIds": ["911888920", "600123456", "911888921"]}),
        ("list", {}, "lists", {"clientIds": ["911888920", "600123456", "911888921"]}),
    ],
)
async def test_a_contact_goes_back_by_the_way_that_its_rule_names(
    how: str, more: dict[str, Any], function: str, said: dict[str, Any]
) -> None:
    async with instance(Simulated(load_seconds=0.0)) as (vendor, client):
        await dialer(client).respool(order(how, **more))
        [dial] = vendor.books.dials
        assert dial.function == function
        assert {name: dial.said.get(name) for name in said} == said


async def test_an_instance_of_the_newer_api_is_given_fresh_leads() -> None:
    async with instance(api="automation") as (vendor, client):
        await dialer(client).respool(order())
        assert [dial.function for dial in vendor.books.dials] == ["freshLeads"]


async def test_the_dialers_own_fields_go_back_as_they_came() -> None:
    async with instance() as (vendor, client):
        await dialer(client).respool(order("respool"))
        [dial] = vendor.books.dials
        kept = {name: dial.said[name] for name in ("campaign", "status", "contact", "dialerbase")}
        assert kept == {"campaign": "POWER<-", "status": 1, "contact": "77", "dialerbase": "base1"}
        with pytest.raises(Permanent, match="must not change"):
            await dialer(client).respool(order("respool", campaign="OTHER<-"))
        assert len(vendor.books.dials) == 1


async def test_a_list_counts_once_it_has_loaded() -> None:
    vendor = Simulated(load_seconds=0.3)
    async with instance(vendor) as (_, client):
        name = await dialer(client).respool(order("list"))
        assert name is not None
        assert await client.automation.list_state("POWER<-", name) == "inactive"


async def test_a_list_whose_answer_was_lost_is_looked_for_by_its_name() -> None:
    vendor = Simulated(load_seconds=0.1)
    vendor.moods.append("drop")
    async with instance(vendor) as (_, client):
        assert await dialer(client).respool(order("list")) is not None
        assert len(vendor.books.lists) == 1
    vendor = Simulated()
    vendor.moods.append("lose")
    async with instance(vendor) as (_, client):
        with pytest.raises(Doubtful, match="cannot be seen"):
            await dialer(client).respool(order("list"))


@pytest.mark.parametrize(
    ("mood", "error"),
    [
        ("zero", Refused),
        ("fail", Doubtful),
        ("html", Doubtful),
        ("drop", Doubtful),
        ("lose", Doubtful),
        ("empty", Doubtful),
        ("busy", RateLimited),
    ],
)
async def test_every_answer_says_whether_it_may_have_been_done(mood: Any, error: type[Exception]) -> None:
    vendor = Simulated()
    async with instance(vendor) as (_, client):
        vendor.moods.append(mood)
        with pytest.raises(error):
            await dialer(client).respool(order())


async def test_a_vendor_that_is_not_there_was_not_asked() -> None:
    async with serving(Simulated()) as url:
        pass
    async with asked(url, Simulated()) as client:
        with pytest.raises(NotSent):
            await dialer(client).respool(order())


async def test_a_missed_call_goes_to_ucontact_once_however_its_answer_is_lost(tmp_path: Path) -> None:
    vendor = Simulated()
    vendor.moods.append("drop")
    async with serving(vendor) as url:
        cloud = source(url, vendor).model_dump(exclude_unset=True, mode="json") | {
            "password": vendor.password,
            "tokens": ["T"],
            "api_token": vendor.api_token,
        }
        by = rule(dialer="cloud", campaign="POWER<-", delays=["0s"])
        configured = settings(tmp_path, "http://127.0.0.1:1/", by, sources={"cloud": cloud})
        assert isinstance(configured.sources["cloud"], UContactSource)
        async with at_work(configured, Infocu5()) as here:
            await here.seal(*[sealed(record("b", datetime.now(UTC)))] * 3)
            await here.respools(identity("test", "b"), lambda found: found and found[0].state == "unknown")
            assert [dial.destination for dial in vendor.books.dials] == ["911888920"]
            own = {"source": "cloud", "vendor": "ucontact", "disposition": "answered"}
            call = record("r", datetime.now(UTC), to="+34911888920", **own)
            await here.seal(sealed(call))
            [one] = await here.respools(identity("test", "b"), lambda found: found[0].state == "accepted")
            assert (one.report, one.outcome) == (call["call_id"], "answered")
    assert len(vendor.books.dials) == 1
    assert vendor.sessions == set()
