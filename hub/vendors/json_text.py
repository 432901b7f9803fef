"""JSON as vendors write it: a comma that nothing follows is dropped, and nothing that came is bent to fit. Pure."""

import json
import re
from typing import Any, Final

from hub.errors import Unusable

MAX_DEPTH: Final = 64
_DETAIL: Final = 200  # characters of a parser's complaint that an operator gets to read
_LONGEST_INTEGER: Final = 15  # digits that every reader of JSON keeps

# All up to a comma that nothing follows, strings whole; or that comma, which is dropped. Possessive, and in long runs:
# a hostile text is scanned once.
_TRAILING_COMMA: Final = re.compile(
    r"""((?: "(?:[^"\\]++|\\.)*+"? | [^",]++ | ,(?![ \t\r\n]*+[}\]]) )++) | ,""", re.DOTALL | re.VERBOSE
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

# Numbers stay the text that was sent: an id may have more digits than a float keeps, and a price is no binary fraction.
AS_TEXT: Final = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
"""Every number as its text."""

AS_NUMBERS: Final = json.JSONDecoder(
    parse_float=str, parse_int=lambda text: int(text) if len(text) <= _LONGEST_INTEGER else text, parse_constant=str
)
"""Integers as such, where they are not longer than everybody can keep."""


def undecodable(detail: str) -> Unusable:
    """Why a body cannot be read, shortened."""
    return Unusable("undecodable", detail[:_DETAIL])


def loads(text: str, decoder: json.JSONDecoder = AS_NUMBERS) -> Any:
    """The value of a JSON text.

    Raises:
        Unusable: ``undecodable``: malformed, or too deep.
    """
    try:
        return decoder.decode(text)
    except RecursionError:
        raise undecodable(f"the JSON is deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        complaint = undecodable(f"the JSON is malformed: {error}")
        if not text.startswith(("}", "]"), error.pos):  # where a trailing comma is noticed
            raise complaint from None
    try:
        return decoder.decode(_TRAILING_COMMA.sub(r"\1", text))
    except (RecursionError, json.JSONDecodeError):
        raise complaint from None


def storable(value: Any, depth: int = 1) -> Any:
    """A value without what databases cannot hold: NULs, halves of characters, more than 64 levels.

    Raises:
        Unusable: ``undecodable``: too deep.
    """
    if isinstance(value, str):
        return whole_text(value)
    if not isinstance(value, dict | list):
        return value
    if depth > MAX_DEPTH:
        raise undecodable(f"the JSON is deeper than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return [storable(member, depth + 1) for member in value]
    return {whole_text(name): storable(member, depth + 1) for name, member in value.items()}


def whole_text(text: str) -> str:
    """A text without NULs, a mark for each half of a character."""
    return _SURROGATE.sub("\ufffd", text.replace("\0", ""))
