"""``trunkline vendor call``: every operation by its name, and one line for whatever is not one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson
import pytest

from hub.clients import CLIENTS
from hub.events import moment
from hub.simulator.infocu5 import Infocu5, made
from hub.vendors.infocu5.operations import OPERATIONS
from tests.cli.command import trunkline
from tests.cli.vendor import configured, infocu5

CARD: Final = "4111111111111111"
SINCE: Final = moment("2026-11-20T08:00:00Z")


@pytest.fixture
def vendor() -> Infocu5:
    return Infocu5(calls=made(1, 5, SINCE, moment("2026-11-20T09:00:00Z")))


@pytest.fixture
def place(home: Path, vendor: Infocu5) -> Iterator[Path]:
    with infocu5(vendor) as url:
        configured(home, vendor, url)
        yield home


def test_every_operation_prints_the_vendors_answer_as_json(place: Path, vendor: Infocu5) -> None:
    (place / "leads.json").write_text('[{"leadNameFirst": "Ana", "leadPhone": "8885551212"}]')
    given = {
        "getAgents": ["showAll=y"],
        "getCampaigns": [],
        "getCalls": ["dateStart=2026-11-20T08:00:00Z", "dateEnd=2026-11-20T09:00:00+00:00", "filterAgents=1001,1002"],
        "addLeads": ["dialerID=DI1111AA", "listID=1111", "leads=@leads.json", "listAutoPopulate=n"],
    }
    assert set(given) == set(OPERATIONS)
    for operation, parameters in given.items():
        said = trunkline("vendor", "call", "focu5", operation, *parameters, at=place)
        assert (said.status, said.err) == (0, ""), operation
        answer = orjson.loads(said.out)
        assert int(answer["responseCode"]) in (1, 340), operation
        assert vendor.affiliate_key not in said.out
    assert [function for function, _ in vendor.asked] == list(given)
    assert vendor.asked[2][1]["filterAgents"] == ["1001", "1002"]
    assert vendor.asked[3][1]["listAutoPopulate"] == "n"
    assert [lead["leadNameFirst"] for lead in vendor.leads] == ["Ana"]


def test_without_an_operation_all_are_listed(place: Path, vendor: Infocu5) -> None:
    said = trunkline("vendor", "call", "focu5", at=place)
    assert said.status == 0
    for operation in OPERATIONS.values():
        assert operation.doc in said.out
    assert "getCalls dateStart dateEnd [filterCampaigns] [filterAgents]" in said.lines
    assert vendor.asked == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["getShoes"], "operation: found 'getShoes'; expected one of getAgents, getCampaigns, getCalls, addLeads"),
        (["getAgents", "showAl=y"], "getAgents: found the parameter 'showAl'; expected showAll"),
        (["getAgents", "showAll=perhaps"], "getAgents: showAll is not what is expected: y or n"),
        (["getAgents", "y"], "getAgents: found a parameter without a name; expected KEY=VALUE"),
        (["getAgents", "showAll=y", "showAll=n"], "getAgents: found showAll twice; expected it once"),
        (["getCalls", "dateEnd=2026-11-20T09:00:00Z"], "getCalls: dateStart is missing; expected a time like"),
        (["getCalls", "dateStart=now", "dateEnd=now"], "getCalls: dateStart is not what is expected: a time like"),
        (["addLeads", "dialerID=a", "listID=b", "leads=[{"], "addLeads: leads is not what is expected: JSON"),
        (["addLeads", "dialerID=a", "listID=b", "leads=@no.json"], "leads: found @no.json; expected a file of JSON"),
    ],
)
def test_a_wrong_usage_is_one_line_and_exit_2_and_nothing_is_asked(
    place: Path, vendor: Infocu5, words: list[str], told: str
) -> None:
    said = trunkline("vendor", "call", "focu5", *words, at=place)
    assert (said.status, said.out) == (2, "")
    [line] = said.err.splitlines()
    assert line.startswith(f"trunkline: {told}")
    assert vendor.asked == []


def test_a_source_that_is_not_there_or_cannot_be_asked_is_one_line_and_exit_2(place: Path) -> None:
    unknown = trunkline("vendor", "call", "nobody", "getAgents", at=place)
    assert (unknown.status, unknown.err.count("\n")) == (2, 1)
    path = place / "trunkline.toml"
    path.write_text(path.read_text() + '[sources.quiet]\nvendor = "infocaller"\n')
    if "infocaller" not in CLIENTS:
        silent = trunkline("vendor", "call", "quiet", "getAgents", at=place)
        assert (silent.status, silent.err.count("\n")) == (2, 1)
        assert "sources.quiet" in silent.err


def test_a_payment_cards_number_is_refused_and_shown_nowhere(place: Path, vendor: Infocu5) -> None:
    where = ["dialerID=DI1111AA", "listID=1111"]
    inside = trunkline("vendor", "call", "focu5", "addLeads", *where, f'leads=[{{"leadCCNumber":"{CARD}"}}]', at=place)
    beside = trunkline("vendor", "call", "focu5", "addLeads", *where, f"leadCCNumber={CARD}", "leads=[]", at=place)
    assert (inside.status, beside.status) == (1, 2)
    assert "payment card" in inside.err
    assert CARD not in inside.err + inside.out + beside.err + beside.out
    assert (vendor.asked, vendor.cards) == ([], 0)


def test_a_refusal_of_the_vendor_is_one_line_and_exit_1(place: Path, vendor: Infocu5) -> None:
    vendor.moods.append("900")
    broken = trunkline("vendor", "call", "focu5", "getAgents", at=place)
    assert (broken.status, broken.out) == (1, "")
    assert "code 900" in broken.err
    secret = "e" * 32
    wrong = trunkline("vendor", "call", "focu5", "getAgents", at=place, TRUNKLINE_SOURCES__FOCU5__AFFILIATE_KEY=secret)
    assert wrong.status == 1
    assert "code 100" in wrong.err
    assert secret not in wrong.err
