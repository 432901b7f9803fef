"""The variables that Infocaller writes into the URL of an event. Source: docs/vendors.md, "Infocaller: events"."""

from dataclasses import dataclass
from typing import Final

from hub.errors import Unusable
from hub.vendors.values import is_placeholder, read_query

EVENT: Final = "eve"
IDENTIFYING: Final = ("id", "uuid", "num")


@dataclass(frozen=True, slots=True)
class Variables:
    """What the URL said; empty values and unsubstituted placeholders are not there.

    Attributes:
        events: the different values of ``eve``, in lower case.
        all: every other variable by its own name: a text, or a list of the different texts where it came with several.
        sent: every variable as it came, decoded, empty ones and placeholders too.
    """

    events: tuple[str, ...]
    all: dict[str, str | list[str]]
    sent: dict[str, str | list[str]]

    def get(self, name: str) -> str:
        """The variable's one value; empty where it has none, or several that contradict one another."""
        value = self.all.get(name, "")
        return value if isinstance(value, str) else ""

    def identity(self) -> tuple[str, str, str]:
        """``id``, ``uuid`` and ``num``; empty where absent.

        Raises:
            Unusable: ``identity``, where one of them has two different values.
        """
        values = []
        for name in IDENTIFYING:
            value = self.all.get(name, "")
            if not isinstance(value, str):
                raise Unusable("identity", f"the URL variable {name} has several values")
            values.append(value)
        number, uuid, line = values
        return number, uuid, line


def read_variables(query: str) -> Variables:
    """Reads a query string, still percent-encoded; never fails."""
    events: tuple[str, ...] = ()
    variables: dict[str, str | list[str]] = {}
    came = read_query(query)
    for name, sent in came.items():
        values = [_value(name, value) for value in sent]
        different = list(dict.fromkeys(value for value in values if value and not is_placeholder(value)))
        if name == EVENT:
            events = tuple(dict.fromkeys(value.lower() for value in different))
        elif different:
            variables[name] = different[0] if len(different) == 1 else different
    return Variables(events, variables, {name: sent[0] if len(sent) == 1 else sent for name, sent in came.items()})


def _value(name: str, value: str) -> str:
    text = value.strip()
    # A space before a caller's digits is a plus that was not escaped.
    return f"+{text}" if name == "caller" and value.startswith(" ") and text[:1].isdecimal() else text
