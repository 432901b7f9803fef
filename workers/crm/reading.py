"""What an answer of a CRM says, where its status alone does not. Pure."""

from typing import Any

import orjson

from hub.errors import Doubtful, Refused
from hub.outgoing import Answer, excerpt


def table(answer: Answer) -> dict[str, Any]:
    """The JSON object of an answer.

    Raises:
        Doubtful: it is none: a login page, a proxy's greeting, half of something.
    """
    found = _json(answer)
    if not isinstance(found, dict):
        raise Doubtful(f"{answer.status} with what is no JSON object: {excerpt(answer.body)}")
    return found


def identifier(value: Any, answer: Answer) -> str:
    """The id of what was made. Raises Doubtful where there is none: it may be there all the same."""
    if not isinstance(value, str | int) or isinstance(value, bool) or not str(value):
        raise Doubtful(f"{answer.status} without an id: {excerpt(answer.body)}")
    return str(value)


def refusal(answer: Answer, what: str = "an error") -> Refused:
    """A success in name with an error inside."""
    return Refused(answer.status, f"{answer.status} with {what} inside: {excerpt(answer.body)}")


def _json(answer: Answer) -> Any:
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
