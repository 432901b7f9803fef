"""Telephone numbers of contacts: in E.164, as a dialer wants them, and the time zones that they may be in. Pure.

The zones are those of the library's own table: of the area for a number that belongs to one, of the whole country for
one that does not, a mobile for instance. Where the table does not know, they are all zones of the number's country.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, timezone

from hub.respooling.words import Breadth, DialAs

MOST: Final = 10
"""Numbers of one contact that are looked at."""

_DIALLABLE: Final = re.compile(r"\+?[0-9(][0-9 ()./-]*")
_BETWEEN: Final = re.compile(r"[:;,|]")
_LONGEST: Final = 40


@lru_cache(maxsize=8192)
def e164(text: str, country: str) -> str | None:
    """A number in E.164, a national one read with a country; None where it is none that can be valid."""
    text = text.strip()
    if len(text) > _LONGEST or not _DIALLABLE.fullmatch(text):
        return None
    try:
        parsed = phonenumbers.parse(f"+{text[2:]}" if text.startswith("00") else text, country)
    except NumberParseException:
        return None
    return phonenumbers.format_number(parsed, PhoneNumberFormat.E164) if phonenumbers.is_valid_number(parsed) else None


def dialled(number: str, form: DialAs, country: str) -> str:
    """A number as a dialer in a country is to have it.

    ``national`` has no prefix where the number is of that country, and is of digits alone elsewhere.
    """
    parsed = _parsed(number)
    if form == "e164" or parsed is None:
        return number
    if form == "national" and phonenumbers.region_code_for_number(parsed) == country:
        return phonenumbers.national_significant_number(parsed)
    return number.lstrip("+")


def listed(values: Iterable[Any], country: str) -> tuple[str, ...]:
    """Every number in some fields of a call, each once; what is none is left out."""
    texts = (part for value in values for one in _texts(value) for part in _BETWEEN.split(one))
    found = (number for text in texts if (number := e164(text, country)))
    return tuple(dict.fromkeys(found))[:MOST]


def _texts(value: Any) -> Iterable[str]:
    match value:
        case str():
            return (value,)
        case int() if not isinstance(value, bool):
            return (str(value),)
        case list():
            return (text for one in value for text in _texts(one))
        case Mapping():
            return (text for name in ("e164", "number") if name in value for text in _texts(value[name]))
        case _:
            return ()


@lru_cache(maxsize=8192)
def zones(number: str, breadth: Breadth = "number") -> tuple[str, ...]:
    """Every time zone that a number in E.164 may be in; none where that cannot be told."""
    parsed = _parsed(number)
    if parsed is None:
        return ()
    found = () if breadth == "country" else timezone.time_zones_for_number(parsed)
    known = tuple(zone for zone in found if zone != timezone.UNKNOWN_TIMEZONE and _is_zone(zone))
    return known or _of_country().get(phonenumbers.region_code_for_number(parsed) or "", ())


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # the two libraries are of different years
        return False
    return True


@cache
def _of_country() -> Mapping[str, tuple[str, ...]]:
    """The zones of each country, as the zones' own table has them."""
    found: dict[str, list[str]] = {}
    for line in files("tzdata.zoneinfo").joinpath("zone.tab").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            country, _, zone = line.split("\t")[:3]
            found.setdefault(country, []).append(zone)
    return {country: tuple(sorted(names)) for country, names in found.items()}


def _parsed(number: str) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(number)
    except NumberParseException:
        return None
