"""A CRM's fields out of a call's record, by templates that can do nothing but name fields. Pure.

``"{agent.name|queue|'nobody'} took {customer.e164}"``: names with dots in braces, alternatives after a bar, the last of
which may be a text in quotes. A braced name alone keeps its type. After a colon stands one of ``FORMATS``:
``{duration_seconds:mmss}``. ``{queue?}`` may be absent: alone its field is then left out, inside a text it is empty.
Any other name that a record lacks is an error that says so. ``{{`` and ``}}`` are braces.

Why not jinja2's sandbox: it runs loops and calls, so a template could still burn a worker's memory and time, and what
it refers to is only known when it runs. Here every name is known when the configuration is read.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from hub.errors import Permanent
from hub.events import moment
from hub.forwarding.wanting import MISSING, at

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_NAME: Final = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*")
_QUOTED: Final = re.compile(r"'([^']*)'")

_PARTY: Final = frozenset({"number", "e164", "withheld"})
_OPEN: Final = None
FIELDS: Final[Mapping[str, frozenset[str] | None]] = {
    **dict.fromkeys(
        ("call_id", "vendor", "source", "direction", "state", "disposition", "queue", "campaign", "list", "contact"),
        frozenset(),
    ),
    **dict.fromkeys(
        ("dial_id", "started_at", "answered_at", "ended_at", "duration_seconds", "talk_seconds", "revision"),
        frozenset(),
    ),
    **dict.fromkeys(("caller", "line", "callee", "customer"), _PARTY),
    "agent": frozenset({"name", "extension"}),
    "cost": frozenset({"received", "issued"}),
    "sealed": frozenset({"at", "verdict", "missing"}),
    "recording": frozenset({"id", "url", "state", "sha256", "bytes"}),
    **dict.fromkeys(("times", "legs", "actions", "variables", "recordings", "vendor_ids"), _OPEN),
}
"""What a record may have, and what is in it where that is known: ``customer`` is the outer party, ``recording`` the
newest stored one, both added for the templates."""


def _mmss(value: Any) -> str:
    minutes, seconds = divmod(_seconds(value), 60)
    return f"{minutes:02d}:{seconds:02d}"


def _seconds(value: Any) -> int:
    return max(0, int(float(value)))


def _date(value: Any) -> str:
    return moment(str(value)).date().isoformat()


def _iso(value: Any) -> str:
    """With an offset and without fractions, as Zoho wants it."""
    return moment(str(value)).astimezone(UTC).isoformat(timespec="seconds")


def _epoch_ms(value: Any) -> int:
    return (moment(str(value)) - datetime(1970, 1, 1, tzinfo=UTC)) // _MILLISECOND


_MILLISECOND: Final = datetime(1970, 1, 1, 0, 0, 0, 1000) - datetime(1970, 1, 1)  # noqa: DTZ001  a difference
FORMATS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "seconds": _seconds,
    "ms": lambda value: _seconds(value) * 1000,
    "mmss": _mmss,
    "date": _date,
    "iso": _iso,
    "epoch_ms": _epoch_ms,
    "upper": lambda value: str(value).upper(),
    "lower": lambda value: str(value).lower(),
    "text": str,
}
"""What may stand after a colon."""


@dataclass(frozen=True, slots=True)
class _Field:
    """One pair of braces."""

    names: tuple[str, ...]
    otherwise: str | None
    optional: bool
    form: str

    def value(self, record: Mapping[str, Any]) -> Any:
        """What it stands for; ``MISSING`` where it is optional and absent. Raises Permanent."""
        found = next((value for name in self.names if (value := at(record, name)) is not MISSING), MISSING)
        if found is MISSING:
            if self.otherwise is not None:
                return self.otherwise
            if self.optional:
                return MISSING
            raise Permanent(f"refers to {' | '.join(self.names)}, which this call does not have")
        if not self.form:
            return found
        try:
            return FORMATS[self.form](found)
        except (ValueError, TypeError, OverflowError):
            raise Permanent(f"{self.names[0]} is {str(found)[:40]!r}, which cannot be written as {self.form}") from None


class Template:
    """One field's template, taken apart.

    Args:
        text: as configured; what is no text stands for itself.
        known: names that the record may have.

    Raises:
        ValueError: it cannot be read, or refers to a name that no record has.
    """

    def __init__(self, text: Any, known: Mapping[str, frozenset[str] | None] = FIELDS) -> None:
        self._parts: list[str | _Field] = []
        self._constant = None if isinstance(text, str) else text
        if isinstance(text, str):
            for token in _TOKEN.finditer(text):
                self._parts.append(_part(token, known))
            self._parts = self._parts or [""]

    def __call__(self, record: Mapping[str, Any]) -> Any:
        """The field's value; ``MISSING`` leaves the field out. Raises Permanent with a reason."""
        if not self._parts:
            return self._constant
        if len(self._parts) == 1:
            [part] = self._parts
            return part if isinstance(part, str) else part.value(record)
        return "".join(part if isinstance(part, str) else _text(part.value(record)) for part in self._parts)


def filled(mapping: Mapping[str, Template], record: Mapping[str, Any]) -> dict[str, Any]:
    """Every field that has a value. Raises Permanent, naming the field."""
    fields: dict[str, Any] = {}
    for name, template in mapping.items():
        try:
            value = template(record)
        except Permanent as error:
            raise Permanent(f"mapping.{name} {error}") from None
        if value is not MISSING:
            fields[name] = value
    return fields


def seen(record: Mapping[str, Any], recording_url: Template | None = None) -> dict[str, Any]:
    """The record as templates see it: with ``customer``, and ``recording`` where one is stored.

    Args:
        record: with ``recording``, where the caller knows which one is the newest; else it is the last one stored.
        recording_url: what the recording's ``url`` is made of, in place of the one that it may have.
    """
    shown = dict(record)
    outer = record.get("callee") if record.get("direction") == "outbound" else record.get("caller")
    if outer:
        shown["customer"] = outer
    stored = [one for one in record.get("recordings", ()) if one.get("state") == "stored"]
    newest = record.get("recording") or (stored[-1] if stored else None)
    if newest is not None:
        shown["recording"] = dict(newest)
        if recording_url is not None:
            shown["recording"]["url"] = recording_url(shown)
    return shown


def _text(value: Any) -> str:
    return "" if value is MISSING else str(value)


def _part(token: re.Match[str], known: Mapping[str, frozenset[str] | None]) -> "str | _Field":
    text = token[0]
    if text in ("{{", "}}"):
        return text[0]
    if text in ("{", "}"):
        raise ValueError(f"a brace stands alone in it; expected {text * 2} for a brace, or {{name}}")
    return text if token[1] is None else _field(token[1], known)


def _field(inside: str, known: Mapping[str, frozenset[str] | None]) -> _Field:
    body, _, form = inside.rpartition(":") if ":" in inside else (inside, "", "")
    form = form.strip()
    if form and form not in FORMATS:
        raise ValueError(f"{{{inside}}}: expected one of {', '.join(FORMATS)} after the colon")
    words = [word.strip() for word in body.split("|")]
    quoted = _QUOTED.fullmatch(words[-1])
    if quoted and len(words) > 1:
        words.pop()
    optional = words[-1].endswith("?")
    words[-1] = words[-1].removesuffix("?")
    for word in words:
        _check(word, inside, known)
    return _Field(tuple(words), quoted[1] if quoted else None, optional, form)


def _check(name: str, inside: str, known: Mapping[str, frozenset[str] | None]) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{{{inside}}}: expected names with dots, alternatives after |, the last may be a 'text'")
    root, _, rest = name.partition(".")
    if root not in known:
        raise ValueError(f"{{{inside}}}: no call has a field {root}; expected one of {', '.join(sorted(known))}")
    inner = known[root]
    if inner is None:
        return
    if not inner and rest:
        raise ValueError(f"{{{inside}}}: {root} has no fields")
    if inner and rest not in inner:
        raise ValueError(f"{{{inside}}}: expected one of {', '.join(f'{root}.{one}' for one in sorted(inner))}")
