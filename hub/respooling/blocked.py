"""Do-not-call lists: numbers in any spelling, and whether one of them is a contact's. Pure.

An entry without an international prefix blocks the number in every country where it could be one: who asked not to be
called is not called by a slip of spelling.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

_NUMBER: Final = re.compile(r"\+?[\s0-9()./-]+")
_NOT_DIGITS: Final = re.compile(r"[^0-9]")
_FIELD: Final = re.compile(r"[;,\t]")
_FEWEST: Final = 3  # digits


@dataclass(frozen=True)
class Blocked:
    """Numbers that are not called.

    Attributes:
        exact: with their international prefix, digits alone.
        loose: without it, as they are dialled somewhere.
    """

    exact: frozenset[str] = field(default=frozenset(), repr=False)
    loose: frozenset[str] = field(default=frozenset(), repr=False)

    @classmethod
    def of(cls, entries: Iterable[str]) -> "Blocked":
        """Of single numbers. Raises ValueError where one is none."""
        exact, loose = set(), set()
        for entry in entries:
            text = entry.strip()
            digits = _NOT_DIGITS.sub("", text)
            if not is_number(text):
                raise ValueError(f"found {entry[:20]!r}; expected a telephone number")
            if text.startswith("+"):
                exact |= _international(digits)
            elif digits.startswith("00"):
                exact |= _international(digits[2:])
                loose.add(digits)
            else:
                loose.add(digits)
        return cls(frozenset(exact), frozenset(loose))

    @classmethod
    def read(cls, text: str) -> "Blocked":
        """Of a file: a number in each line, first of its fields; blank lines, ``#`` and a heading count for nothing.

        Raises:
            ValueError: a line is none of these; the message says which.
        """
        entries: list[str] = []
        headed = False
        for place, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
            entry = _FIELD.split(line.partition("#")[0])[0].strip().strip('"').strip()
            if not entry:
                continue
            if not headed and not entries and not any(sign.isdigit() for sign in entry):
                headed = True
                continue
            if not is_number(entry):
                raise ValueError(f"line {place}: found {entry[:20]!r}; expected a telephone number")
            entries.append(entry)
        return cls.of(entries)

    def __or__(self, other: "Blocked") -> "Blocked":
        return Blocked(self.exact | other.exact, self.loose | other.loose)

    def holds(self, number: str) -> bool:
        """Whether a number in E.164 is among them."""
        digits = _NOT_DIGITS.sub("", number)
        return digits in self.exact or not self.loose.isdisjoint(_spellings(number, digits))


def is_number(text: str) -> bool:
    """Whether a text looks like a telephone number, rather than like the name of a file."""
    return _NUMBER.fullmatch(text) is not None and len(_NOT_DIGITS.sub("", text)) >= _FEWEST


def _international(digits: str) -> set[str]:
    """A number with its country's prefix, also without the trunk prefix that some write between, +44 (0)20."""
    try:
        parsed = phonenumbers.parse(f"+{digits}")
    except NumberParseException:
        return {digits}
    return {digits, f"{parsed.country_code}{phonenumbers.national_significant_number(parsed)}"}


def _spellings(number: str, digits: str) -> set[str]:
    """All that somebody may write for it without a plus, digits alone."""
    found = {digits, f"00{digits}", f"011{digits}"}
    try:
        parsed = phonenumbers.parse(number)
    except NumberParseException:
        return found
    national = phonenumbers.national_significant_number(parsed)
    dialled = _NOT_DIGITS.sub("", phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL))
    return found | {national, dialled, f"0{national}"}
