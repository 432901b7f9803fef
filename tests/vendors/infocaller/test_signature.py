"""The vendor's MD5 vectors, and what cannot be encoded."""

from hashlib import md5

from hypothesis import given, strategies as st

from hub.vendors.infocaller.signature import is_signed, signature


def test_the_pages_example() -> None:
    assert signature("123456789", "98565656", "3956") == "ae73e4b16a280726fb2e0e6bfb43902a"


def test_the_appendix_hashes_its_spanish_sentence_in_iso_8859_1() -> None:
    assert signature("Esto sí es", " una prueba", " de MD5") == "e99008846853ff3b725c27315e469fbc"
    in_utf_8 = md5("Esto sí es una prueba de MD5".encode(), usedforsecurity=False)
    assert in_utf_8.hexdigest() != "e99008846853ff3b725c27315e469fbc"


def test_the_signature_has_no_seam_and_so_the_line_must_be_known() -> None:
    shifted = {"LineNumber": "12345678", "CallSequence": "998565656", "Signature": "ae73e4b16a280726fb2e0e6bfb43902a"}
    assert signature("12345678", "998565656", "3956") == shifted["Signature"]
    assert not is_signed(shifted, {"123456789": "3956"})


def test_an_unknown_line_is_not_signed_with_no_password() -> None:
    unknown = {"LineNumber": "5", "CallSequence": "1", "Signature": signature("5", "1", "")}
    assert not is_signed(unknown, {"123456789": "3956"})
    assert is_signed(unknown, {"5": ""})


@given(st.text(), st.text(), st.text(), st.text())
def test_any_texts_are_judged_without_an_error(line: str, sequence: str, given_signature: str, password: str) -> None:
    section = {"LineNumber": line, "CallSequence": sequence, "Signature": given_signature}
    assert not is_signed(section, {line: password}) or given_signature.lower() == signature(line, sequence, password)
    assert is_signed({**section, "Signature": signature(line, sequence, password).upper()}, {line: password})
