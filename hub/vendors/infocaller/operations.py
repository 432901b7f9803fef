"""Infocaller's operations by name, for ``trunkline vendor call``. A parameter is called as the vendor calls it."""

from collections.abc import Mapping
from typing import Any, Final

from hub.dialing.orders import order_of
from hub.vendors.infocaller.outbound import Outbound
from hub.vendors.operations import Operation, Parameter, table

_KEYS: Final = {
    "numtelefono": "destination",
    "gruporeglas": "campaign",
    "idinfocaller": "caller_number",
    "CustVars": "variables",
}


async def _call_request(client: Outbound, given: Mapping[str, Any]) -> Any:
    order = order_of({"source": "vendor-call", **{_KEYS[name]: value for name, value in given.items()}})
    said, text = await client.ask(order)
    return {"Result": said.result, "idcall": said.idcall, "Text": said.text, "answer": text}


OPERATIONS: Final = table(
    (
        Operation(
            "callRequest",
            "Have a call issued, and given to a rule group.",
            "documented",
            _call_request,
            (
                Parameter(
                    "numtelefono", "to be called; with + and the country, or of the service's own", required=True
                ),
                Parameter("gruporeglas", "the rule group; the configured one without it"),
                Parameter("idinfocaller", "the line; the source's only one without it"),
                Parameter("CustVars", "an object of variables", "json"),
            ),
            changes=True,
        ),
    )
)
