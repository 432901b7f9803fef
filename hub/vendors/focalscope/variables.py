"""The variables of a FocalScope callback: its query string and, where somebody posts them, a form. Pure."""

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from hub.errors import Unusable
from hub.ports import Callback
from hub.vendors.values import is_placeholder, read_query

_FORM: Final = "application/x-www-form-urlencoded"
_FORM_BYTES: Final = 32 * 1024  # the bound of a URL: the variables are the same
_REQUEST_ID: Final = re.compile("[1-9][0-9]*")
_NO_GUID: Final = str(UUID(int=0))
_NO_CALL_ID: Final = "0"


@dataclass(frozen=True, slots=True)
class Ids:
    """What identifies the call and its leg; empty where absent.

    Attributes:
        request: RequestID, where it is one: a positive integer without leading zeros.
        call: CallID; the ``0`` of a call without one is absent.
        guid: CallUUID in lower case; the nil UUID is absent.
    """

    request: str
    call: str
    guid: str

    @property
    def leg(self) -> str:
        """The leg's own id."""
        return self.guid or self.call


@dataclass(frozen=True, slots=True)
class Variables:
    """What was sent.

    Attributes:
        sent: by the name as it was sent, each different value once, empty ones too, in their order.
        known: by the name in lower case, the different values that say something: neither empty nor a placeholder.
    """

    sent: dict[str, tuple[str, ...]]
    known: dict[str, tuple[str, ...]]

    def get(self, name: str) -> str:
        """The variable's one value; empty where it has none, or several that contradict one another."""
        values = self.known.get(name.lower(), ())
        return values[0] if len(values) == 1 else ""

    def different(self, name: str) -> tuple[str, ...]:
        """All that was said under a name, in any case of its letters."""
        return self.known.get(name.lower(), ())

    def ids(self) -> Ids:
        """What identifies the call.

        Raises:
            Unusable: ``identity``, where one of the ids has two different values: either could be the right one.
        """
        request, call, guid = self._only("RequestID"), self._only("CallID"), self._only("Guid")
        return Ids(
            request=request if _REQUEST_ID.fullmatch(request) else "",
            call=call if call != _NO_CALL_ID else "",
            guid=guid if guid != _NO_GUID else "",
        )

    def _only(self, name: str) -> str:
        values = self.different(name)
        if len(values) > 1:
            raise Unusable("identity", f"the variable {name} has several values")
        return values[0] if values else ""


def read_variables(*texts: str) -> Variables:
    """Reads query strings, still percent-encoded, as one; never fails."""
    sent: dict[str, dict[str, None]] = {}
    known: dict[str, dict[str, None]] = {}
    for text in texts:
        for name, values in read_query(text).items():
            sent.setdefault(name, {}).update(dict.fromkeys(values))
            said = (_value(name.lower(), value) for value in values)
            known.setdefault(name.lower(), {}).update({value: None for value in said if value})
    return Variables(_frozen(sent), _frozen(known))


def read_body(callback: Callback) -> str | Unusable:
    """The form in the body as a query string, empty where there is no body; or why it cannot be read.

    The vendor sends GET. A gateway before us may make a form of it; nothing else can be made sense of.
    """
    body = callback.body.strip()
    media_type = callback.content_type.partition(";")[0].strip().lower()
    if body and media_type != _FORM:
        return Unusable("undecodable", f"a body of type {media_type[:40]!r}, expected none or a form")
    if len(body) > _FORM_BYTES:
        return Unusable("undecodable", f"a form of {len(body)} bytes, expected at most {_FORM_BYTES}")
    return body.decode("utf-8", "surrogateescape")


def _frozen(values: dict[str, dict[str, None]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(several) for name, several in values.items()}


def _value(name: str, value: str) -> str:
    text = value.strip()
    if is_placeholder(text):
        return ""
    if name == "guid":
        return text.lower()
    # A space before a number's digits is a plus that was not escaped.
    return f"+{text}" if name in ("callerid", "did") and value.startswith(" ") and text[:1].isdecimal() else text
