"""What a callback said that the vendor's pages do not: kept all the same, and counted. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from hub.vendors.infocaller.actions import NAMES
from hub.vendors.infocaller.wire import Tree, field
from hub.vendors.values import count

_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "UserID": frozenset({"LineNumber", "LineNumberInt", "CallSequence", "Signature"}),
    "Infocaller": frozenset(
        {
            *("CallType", "CallerNumber", "CallerNumberInt", "InboundNumber", "InboundNumberInt", "OutboundNumber"),
            *("OutboundNumberInt", "idcall", "CallSeconds", "StartDate", "EndDate", "CostRX", "CostTX"),
        }
    ),
    "Status": frozenset({"Events"}),
    "CustVars": frozenset({"CustVar"}),
}
_CALL_TYPES: Final = frozenset({"", "R", "E"})


def unknown(tree: Tree, events: list[Any]) -> tuple[str, ...]:
    """``field`` for each field or section, ``code`` for each EventType, ``value`` for a CallType that is not known."""
    sections = (name for name in tree if name not in _FIELDS)
    fields = (name for section, known in _FIELDS.items() for name in tree.get(section, ()) if name not in known)
    codes = (event for event in events if isinstance(event, dict) and count(field(event, "EventType")) not in NAMES)
    strange = field(tree.get("Infocaller", {}), "CallType").upper() not in _CALL_TYPES
    return (*("field" for _ in (*sections, *fields)), *("code" for _ in codes), *(("value",) if strange else ()))
