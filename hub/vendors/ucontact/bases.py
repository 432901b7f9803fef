"""Lists of numbers for a dialer ("bases"), out of CSV: every row is checked before anything is sent. Pure.

Source: docs/vendors.md, chapter 4. The vendor's file has no header, ``;`` between and at the end of each record, and no
escapes. Ours may be that file, or any CSV whose header names the columns.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Final

from hub.errors import Permanent

COLUMNS: Final = ("campaign", "destination", "parAndVals", "alternatives", "priority", "agent")
"""Of a record, in its order."""

ORDINARY: Final = "9999"
"""The priority that samples use; 1 is the highest."""

PART: Final = 5000
"""Records in one request, where nobody says otherwise."""

_SPELLED: Final[Mapping[str, str]] = {
    **{name.lower(): name for name in COLUMNS},
    "data": "parAndVals",
    "number": "destination",
    "phone": "destination",
}
_LONGEST_NAME: Final = 50
_NAME: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{_LONGEST_NAME}}}")
_NUMBER: Final = re.compile(r"\+?[0-9*#]{3,32}")
_ALTERNATIVE: Final = re.compile(r"(?:[A-Za-z]{1,2}=[0-9]{1,4}=)?\+?[0-9*#]{3,32}")
_PAIR: Final = re.compile(r"[^:=;'#\r\n]+=[^:=;'#\r\n]*")
_AGENT: Final = re.compile(r"[A-Za-z0-9_.-]{0,32}")
_ARROWS: Final = ("->", "<-")
_STATE: Final = re.compile(r"[A-Z]{2}")
_SHOWN: Final = 40
_TOLD: Final = 20


@dataclass(frozen=True, slots=True)
class Slip:
    """What is wrong with a value.

    Attributes:
        line: of the file, from 1.
        column: by its name.
        found: what stands there, shortened; of a number only its length.
        expected: what may.
    """

    line: int
    column: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column}: found {self.found}; expected {self.expected}"


@dataclass(slots=True)
class Base:
    """A file that was read.

    Attributes:
        records: as the vendor has them, one text each, without a line's end.
        lines: of the file, one for each record.
        slips: all that is wrong; nothing may be sent while there is one.
    """

    records: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    slips: list[Slip] = field(default_factory=list)

    def checked(self) -> "Base":
        """Itself. Raises Permanent where something is wrong, with a line for each of the first slips."""
        if self.slips:
            more = f"\n… and {len(self.slips) - _TOLD} more" if len(self.slips) > _TOLD else ""
            told = "\n".join(map(str, self.slips[:_TOLD]))
            raise Permanent(f"{len(self.slips)} values cannot be sent, nothing was:\n{told}{more}")
        if not self.records:
            raise Permanent("the file has no record; expected one or more")
        return self

    def parts(self, size: int = PART) -> Iterator["Part"]:
        """The records in parts of at most ``size``, one request each."""
        for number, at in enumerate(range(0, len(self.records), size), 1):
            records, lines = self.records[at : at + size], self.lines[at : at + size]
            yield Part(number, lines[0], lines[-1], len(records), "".join(f"{record}\n" for record in records))


@dataclass(frozen=True, slots=True)
class Part:
    """Records that go in one request.

    Attributes:
        number: from 1.
        first: line of the file of the first record; ``last`` of the last.
        rows: how many.
        content: the vendor's file.
    """

    number: int
    first: int
    last: int
    rows: int
    content: str


def list_name(name: str, part: int | None = None) -> str:
    """The name of a list's file, ``june_1.csv``. Raises Permanent for one that the vendor does not take."""
    plain = name.removesuffix(".csv")
    whole = plain if part is None else f"{plain}_{part}"
    if not _NAME.fullmatch(whole) or whole.startswith("R"):
        raise Permanent(
            f"name: found {whole[:60]!r}; expected letters, digits, '_' and '-', at most {_LONGEST_NAME}, no R at first"
        )
    return f"{whole}.csv"


def read_base(
    text: str,
    *,
    campaign: str | None = None,
    timezones: bool = False,
    state: str = "state",
    tell: Callable[[int], None] = lambda _: None,
) -> Base:
    """Reads a file, and checks every value of it.

    Args:
        text: the whole file, with a header that names its columns or without one in the vendor's order; ``;`` or ``,``
            between.
        campaign: of every record; each may say it too, and none another. Without it each says its own, all the same.
        timezones: for the upload with time zones: every record says its ``state``.
        state: the variable that a zone is told by.
        tell: hears of the lines done.

    Returns:
        The records, and all that is wrong.
    """
    base = Base()
    rows = csv.reader(StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=_delimiter(text), strict=True)
    header: Sequence[str] | None = None
    wanted = campaign
    try:
        for row in rows:
            tell(rows.line_num)
            if not any(value.strip() for value in row):
                continue
            if header is None:
                header = _header(row)
                if header:
                    base.slips += _misnamed(header, rows.line_num)
                    continue
            record = _record(header or COLUMNS, row, wanted)
            wanted = wanted or record["campaign"]
            base.slips += _too_wide(row, header, rows.line_num)
            base.slips += _slips(record, rows.line_num, wanted, state if timezones else None)
            base.records.append(_written(record))
            base.lines.append(rows.line_num)
    except csv.Error as error:
        base.slips.append(Slip(rows.line_num, "row", str(error), "a record on one line"))
    return base


def _delimiter(text: str) -> str:
    first = text.partition("\n")[0]
    return ";" if ";" in first else ","


def _header(row: Sequence[str]) -> tuple[str, ...]:
    """The columns that a first line names; empty where it is a record."""
    names = [value.strip().lower() for value in row]
    if "destination" not in {_SPELLED.get(name) for name in names}:
        return ()
    while names and not names[-1]:
        names.pop()  # the vendor's ; at the end
    return tuple(_SPELLED.get(name, name) for name in names)


def _misnamed(header: Sequence[str], line: int) -> Iterator[Slip]:
    for name in header:
        if name not in COLUMNS:
            yield Slip(line, "header", repr(name[:_SHOWN]), f"one of {', '.join(COLUMNS)}")
    for name in {name for name in header if header.count(name) > 1}:
        yield Slip(line, "header", f"{name} twice", "each column once")


def _record(columns: Sequence[str], row: Sequence[str], campaign: str | None) -> dict[str, str]:
    record = dict.fromkeys(COLUMNS, "")
    for name, value in zip(columns, row, strict=False):
        if name in record:
            record[name] = value.strip()
    record["campaign"] = record["campaign"] or (campaign or "")
    record["priority"] = record["priority"] or ORDINARY
    return record


def _too_wide(row: Sequence[str], header: Sequence[str] | None, line: int) -> Iterator[Slip]:
    most = len(header or COLUMNS)
    if len(row) > most + 1:
        yield Slip(line, "row", f"{len(row)} columns", f"at most {most}, and ';' at the end")


def _slips(record: Mapping[str, str], line: int, campaign: str, state: str | None) -> Iterator[Slip]:
    for name, (fits, expected) in _CHECKS.items():
        if not fits(record[name]):
            yield Slip(line, name, _shown(name, record[name]), expected)
    if record["campaign"] and record["campaign"] != campaign:
        yield Slip(line, "campaign", repr(record["campaign"][:_SHOWN]), f"{campaign!r}, as every record of a file")
    if state is not None and not _STATE.fullmatch(_variables(record["parAndVals"]).get(state, "")):
        yield Slip(line, "parAndVals", f"no {state}", f"{state}= and two capital letters, for its time zone")


def _shown(name: str, value: str) -> str:
    if not value:
        return "nothing"
    return f"{len(value)} characters" if name in ("destination", "alternatives", "parAndVals") else repr(value[:_SHOWN])


def _variables(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in text.split(":") if "=" in pair)


def _written(record: Mapping[str, str]) -> str:
    """A record; the ``;`` after the priority stands whether or not an agent follows."""
    values = [record[name] for name in COLUMNS]
    return ";".join(values) + (";" if record["agent"] else "")


def _each(text: str, pattern: re.Pattern[str]) -> bool:
    return not text or all(pattern.fullmatch(part) for part in _parts(text))


def _parts(text: str) -> Iterable[str]:
    return text.rstrip(":").split(":")


_CHECKS: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "campaign": (
        lambda text: text.endswith(_ARROWS) and not set(text) & set(";\r\n"),
        "a dialer's name with its arrow, like POWER<-",
    ),
    "destination": (lambda text: bool(_NUMBER.fullmatch(text)), "a number: 3 to 32 digits, + before them"),
    "parAndVals": (lambda text: _each(text, _PAIR), "name=value:name=value, without # : = ; ' inside them"),
    "alternatives": (lambda text: _each(text, _ALTERNATIVE), "numbers with ':' between, H=0= before those of a kind"),
    "priority": (
        lambda text: text.isascii() and text.isdecimal() and len(text) <= len(ORDINARY) and int(text) > 0,
        f"a number from 1, the highest, to {ORDINARY}",
    ),
    "agent": (lambda text: bool(_AGENT.fullmatch(text)), "an extension"),
}
"""What a value has to be, and how that is said."""
