"""Who a call is between, and the variables of its script: what callbacks and Queries say alike. Pure."""

from typing import Any, Final

from hub.vendors.infocaller.wire import Tree, field
from hub.vendors.values import phone

_WITHHELD: Final = "X"


def call_type(infocaller: Tree) -> str:
    """``R``, received; ``E``, issued; or what came in their place."""
    return field(infocaller, "CallType").upper()


def caller(infocaller: Tree, country: str, told: str = "") -> dict[str, Any] | None:
    """Who calls; ``told`` is what the URL says, for a request whose body does not."""
    number = field(infocaller, "CallerNumber")
    international = field(infocaller, "CallerNumberInt")
    if not number and not international:
        number = told
    if (number or international).upper() == _WITHHELD:
        return {"withheld": True}
    return _phone(number, international, country)


def line(tree: Tree, country: str, told: str = "") -> dict[str, Any] | None:
    """The number of ours: the one called, or the one calling; the line's main number where neither came."""
    infocaller, user = tree.get("Infocaller", {}), tree.get("UserID", {})
    own = {"R": "InboundNumber", "E": "CallerNumber"}.get(call_type(infocaller))
    if own and (field(infocaller, own) or field(infocaller, f"{own}Int")):
        return _phone(field(infocaller, own), field(infocaller, f"{own}Int"), country)
    if user:
        return _phone(field(user, "LineNumber"), field(user, "LineNumberInt"), country)
    return _phone(told, "", country)


def callee(infocaller: Tree, country: str) -> dict[str, Any] | None:
    """Who is called, of an issued call."""
    if call_type(infocaller) != "E":
        return None
    return _phone(field(infocaller, "OutboundNumber"), field(infocaller, "OutboundNumberInt"), country)


def user_variables(tree: Tree) -> dict[str, str]:
    """The user's variables; one that came without a value has been emptied, which is worth knowing."""
    variables = (item for item in tree.get("CustVars", {}).get("CustVar", ()) if isinstance(item, dict))
    named = {
        field(item, "VarName"): field(item, "VarValue") for item in variables if "VarName" in item and _plain(item)
    }
    named.pop("", None)
    return named


def _plain(variable: Tree) -> bool:
    """Whether a variable's value is a text: what a stranger nests there is kept, and no value of ours."""
    return not isinstance(variable.get("VarValue", ""), dict | list) or bool(field(variable, "VarValue"))


def _phone(number: str, international: str, country: str) -> dict[str, Any] | None:
    if not number and not international:
        return None
    return phone(number or international, international, country=country)
