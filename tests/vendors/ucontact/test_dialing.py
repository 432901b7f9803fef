"""Orders as uContact's AgentCall, and through a whole hub."""

from pathlib import Path
from typing import Any

import pytest

from hub.dialing.orders import Order
from hub.errors import Unacceptable
from hub.events import identity
from hub.simulator.ucontact import UContact, serving
from hub.vendors.ucontact.dialing import AgentCall
from tests.dialing.desk import NUMBER, Office
from tests.hub import configuration, running, until

CALL = {"caller_number": "911222333", "campaign": "Ventas->", "tech": "SIP", "context": "agentes"}


def call(**more: Any) -> AgentCall:
    return AgentCall(**{"extensions": {"Ana": "1001"}, **CALL, **more})


def test_an_order_is_all_seven_parameters_and_may_replace_what_is_configured() -> None:
    configured = {"agent": "Ana", "phone": "1001", "callerid": "911222333", "outqueue": "Ventas->"}
    assert call().parameters(Order("cloud", NUMBER, agent="Ana")) == configured | {"tech": "SIP", "context": "agentes"}
    order = Order("cloud", NUMBER, "Luis", "600", "Otra->", {"phone": "1002", "tech": "IAX", "context": "agents"})
    assert call().parameters(order) == {
        "agent": "Luis",
        "phone": "1002",
        "callerid": "600",
        "outqueue": "Otra->",
        "tech": "IAX",
        "context": "agents",
    }


@pytest.mark.parametrize(
    ("more", "order", "reason"),
    [
        ({}, Order("cloud", NUMBER), "agent is missing"),
        ({}, Order("cloud", NUMBER, agent="Luis"), "agent has no extension"),
        ({"caller_number": None}, Order("cloud", NUMBER, agent="Ana"), "caller_number is missing"),
        ({"campaign": None}, Order("cloud", NUMBER, agent="Ana"), "campaign is missing"),
        ({}, Order("cloud", NUMBER, agent="Ana", variables={"PEDIDO": "1"}), "variables.'PEDIDO'"),
    ],
)
def test_what_agent_call_would_lack_is_said_before_it_is_asked(more: Any, order: Order, reason: str) -> None:
    with pytest.raises(Unacceptable, match=reason):
        call(**more).check(order)


async def test_a_call_is_placed_once_and_named_after_its_guid_and_zero_is_a_failure(tmp_path: Path) -> None:
    vendor = UContact()
    async with serving(vendor) as url:
        cloud: dict[str, Any] = {
            "vendor": "ucontact",
            "base_url": url,
            "user": vendor.user,
            "password": vendor.password,
        }
        cloud |= {"extensions": {"Ana": "1001"}, "caller_number": "911222333", "campaign": "Ventas->", "timeout": 1}
        settings = configuration(tmp_path, sources={"cloud": cloud}, egress={"allow": ["127.0.0.0/8"]})
        async with running(settings) as hub:
            desk = Office(hub, None, None)  # type: ignore[arg-type]  # the other vendors are not here
            told = await desk.becomes(await desk.dial("cloud", agent="Ana"), "accepted")
            [guid] = vendor.books.calls
            assert told["request_id"] == guid
            assert told["call_id"] == identity("ucontact", "cloud", guid)

            async def recorded() -> bool:
                found = {one["call_id"]: one for one in await hub.calls()}
                return bool(found.get(told["call_id"], {}).get("dial_id") == told["dial_id"])

            await until(recorded)
            vendor.moods.append("zero")
            assert (await desk.becomes(await desk.dial("cloud", agent="Ana"), "failed"))["reason"]
            vendor.moods.append("drop")
            told = await desk.becomes(await desk.dial("cloud", agent="Ana"), "unknown")
            assert told["attempts"] == 1
    assert len(vendor.books.calls) == 2
