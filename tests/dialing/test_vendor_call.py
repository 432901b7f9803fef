"""``trunkline vendor call`` and ``trunkline dial``, as their user runs them."""

import asyncio
import re
from pathlib import Path

import pytest

from hub.clients import CLIENTS, asking, make_client
from hub.simulator.dialling import FocalScopeServer, InfocallerOutbound, play, serving
from hub.vendors.focalscope.operations import OPERATIONS as FOCALSCOPE
from hub.vendors.infocaller.operations import OPERATIONS as INFOCALLER
from tests.cli.command import Said, trunkline
from tests.dialing.desk import DESK, LINK, NUMBER, settings_for
from tests.docs.reading import code, document, table
from tests.hub import LINE, PASSWORD, until
from tests.process.site import Site, site

PAGE = document("dialing.md")


async def test_both_vendors_can_be_told_to_dial_by_hand(tmp_path: Path) -> None:
    focalscope, infocaller = FocalScopeServer(), InfocallerOutbound(lines={LINE: PASSWORD}, form="json")
    async with serving(focalscope) as one, serving(infocaller) as other:
        settings = settings_for(tmp_path, one, other, {})
        async with asking(settings) as outgoing:
            desk = make_client("desk", settings.sources["desk"], outgoing)
            given = desk.operations["dial"].read({"number": NUMBER, "agent": "1001"})
            assert await desk.operations["dial"].run(desk.client, given) == {
                "RequestID": 513,
                "answer": "{RequestID:513}",
            }
            line = make_client("line-900", settings.sources["line-900"], outgoing)
            request = line.operations["callRequest"]
            asked = {"numtelefono": "911888920", "gruporeglas": "G", "CustVars": '{"PEDIDO": "2"}'}
            answer = await request.run(line.client, request.read(asked))
    assert (answer["Result"], answer["idcall"]) == ("0", "700001")
    assert [one.variables for one in infocaller.placed] == [{"PEDIDO": "2"}]


@pytest.mark.parametrize(("vendor", "operations"), [("infocaller", INFOCALLER), ("focalscope", FOCALSCOPE)])
def test_every_operation_is_described_with_its_parameters_and_its_standing(vendor: str, operations: object) -> None:
    rows = table(document("vendors.md"), f"operation of {vendor}", "parameters")
    told = {code(row[0])[0]: (code(row[1]), row[3].partition(":")[0]) for row in rows}
    assert isinstance(operations, dict)
    assert vendor in CLIENTS
    assert told == {name: ([one.name for one in each.parameters], each.standing) for name, each in operations.items()}


async def test_the_command_prints_what_came_of_it_and_explain_shows_the_calls_dial(tmp_path: Path) -> None:
    server = FocalScopeServer()
    async with site(tmp_path) as here, serving(server) as url:
        here.configure(**{"sources.desk": {"dial_url": url + LINK}}, egress={"allow": ["127.0.0.0/8"]})
        here.start("up")
        await here.ready()
        said = await command(here, "dial", "desk", NUMBER, "--agent", "1001", "--key", "order-78", "--wait", "30")
        assert (said.status, said.err) == (0, "")
        found = re.fullmatch(r"(\S+) accepted\n  request_id +513\n  call_id +(\S+)\n", said.out)
        assert found is not None, said.out
        again = await command(here, "dial", "desk", NUMBER, "--agent", "1001", "--key", "order-78")
        assert (again.status, again.out) == (0, said.out)
        other = await command(here, "dial", "desk", "911", "--agent", "1001", "--key", "order-78")
        assert (other.status, other.err.count("\n")) == (1, 1)
        server.moods.append("404")
        refused = await command(here, "dial", "desk", NUMBER, "--agent", "1001", "--wait", "30")
        assert refused.status == 1
        assert " failed\n" in refused.out
        wrong = await command(here, "dial", "line", NUMBER)
        assert (wrong.status, wrong.err.count("\n")) == (2, 1)
        assert "expected one that can place calls: desk, line-900" in wrong.err
        bad = await command(here, "dial", "desk", NUMBER, "--var", "x")
        assert (bad.status, bad.err) == (2, "trunkline: --var: found 'x'; expected NAME=VALUE\n")
        await play(server.call(server.placed[0], DESK), here.url)

        async def explained() -> Said | None:
            shown = await command(here, "explain", found[2])
            return shown if "call.answered" in shown.out and "dial.accepted" in shown.out else None

        shown = await until(explained)
        assert f"{found[1]}\n             accepted: desk to {NUMBER} for 1001, attempts 1\n" in shown.out
        alone = await command(here, "explain", found[1])
        assert (alone.status, "request 513" in alone.out) == (0, True)
    assert len(server.placed) == 1


async def command(here: Site, *words: str) -> Said:
    return await asyncio.to_thread(trunkline, *words, at=here.directory)


def test_the_pages_command_is_one() -> None:
    assert "trunkline dial desk +34911888920 --agent 1001 --key order-78" in PAGE
