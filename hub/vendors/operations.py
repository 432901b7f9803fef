"""What a vendor's client can be told to do by name: ``trunkline vendor call SOURCE OPERATION [key=value…]``.

Each client offers a table of operations; what stands in it can be called, listed and documented, and nothing else can.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeVar

import orjson

from hub.errors import ConfigurationError
from hub.events import moment

C = TypeVar("C")
Kind = Literal["text", "flag", "time", "list", "json", "file"]
Standing = Literal["verified", "documented", "assumed"]

EXPECTED: Final[Mapping[Kind, str]] = {
    "text": "text",
    "flag": "y or n",
    "time": "a time like 2026-11-20T09:15:30Z",
    "list": "values with commas between, or a JSON array",
    "json": "JSON",
    "file": "the name of a file",
}
_FLAGS: Final = {"y": True, "yes": True, "true": True, "1": True, "n": False, "no": False, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that an operation takes, by the vendor's own name for it.

    Attributes:
        default: what it is without the caller; None where it is left out.
    """

    name: str
    doc: str
    kind: Kind = "text"
    required: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True)
class Operation(Generic[C]):
    """Something that a client of kind ``C`` can be told to do.

    Attributes:
        name: as docs/vendors.md has it.
        doc: one sentence.
        standing: how sure it is that the vendor has it so: ``verified`` by its own sample, ``documented``, ``assumed``.
        run: does it with the values of ``parameters``, every one of them by name; the answer is ready for JSON.
        changes: whether it changes something at the vendor.
    """

    name: str
    doc: str
    standing: Standing
    run: Callable[[C, Mapping[str, Any]], Awaitable[Any]]
    parameters: tuple[Parameter, ...] = ()
    changes: bool = False

    def read(self, given: Mapping[str, str]) -> dict[str, Any]:
        """The values of its parameters out of texts. Raises ConfigurationError with one line, never with a value."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                expected = ", ".join(known) or "none"
                raise ConfigurationError(f"{self.name}: found the parameter {name[:40]!r}; expected {expected}")
        values = {}
        for name, parameter in known.items():
            if name in given:
                values[name] = self._value(parameter, given[name])
            elif parameter.required:
                raise ConfigurationError(f"{self.name}: {name} is missing; expected {EXPECTED[parameter.kind]}")
            else:
                values[name] = parameter.default
        return values

    def _value(self, parameter: Parameter, text: str) -> Any:
        try:
            return _READ[parameter.kind](text)
        except (ValueError, KeyError):
            expected = EXPECTED[parameter.kind]
            raise ConfigurationError(f"{self.name}: {parameter.name} is not what is expected: {expected}") from None


async def _nothing() -> None:
    """For a client that has nothing to say at its end."""


@dataclass(frozen=True, slots=True)
class Desk(Generic[C]):
    """A vendor's client for one source, and what it can be told to do.

    Attributes:
        client: whom operations are run with.
        operations: by their names.
        close: ends what the client has begun, for instance its session.
    """

    client: C
    operations: Mapping[str, Operation[C]]
    close: Callable[[], Awaitable[None]] = _nothing


def table(operations: Sequence[Operation[C]]) -> dict[str, Operation[C]]:
    """Operations by their names."""
    return {operation.name: operation for operation in operations}


def _list(text: str) -> list[str]:
    if text.lstrip().startswith("["):
        found = orjson.loads(text)
        return [str(one) for one in found]
    return [part.strip() for part in text.split(",") if part.strip()]


def _time(text: str) -> datetime:
    return moment(text)


_READ: Final[Mapping[Kind, Callable[[str], Any]]] = {
    "text": str,
    "flag": lambda text: _FLAGS[text.strip().lower()],
    "time": _time,
    "list": _list,
    "json": orjson.loads,
    "file": Path,
}
