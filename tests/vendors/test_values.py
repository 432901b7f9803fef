"""Values of strangers: money, counts, texts, query strings, telephone numbers."""

from decimal import Decimal
from urllib.parse import parse_qsl, quote_plus, unquote_to_bytes, urlencode

import phonenumbers
import pytest
from hypothesis import example, given, strategies as st

from hub.vendors.values import count, decode_text, is_placeholder, money, phone, read_query, unquote

# --- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"Pe\xc3\xb1a", "Peña"), (b"Pe\xf1a", "Peña"), (b"\xef\xbb\xbfx", "x"), (b"\x93\x94", "\x93\x94"), (b"", "")],
)
def test_bytes_are_utf_8_or_iso_8859_1(raw: bytes, text: str) -> None:
    assert decode_text(raw) == text


@given(st.binary())
@example(b"%F1%C3%B1")
@example(b"%C3%B1%25F1")
@example(b"\xc3%B1")
@example(b"%EF%BF%BD")
@example(b"%EF%BB%BFx")
@example(b"%ZZ%F1+%2B")
@example(b"%E2%80")
@example("ñ%F1".encode())
@example(b"#%3F?&")
def test_unquoting_is_urllibs_only_faster(raw: bytes) -> None:
    assert unquote(raw) == decode_text(unquote_to_bytes(raw.replace(b"+", b" ")))


@given(
    st.lists(
        st.sampled_from(
            [b"%", b"F1", b"C3", b"%C3", b"%B1", b"%25", b"%41", b"+", b"a", b"\xf1", b"\xc3\xb1", b"%ED%A0%80"]
        )
    )
)
def test_unquoting_is_urllibs_in_mixtures_too(pieces: list[bytes]) -> None:
    raw = b"".join(pieces)
    assert unquote(raw) == decode_text(unquote_to_bytes(raw.replace(b"+", b" ")))


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff")))
def test_what_was_quoted_comes_back(text: str) -> None:
    assert unquote(quote_plus(text).encode()) == text


@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=2), st.text("xyñ&=+% ", max_size=4))))
def test_a_query_string_keeps_all_values_in_their_order(pairs: list[tuple[str, str]]) -> None:
    expected: dict[str, list[str]] = {}
    for name, value in parse_qsl(urlencode(pairs), keep_blank_values=True):
        expected.setdefault(name, []).append(value)
    assert read_query(urlencode(pairs)) == expected


def test_each_value_of_a_query_string_has_its_own_charset() -> None:
    assert read_query("a=%F1&b=%C3%B1&+c+=+1&d") == {"a": ["ñ"], "b": ["ñ"], "c": [" 1"], "d": [""]}


@pytest.mark.parametrize("value", ["[_UUID]", " [_NumDesvio] ", "{{CallID}}", "{{}}", "[_]"])
def test_an_unsubstituted_placeholder_is_known(value: str) -> None:
    assert is_placeholder(value)


@pytest.mark.parametrize("value", ["", "UUID", "[UUID]", "x[_UUID]", "{CallID}", "[_a][_b]", "{{a}}{{b}}"])
def test_anything_else_is_a_value(value: str) -> None:
    assert not is_placeholder(value)


# --- quantities ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", "0.000000"), ("0.000000", "0.000000"), ("-0.0", "0.000000"), ("0,05", "0.050000"), (" 1.5 ", "1.500000"),
        (".05", "0.050000"), (",05", "0.050000"), ("5.", "5.000000"), ("-1", "-1.000000"), ("+1", "1.000000"),
        ("5e-05", "0.000050"), ("1E2", "100.000000"), ("0.1234567", "0.123457"),
        ("123456789012345", "123456789012345.000000"),
    ],
)  # fmt: skip
def test_an_amount_has_six_places(text: str, amount: str) -> None:
    assert money(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        ",",
        "-",
        "1.2.3",
        "1,234.5",
        "1.234,5",
        "1 000",
        "€5",
        "5€",
        "NaN",
        "inf",
        "1e999",
        "0x1",
        "٣",
        "1" * 16,
        "1" * 70,
    ],
)
def test_what_is_no_amount_is_absent(text: str) -> None:
    assert money(text) is None


@given(st.decimals(-1000, 1000, places=6))
def test_an_amount_of_six_places_is_itself(amount: Decimal) -> None:
    assert Decimal(str(money(str(amount)))) == amount


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    money(text)
    count(text)
    assert phone(text, text, country="ES")["number"] == text.strip()
    assert phone("1", text, country="ES")["number"] == "1"


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("042", 42), ("999999999", 999999999)])
def test_a_count_is_of_ascii_digits(text: str, number: int) -> None:
    assert count(text) == number


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", " 1", "²", "٣", "1" * 10, "1_0"])
def test_what_is_no_count_is_absent(text: str) -> None:
    assert count(text) is None


# --- telephone numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "international", "e164"),
    [
        # national: only if valid in the country
        ("911888920", "", "+34911888920"),
        ("911 88 89 20", "", "+34911888920"),
        ("900805089", "", "+34900805089"),
        ("34911888920", "", "+34911888920"),
        ("123456789", "", None),
        ("112", "", None),
        ("5001", "", None),
        # with a prefix: at its word, if possible
        ("+34123456789", "", "+34123456789"),
        ("0034123456789", "", "+34123456789"),
        ("00 33 1 23 45 67 89", "", "+33123456789"),
        ("+33123456789", "", "+33123456789"),
        ("+1", "", None),
        ("+999123456789", "", None),
        # with the vendor's international form, prefix or not
        ("911888920", "34911888920", "+34911888920"),
        ("911888920", "+34911888920", "+34911888920"),
        ("911888920", "0034911888920", "+34911888920"),
        ("911888920", "911888920", "+34911888920"),
        ("900805089", "900805089", "+34900805089"),
        ("123456789", "34123456789", "+34123456789"),
        ("123456789", "123456789", "+34123456789"),
        ("123456789", "33123456789", "+33123456789"),
        ("612345678", "33612345678", "+33612345678"),
        ("", "34911888920", "+34911888920"),
        ("911888920", "X", "+34911888920"),
        ("911888920", "1", "+34911888920"),
        # no numbers
        ("X", "", None),
        ("", "", None),
        ("Anonymous", "", None),
        ("900-FLOWERS", "", None),
        ("٩١١٨٨٨٩٢٠", "", None),
        ("9" * 41, "", None),
    ],
)
def test_a_number_has_an_e164_where_it_is_certain(number: str, international: str, e164: str | None) -> None:
    expected = {"number": number} if e164 is None else {"number": number, "e164": e164}
    assert phone(number, international, country="ES") == expected


def test_another_country_reads_another_number() -> None:
    assert phone("030 123456", country="DE") == {"number": "030 123456", "e164": "+4930123456"}
    assert phone("911888920", country="ZZ") == {"number": "911888920"}


def test_what_is_remembered_is_not_shared() -> None:
    phone("911888920", country="ES").clear()
    assert phone("911888920", country="ES") == {"number": "911888920", "e164": "+34911888920"}


@pytest.mark.parametrize("country", ["ES", "FR", "DE", "GB", "US", "MX", "AR"])
def test_a_countrys_own_numbers_are_read_in_every_form(country: str) -> None:
    example_number = phonenumbers.example_number(country)
    assert example_number is not None
    e164 = phonenumbers.format_number(example_number, phonenumbers.PhoneNumberFormat.E164)
    national = phonenumbers.format_number(example_number, phonenumbers.PhoneNumberFormat.NATIONAL)
    for number, international in (
        (national, ""),
        (national, e164[1:]),
        (e164, ""),
        ("00" + e164[1:], ""),
        (national, e164),
    ):
        assert phone(number, international, country=country).get("e164") == e164
