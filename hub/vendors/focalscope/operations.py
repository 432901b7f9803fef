"""FocalScope's operations by name, for ``trunkline vendor call``."""

from collections.abc import Mapping
from typing import Any, Final

from hub.dialing.orders import order_of
from hub.vendors.focalscope.dialing import DialClient
from hub.vendors.operations import Operation, Parameter, table


async def _dial(client: DialClient, given: Mapping[str, Any]) -> Any:
    order = order_of({"source": "vendor-call", **{_KEYS.get(name, name): value for name, value in given.items()}})
    number, text = await client.ask(order)
    return {"RequestID": int(number), "answer": text}


_KEYS: Final = {"number": "destination"}

OPERATIONS: Final = table(
    (
        Operation(
            "dial",
            "Ring an agent, then a number.",
            "assumed",
            _dial,
            (
                Parameter("number", "to be dialled, with the prefix of its outbound queue", required=True),
                Parameter("agent", "who is rung first"),
                Parameter("caller_number", "for a template that names it"),
                Parameter("campaign", "for a template that names it"),
                Parameter("variables", "an object, for a template that names them", "json"),
            ),
            changes=True,
        ),
    )
)
