"""What operators see of destinations: over HTTP, in a call's timeline, in the ledger."""

from pathlib import Path
from typing import Any

import orjson

from hub.simulator.crms.double import served
from tests.crm.office import destination, double
from tests.hub import ADMIN, configuration, fin, running, until

BEARER = {"Authorization": f"Bearer {ADMIN}"}


async def test_a_callback_ends_as_a_record_that_its_timeline_and_the_ledger_tell_of(tmp_path: Path) -> None:
    async with served(double("zoho")) as zoho, served(double("webhook")) as hook:
        tables = {"desk": destination("zoho", zoho, timeout=3), "shop": destination("webhook", hook, timeout=3)}
        settings = configuration(tmp_path, destinations=tables, egress={"allow": ["127.0.0.0/8"]})
        async with running(settings) as hub:
            answer = await hub.infocaller("fin", fin())
            assert answer.status == 200

            async def settled() -> Any:
                books = (await hub.read("/v1/ledger"))["workers"]["crm"]
                return books if books["settled"] >= 1 and books["in_flight"] == 0 else None

            books = await until(settled)
            assert books == {"accepted": 1, "settled": 1, "dead": 0, "in_flight": 0, "unaccounted": []}
            [record] = zoho.calls.all.values()
            timeline = await hub.read(f"/v1/calls/{record['Trunkline_Call_Id']}/timeline")
            steps = [(one["destination"], one["step"], one["outcome"]) for one in timeline["deliveries"]]
            assert sorted(steps) == [
                ("desk", "create_call", "done"),
                ("desk", "find_call", "done"),
                ("desk", "find_contact", "done"),
                ("shop", "post", "done"),
            ]
            listed = {one["name"]: one for one in (await hub.read("/v1/destinations"))["items"]}
            assert {name: (one["kind"], one["state"], one["done"], one["waiting"]) for name, one in listed.items()} == {
                "desk": ("zoho", "ok", 1, 0),
                "shop": ("webhook", "ok", 1, 0),
            }
            turns = (("disable", True, "disabled"), ("disable", False, "disabled"), ("enable", True, "ok"))
            for verb, changed, state in turns:
                url = hub.url / "v1" / "destinations" / "shop" / verb
                async with hub.session.post(url, headers=BEARER) as told:
                    assert orjson.loads(await told.read()) == {"name": "shop", "changed": changed}
                [shop] = [one for one in (await hub.read("/v1/destinations"))["items"] if one["name"] == "shop"]
                assert shop["state"] == state
            async with hub.session.post(hub.url / "v1/destinations/none/enable", headers=BEARER) as told:
                assert told.status == 404
