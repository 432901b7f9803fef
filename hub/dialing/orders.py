"""What somebody wants dialled: the body of ``POST /v1/dial``, checked as far as no vendor is concerned. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import orjson

from hub.errors import Unacceptable

KEYS: Final = ("source", "destination", "agent", "caller_number", "campaign", "variables")
LONGEST_KEY: Final = 255
"""Characters of an idempotency key: AMQP's ``message_id`` has no more."""

_ORNAMENTS: Final = str.maketrans("", "", " -./()")
_NUMBER: Final = re.compile(r"\+?[0-9]{2,20}")
_LONGEST_TEXT: Final = 100
_LONGEST_VALUE: Final = 4000
_MOST_VARIABLES: Final = 100
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Order:
    """A call that is to be placed.

    Attributes:
        source: the configured vendor connection that places it.
        destination: digits, with a ``+`` before an international number.
        agent: who is to talk, by the vendor's own name or extension; empty where nobody is named, like the others.
        caller_number: what the called party is shown; digits as ``destination``.
        campaign: by the vendor's own name.
        variables: for the call, by their names.
    """

    source: str
    destination: str
    agent: str = ""
    caller_number: str = ""
    campaign: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """As the body has it, without what is empty."""
        every: dict[str, Any] = {name: getattr(self, name) for name in KEYS}
        every["variables"] = dict(sorted(self.variables.items()))
        return {name: value for name, value in every.items() if value}

    def digest(self) -> str:
        """The same for the same order, however it was written."""
        return sha256(orjson.dumps(self.shown(), option=orjson.OPT_SORT_KEYS)).hexdigest()


def parsed(body: bytes) -> Order:
    """The order in a body. Raises Unacceptable."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unacceptable(f"the body is not JSON: {error}") from None
    return order_of(data)


def order_of(data: Any) -> Order:
    """The order in a JSON value. Raises Unacceptable with the key, what was found, what is expected."""
    if not isinstance(data, Mapping):
        raise Unacceptable(f"the body is a JSON {type(data).__name__}, expected an object")
    for name in data:
        if name not in KEYS:
            raise Unacceptable(f"{_shown(name)}: unknown key, expected one of {', '.join(KEYS)}")
    given = {name: value for name, value in data.items() if value is not None}
    return Order(
        source=_text(given, "source", required=True),
        destination=_number(given, "destination", required=True),
        agent=_text(given, "agent"),
        caller_number=_number(given, "caller_number"),
        campaign=_text(given, "campaign"),
        variables=_variables(given.get("variables", {})),
    )


def checked_key(key: str) -> str:
    """An idempotency key: 1 to 255 visible characters of ASCII, and spaces between. Raises Unacceptable."""
    text = key.strip()
    if not 0 < len(text) <= LONGEST_KEY or not (text.isascii() and text.isprintable()):
        raise Unacceptable(f"the idempotency key has to be 1 to {LONGEST_KEY} printable characters of ASCII")
    return text


def _shown(name: object) -> str:
    """A stranger's key on one line."""
    text = str(name)[:_SHOWN]
    return text if text.isprintable() and text else repr(text)


def _text(given: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    value = given.get(name, "")
    if not isinstance(value, str):
        raise Unacceptable(f"{name} is a JSON {type(value).__name__}, expected a string")
    text = value.strip()
    if required and not text:
        raise Unacceptable(f"{name} is missing, expected {_EXPECTED[name]}")
    if len(text) > _LONGEST_TEXT or not text.isprintable():
        raise Unacceptable(f"{name} is {text[:_SHOWN]!r}, expected at most {_LONGEST_TEXT} printable characters")
    return text


def _number(given: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    text = _text(given, name, required=required)
    number = text.translate(_ORNAMENTS)
    if text and not _NUMBER.fullmatch(number):
        raise Unacceptable(f"{name} is {text[:_SHOWN]!r}, expected {_EXPECTED[name]}")
    return number


_EXPECTED: Final = {
    "source": "the name of a source",
    "destination": "a number: 2 to 20 digits, + before an international one",
    "caller_number": "a number: 2 to 20 digits, + before an international one",
}


def _variables(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise Unacceptable(f"variables is a JSON {type(value).__name__}, expected an object")
    if len(value) > _MOST_VARIABLES:
        raise Unacceptable(f"variables has {len(value)} entries, expected at most {_MOST_VARIABLES}")
    for name, text in value.items():
        if not isinstance(text, str):
            kind = type(text).__name__
            raise Unacceptable(f"variables.{_shown(name)} is a JSON {kind}, expected a string")
        if len(text) > _LONGEST_VALUE or "\0" in text or "\0" in name or not 0 < len(name) <= _LONGEST_TEXT:
            raise Unacceptable(
                f"variables.{_shown(name)} cannot be sent: expected a name of at most {_LONGEST_TEXT} "
                f"characters, a value of at most {_LONGEST_VALUE}, and no NUL"
            )
    return dict(value)
