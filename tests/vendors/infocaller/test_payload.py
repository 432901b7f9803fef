"""Where in a body the call's text is found."""

import gzip

import pytest

from hub.errors import Unusable
from hub.vendors.infocaller.payload import read_payload

JSON = '{"ApiCall": {}}'


def refused(body: bytes, content_type: str = "") -> str:
    with pytest.raises(Unusable) as refusal:
        read_payload(body, content_type)
    return refusal.value.reason


@pytest.mark.parametrize("body", [b"", b" \r\n\t", b"\xef\xbb\xbf", b" \xef\xbb\xbf "])
def test_an_empty_body_is_no_payload(body: bytes) -> None:
    assert read_payload(body, "application/json") == ""


@pytest.mark.parametrize(
    "content_type", ["", "text/xml", "application/json; charset=utf-16", "multipart/form-data", "☎"]
)
@pytest.mark.parametrize("text", [JSON, "[1]", "<ApiCall/>", "\ufeff  {", "\n<ApiCall>ñ</ApiCall>"])
def test_the_first_byte_decides_whatever_the_content_type_says(text: str, content_type: str) -> None:
    assert read_payload(text.encode(), content_type) == text.strip("\n \ufeff")


@pytest.mark.parametrize(
    "body",
    [
        "apiInfocaller={}",
        "a=1&apiInfocaller={}&b=2",
        " apiInfocaller ={}",
        "+apiInfocaller+={}",
        "%20apiInfocaller%0D%0A={}",
        "%61pi%49nfo%63aller={}",
        "apiInfocalle%72={}&",
        "apiInfocaller={}&apiInfocaller={}",
        "&&apiInfocaller={}&%61piInfocaller={}",
    ],
)
def test_a_form_field_is_found_by_its_name(body: str) -> None:
    assert read_payload(body.replace("{}", "%7B%22ApiCall%22:+%7B%7D%7D").encode(), "") == JSON


@pytest.mark.parametrize(
    "body",
    [
        b"apiInfocaller=",
        b"apiInfocaller",
        b"apiInfocaller=+%20",
        b"apiinfocaller={}",
        b"xapiInfocaller={}",
        b"apiInfocallerx={}",
        b"x=apiInfocaller={}",
        b"apiInfocaller[]={}",
        b"hello",
        b"\x00\x01",
        b"apiInfocaller={}&apiInfocaller=[]",
        b"apiInfocaller={}&apiInfocaller=",
        gzip.compress(JSON.encode(), mtime=0),
        "{}".encode("utf-16"),
    ],
)
def test_no_variable_an_empty_one_or_two_that_differ_is_undecodable(body: bytes) -> None:
    assert refused(body, "application/x-www-form-urlencoded") == "undecodable"


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (b"Pe%F1a", "Peña"),
        (b"Pe%C3%B1a", "Peña"),
        (b"Pe\xf1a", "Peña"),
        ("Peña".encode(), "Peña"),
        (b"Pe%F1a 100%25", "Peña 100%"),
        (b"%E2%80%9D%F1", "â\x80\x9dñ"),
        (b"%ZZ%4", "%ZZ%4"),
        (b"%25F1", "%F1"),
        (b"a%2Bb+c", "a+b c"),
        (b"%EF%BB%BF{", "{"),
    ],
)
def test_a_form_value_is_utf_8_where_it_is_strictly_that_else_iso_8859_1(escaped: bytes, text: str) -> None:
    assert read_payload(b"apiInfocaller=" + escaped, "x; charset=utf-16") == text


def part(value: bytes, disposition: str = 'form-data; name="apiInfocaller"', newline: bytes = b"\r\n") -> bytes:
    return b"Content-Disposition: " + disposition.encode() + newline + newline + value + newline


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"--abc"),
        ('multipart/form-data; BOUNDARY="a b\'c"', b"--a b'c"),
        ("multipart/form-data", b"--abc"),
        ("multipart/form-data; boundary=other", b"--abc"),
        ("", b"-----------------------------974767299852498929531610575"),
    ],
)
@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_a_multipart_boundary_is_the_declared_one_or_the_first_line(
    content_type: str, boundary: bytes, newline: bytes
) -> None:
    parts = [part(b"1", "form-data; name=other", newline), part('{"ñ": "\r\n"}'.encode("iso-8859-1"), newline=newline)]
    body = b"".join(boundary + newline + each for each in parts) + boundary + b"--" + newline
    assert read_payload(body, content_type).strip() == '{"ñ": "\r\n"}'


@pytest.mark.parametrize(
    "disposition",
    [
        'form-data; name=" apiInfocaller "',
        "form-data; name=apiInfocaller",
        'form-data; filename="apiInfocaller.json"; name="apiInfocaller"',
        'form-data;name = "apiInfocaller"; filename="x"',
    ],
)
def test_a_part_is_found_by_its_name(disposition: str) -> None:
    assert read_payload(b"--b\r\n" + part(JSON.encode(), disposition) + b"--b--", "").strip() == JSON


@pytest.mark.parametrize(
    "body",
    [
        b"--",
        b"--b--",
        b"--b\r\napiInfocaller",
        b"--b\r\n" + part(b"") + b"--b--",
        b"--b\r\n" + part(b"{}", 'form-data; name="x"; filename="apiInfocaller"') + b"--b--",
        b"--b\r\n" + part(b"{}") + b"--b\r\n" + part(b"[]") + b"--b--",
    ],
)
def test_a_multipart_body_without_the_variable_or_with_two_is_undecodable(body: bytes) -> None:
    assert refused(body, "multipart/form-data; boundary=b") == "undecodable"


def test_the_same_part_twice_is_one() -> None:
    assert read_payload(2 * (b"--b\r\n" + part(b"{}")) + b"--b--", "").strip() == "{}"
