"""The seam of Queries: a question that a live call asks, its reply, and who resolves it. Pure.

``hub.vendors`` reads questions and writes replies, ``hub.resolvers`` has the resolvers, ``hub.queries`` brings them
together inside the caller's wait.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from hub.errors import Unresolved

FINE: Final = "0"
"""The result that lets the call's script go on."""

FAILED: Final = "1"
"""The result that runs the script's own action for errors."""

_LONGEST_NAME: Final = 15
_MOST_VARIABLES: Final = 100
_LONGEST_VALUE: Final = 4096  # characters
_LONGEST_RESULT: Final = 40
_FIRST_PRINTABLE, _LAST_ASCII, _FIRST_LATIN, _LAST_LATIN = 0x20, 0x7E, 0xA0, 0xFF


@dataclass(frozen=True, slots=True)
class Question:
    """What a live call wants to know.

    Attributes:
        query: its name, as the vendor's console has it.
        call_id: of the call.
        source: name of the configured vendor connection.
        caller: ``{"number", "e164"}``, or ``{"withheld": True}``; None where it did not come.
        line: the number of ours, likewise.
        variables: of the call, by name.
    """

    query: str
    call_id: str
    source: str
    caller: Mapping[str, Any] | None = None
    line: Mapping[str, Any] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    def parameters(self) -> dict[str, str | None]:
        """Everything a statement or a table may ask for by name: the call's variables, and over them our own names."""
        return {
            **self.variables,
            "query": self.query,
            "call_id": self.call_id,
            "source": self.source,
            "caller": (self.caller or {}).get("number"),
            "caller_e164": (self.caller or {}).get("e164"),
            "line": (self.line or {}).get("number"),
            "line_e164": (self.line or {}).get("e164"),
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """What the call is told.

    Attributes:
        variables: set in the call.
        result: ``FINE``, or any other text: the script's action for errors.
        text: about the result; nobody but a person reads it.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    result: str = FINE
    text: str = ""


class Resolver(Protocol):
    """Somebody who answers questions. One for each configured resolver; ``open`` reaches out to nobody."""

    async def open(self) -> None:
        """Prepares; does not fail because the other side is down."""
        ...

    async def resolve(self, question: Question, within: float) -> Reply:
        """The reply, not checked yet; ends by itself after about ``within`` seconds.

        Raises:
            Unresolved: there is none, with the reason's word.
        """
        ...

    async def close(self) -> None:
        """Lets go of what ``open`` and ``resolve`` have taken."""
        ...


def checked(reply: Reply) -> Reply:
    """The reply, which the vendor can read. Raises Unresolved with the first thing that it could not."""
    if not 0 < len(reply.result) <= _LONGEST_RESULT or not printable(reply.result):
        raise Unresolved("invalid", f"the result is not 1 to {_LONGEST_RESULT} printable characters of ISO-8859-1")
    if len(reply.text) > _LONGEST_VALUE or not printable(reply.text):
        raise Unresolved("invalid", f"the text is not at most {_LONGEST_VALUE} printable characters of ISO-8859-1")
    if len(reply.variables) > _MOST_VARIABLES:
        raise Unresolved("invalid", f"{len(reply.variables)} variables came; expected at most {_MOST_VARIABLES}")
    for name, value in reply.variables.items():
        if not is_name(name):
            expected = f"1 to {_LONGEST_NAME} letters A-Z, a-z and digits"
            raise Unresolved("invalid", f"a variable is named {name[:40]!r}; expected {expected}")
        if len(value) > _LONGEST_VALUE or not printable(value):
            raise Unresolved(
                "invalid", f"the value of {name} is not at most {_LONGEST_VALUE} printable characters of ISO-8859-1"
            )
    return reply


def is_name(name: str) -> bool:
    """Whether a variable may be called so: ``[A-Za-z0-9]{1,15}``."""
    return 0 < len(name) <= _LONGEST_NAME and name.isascii() and name.isalnum()


def printable(text: str) -> bool:
    """Whether all of a text are printable characters of ISO-8859-1."""
    return all(
        _FIRST_PRINTABLE <= ord(letter) <= _LAST_ASCII or _FIRST_LATIN <= ord(letter) <= _LAST_LATIN for letter in text
    )
