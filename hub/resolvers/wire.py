"""A question and its reply as JSON: what an HTTP service and a consumer of the queue see alike. Pure."""

from typing import Any

import orjson

from hub.errors import Unresolved
from hub.questions import FINE, Question, Reply

_KNOWN = frozenset({"variables", "result", "text"})


def asked(question: Question) -> bytes:
    """``{"query", "call_id", "source", "caller", "line", "variables"}``; ``{}`` for a party that is not known."""
    return orjson.dumps(
        {
            "query": question.query,
            "call_id": question.call_id,
            "source": question.source,
            "caller": question.caller or {},
            "line": question.line or {},
            "variables": question.variables,
        }
    )


def answered(body: bytes) -> Reply:
    """The reply in ``{"variables": {"PEDIDO": "2"}, "result": "0", "text": ""}``, of which only the first is required.

    Raises:
        Unresolved: ``invalid``: it is anything else.
    """
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unresolved("invalid", f"the answer is not JSON: {error}") from None
    if not isinstance(told, dict):
        raise Unresolved("invalid", "the answer is no JSON object")
    result = _text(told, "result", FINE)
    variables = told.get("variables", {} if result != FINE else None)
    if not isinstance(variables, dict):
        raise Unresolved("invalid", "the answer has no object variables")
    for name, value in variables.items():
        if not isinstance(value, str):
            raise Unresolved("invalid", f"the value of {name[:40]!r} is no string")
    if strange := told.keys() - _KNOWN:
        raise Unresolved("invalid", f"the answer has {min(strange)[:40]!r}; expected variables, result, text")
    return Reply(variables, result, _text(told, "text", ""))


def _text(told: dict[str, Any], name: str, default: str) -> str:
    value = told.get(name, default)
    if not isinstance(value, str):
        raise Unresolved("invalid", f"{name} is no string")
    return value
