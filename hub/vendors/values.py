"""Readers of the values that vendors send: charsets, query strings, money, counts, telephone numbers.

They are total: whatever a stranger sends gives a value or None, never an exception.
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, ValidationResult
from yarl import URL

# --- text ------------------------------------------------------------------------------------------------------------

_UTF8_BOM: Final = b"\xef\xbb\xbf"


def decode_text(raw: bytes) -> str:
    """Bytes as UTF-8 where they are strictly that, else as ISO-8859-1, which takes anything. A BOM is dropped.

    A declared charset is not asked: vendors print impossible ones, and the two readings are hardly ever mistaken.
    """
    raw = raw.removeprefix(_UTF8_BOM)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("iso-8859-1")


def unquote(raw: bytes) -> str:
    """The text of one percent-encoded name or value of a form or a query string; ``+`` is a space.

    A broken escape (``%ZZ``) stays as it is. The charset is that of :func:`decode_text`.
    """
    raw = raw.replace(b"+", b" ")
    if b"%" not in raw:
        return decode_text(raw)
    try:
        quoted = raw.decode()
    except UnicodeDecodeError:
        return decode_text(unquote_to_bytes(raw))
    text = _unescape(quoted)
    left = set(_LEFT.findall(text)) if "%" in text else set()
    if not left:  # so it was UTF-8
        return text.removeprefix("\ufeff")
    if text.isascii():  # nothing was UTF-8, so it is ISO-8859-1, and these are its characters
        for escape in left:
            quoted = quoted.replace(escape, chr(int(escape[1:], 16)))
        return _unescape(quoted)
    return decode_text(unquote_to_bytes(raw))  # a mixture


_LEFT: Final = re.compile("%[89a-fA-F][0-9a-fA-F]")


def _unescape(quoted: str) -> str:
    """The text with its escapes read, but those that are not UTF-8.

    By yarl, in C: fifty times as fast as urllib. A fragment is the part of a URL that it leaves in one piece.
    """
    return URL.build(fragment=quoted, encoded=True).fragment


def read_query(query: str) -> dict[str, list[str]]:
    """All values of all variables of a query string, in their order; an empty one is kept as an empty text.

    Names are stripped, values are not: a leading space may be a ``+`` that the URL lost. NUL is removed. Bytes that
    the HTTP server could not decode are expected as surrogate escapes.
    """
    variables: dict[str, list[str]] = {}
    for pair in _octets(query).split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            variables.setdefault(_printable(name).strip(), []).append(_printable(value))
    return variables


def _octets(query: str) -> bytes:
    try:
        return query.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that no decoder made
        return query.encode("utf-8", "replace")


def _printable(raw: bytes) -> str:
    return unquote(raw).replace("\0", "")


_PLACEHOLDER: Final = re.compile(r"\[_[^\[\]]*\]|\{\{[^{}]*\}\}")


def is_placeholder(value: str) -> bool:
    """Whether the vendor left a placeholder of the configured URL unsubstituted: ``[_UUID]``, ``{{CallID}}``."""
    return _PLACEHOLDER.fullmatch(value.strip()) is not None


# --- quantities ------------------------------------------------------------------------------------------------------

_MONEY: Final = re.compile(r"([+-]?)(?=[.,]?[0-9])([0-9]{0,15})(?:[.,]([0-9]{0,30}))?([eE][+-]?[0-9]{1,2})?")
_MONEY_LENGTH: Final = 64
_COUNT_DIGITS: Final = 9


def money(text: str) -> str | None:
    """An amount with a decimal comma or point as six places, ``"0.120000"``; None where the text is no amount."""
    return _money(text) if len(text) <= _MONEY_LENGTH else None


@lru_cache(maxsize=4096)
def _money(text: str) -> str | None:
    match = _MONEY.fullmatch(text.strip())
    if match is None:
        return None
    sign, whole, fraction, exponent = match.groups(default="")
    return f"{Decimal(f'{sign}{whole}.{fraction or 0}{exponent}'):z.6f}"


def count(text: str) -> int | None:
    """A number of seconds, a code: up to nine ASCII digits; None otherwise."""
    return int(text) if len(text) <= _COUNT_DIGITS and text.isascii() and text.isdecimal() else None


# --- telephone numbers -----------------------------------------------------------------------------------------------

_DIALLABLE: Final = re.compile(r"\+? ?[0-9(][0-9 ()./-]*")
_NUMBER_LENGTH: Final = 40


def phone(number: str, international: str = "", *, country: str) -> dict[str, str]:
    """A telephone number as the vendor wrote it, and in E.164 where that is certain.

    Args:
        number: as it came, national or international.
        international: the vendor's own international form of the same number; empty where there is none. Its prefix
            may be missing (a page of Infocaller's prints one so).
        country: the source's, two letters, upper case; national numbers are read with it.

    Returns:
        ``{"number": …, "e164": …}``. An international number is taken at its word if its length is possible;
        a national one has an ``e164`` only if it is valid in the country.
    """
    number, international = number.strip(), international.strip()
    short = len(number) <= _NUMBER_LENGTH and len(international) <= _NUMBER_LENGTH  # what is remembered is bounded
    e164 = _e164(number, international, country) if short else None
    return {"number": number} if e164 is None else {"number": number, "e164": e164}


@lru_cache(maxsize=8192)
def _e164(number: str, international: str, country: str) -> str | None:
    # phonenumbers reads letters as keys and skips what it does not know: a name must not become a number.
    number, international = (text if _DIALLABLE.fullmatch(text) else "" for text in (number, international))
    parsed = _from_international(international, number, country) or _from_number(number, country)
    return phonenumbers.format_number(parsed, PhoneNumberFormat.E164) if parsed else None


def _from_international(international: str, number: str, country: str) -> PhoneNumber | None:
    """The international form; of its two readings, with and without the prefix, the one that fits ``number``."""
    readings = [_possible(_with_plus(international) or f"+{international}", None)]
    if not _with_plus(international):
        readings.append(_possible(international, country))
    possible = [reading for reading in readings if reading is not None]
    national, digits = _parse(number, country), re.sub("[^0-9]", "", number)
    for reading in possible:
        if reading == national or phonenumbers.national_significant_number(reading) == digits:
            return reading
    return possible[0] if possible else None


def _from_number(number: str, country: str) -> PhoneNumber | None:
    if stated := _with_plus(number):
        return _possible(stated, None)
    parsed = _parse(number, country)
    return parsed if parsed is not None and phonenumbers.is_valid_number_for_region(parsed, country) else None


def _with_plus(number: str) -> str:
    """The number with its international prefix as ``+``; empty where it has none."""
    if number.startswith("+"):
        return number
    return f"+{number[2:]}" if number.startswith("00") else ""


def _possible(number: str, country: str | None) -> PhoneNumber | None:
    parsed = _parse(number, country)
    if parsed is None or phonenumbers.is_possible_number_with_reason(parsed) != ValidationResult.IS_POSSIBLE:
        return None
    return parsed


def _parse(number: str, country: str | None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(number, country)
    except NumberParseException:
        return None
