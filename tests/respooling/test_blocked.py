"""Do-not-call lists: a blocked number is blocked however it is written."""

import re
from collections.abc import Callable

import phonenumbers
import pytest
from hypothesis import given, settings, strategies as st
from phonenumbers import PhoneNumberFormat

from hub.respooling.blocked import Blocked, is_number
from hub.respooling.numbers import dialled, e164, listed, zones

NUMBERS = ["+34911888920", "+34600123456", "+442071234567", "+12125551234", "+390612345678", "+541123456789"]


def _printed(number: str, form: int) -> str:
    return phonenumbers.format_number(phonenumbers.parse(number), form)


def _national(number: str) -> str:
    return _printed(number, PhoneNumberFormat.NATIONAL)


def _digits(number: str) -> str:
    return number.lstrip("+")


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "without its plus": _digits,
    "with 00": lambda number: f"00{_digits(number)}",
    "national, as it is printed": _national,
    "national, digits alone": lambda number: re.sub(r"\D", "", _national(number)),
    "with dots": ".".join,
    "international, as it is printed": lambda number: _printed(number, PhoneNumberFormat.INTERNATIONAL),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("number", NUMBERS)
def test_a_blocked_number_is_blocked_in_every_spelling(number: str, spelling: str) -> None:
    assert Blocked.of([SPELLINGS[spelling](number)]).holds(number)


@pytest.mark.parametrize(
    ("spelling", "number"),
    [
        ("+44 (0)20 7123 4567", "+442071234567"),
        ("0044 (0)20 7123 4567", "+442071234567"),
        ("+49 (0)30 123456", "+4930123456"),
        ("+33 (0)1 42 68 53 00", "+33142685300"),
        ("+39 06 12345678", "+390612345678"),
    ],
)
def test_the_trunk_prefix_between_country_and_number_is_no_part_of_it(spelling: str, number: str) -> None:
    assert Blocked.of([spelling]).holds(number)


@settings(max_examples=200, deadline=None)
@given(st.from_regex(r"\+34[679][0-9]{8}", fullmatch=True), st.sampled_from(sorted(SPELLINGS)))
def test_any_spanish_number_is_blocked_in_every_spelling(number: str, spelling: str) -> None:
    blocked = Blocked.of([SPELLINGS[spelling](number)])
    assert blocked.holds(number)
    other = f"{number[:-1]}{(int(number[-1]) + 1) % 10}"
    assert not blocked.holds(other)


def test_an_international_number_blocks_that_one_alone() -> None:
    blocked = Blocked.of(["+34911888920"])
    assert not blocked.holds("+1911888920")
    assert not Blocked.of(["911 88 89 21"]).holds("+34911888920")


def test_a_file_has_a_number_in_each_line_whatever_stands_beside_it() -> None:
    text = '\ufeffnumber;since\n# asked on the telephone\n911 88 89 20;2026-01-01\n\n"+34 600 123 456"  # mobile\n'
    blocked = Blocked.read(text)
    assert all(map(blocked.holds, ["+34911888920", "+34600123456"]))
    assert not blocked.holds("+34911888921")


@pytest.mark.parametrize("text", ["911888920\nsomebody else\n", "911888920\n12\n", "5x5x5x5\n", "<html>\n<body>\n"])
def test_a_line_that_is_no_number_is_told_by_its_place(text: str) -> None:
    with pytest.raises(ValueError, match=r"line \d: found '.*'; expected a telephone number"):
        Blocked.read(text)


def test_a_number_is_told_from_the_name_of_a_file() -> None:
    assert all(map(is_number, ["911888920", "+34 911 888 920", "(020) 7123-4567"]))
    assert not any(map(is_number, ["dnc.txt", "data/600", "", "12", "2026-list"]))


def test_numbers_are_never_shown_by_a_list() -> None:
    assert "911888920" not in repr(Blocked.of(["911888920"]))


# --- numbers and their zones -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+34911888920", {"Europe/Madrid"}),
        ("+34600123456", {"Europe/Madrid", "Atlantic/Canary"}),
        ("+34928123456", {"Atlantic/Canary"}),
        ("+12125551234", {"America/New_York"}),
        ("+3531234567", {"Europe/Dublin"}),  # of no known area, so of its country
        ("+80012345678", set()),
    ],
)
def test_a_number_may_be_in_the_zones_of_its_area_else_of_its_country_else_nobody_knows(
    number: str, expected: set[str]
) -> None:
    assert set(zones(number)) == expected


def test_a_number_that_may_have_moved_may_be_anywhere_in_its_country() -> None:
    assert set(zones("+34911888920", "country")) == {"Europe/Madrid", "Atlantic/Canary", "Africa/Ceuta"}
    assert {"America/New_York", "Pacific/Honolulu"} <= set(zones("+12125551234", "country"))


def test_further_numbers_are_found_in_fields_of_a_call_each_once() -> None:
    found = listed(["911888920:600123456", ["+34600123456", {"number": "x"}], 911888921, None, True, "Ana"], "ES")
    assert found == ("+34911888920", "+34600123456", "+34911888921")
    assert e164("12", "ES") is None


@pytest.mark.parametrize(
    ("form", "country", "expected"),
    [
        ("national", "ES", "911888920"),
        ("national", "US", "34911888920"),
        ("digits", "ES", "34911888920"),
        ("e164", "ES", "+34911888920"),
    ],
)
def test_a_number_is_written_as_its_dialer_wants_it(form: str, country: str, expected: str) -> None:
    assert dialled("+34911888920", form, country) == expected  # type: ignore[arg-type]
