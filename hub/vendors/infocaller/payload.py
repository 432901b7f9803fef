"""The JSON or XML text in the body of Infocaller's request: bare, or the form variable ``apiInfocaller``.

The content type is not documented, so it is asked for one thing only, a multipart boundary; the first byte decides.
"""

import re
from itertools import islice
from typing import Final

from hub.errors import Unusable
from hub.vendors.values import decode_text, unquote

VARIABLE: Final = "apiInfocaller"
_BOM: Final = b"\xef\xbb\xbf"


def read_payload(body: bytes, content_type: str) -> str:
    """The text that describes the call, decoded; empty where the body is.

    Raises:
        Unusable: ``undecodable``: there is a body, and no such text in it, or two that differ.
    """
    body = body.strip().removeprefix(_BOM).lstrip()
    if not body:
        return ""
    if body.startswith((b"{", b"[", b"<")):
        return decode_text(body)
    texts = _multipart(body, content_type) if body.startswith(b"--") else _form(body)
    different = {text.strip() for text in texts}
    if len(different) > 1:
        raise Unusable("undecodable", f"{VARIABLE} came twice, with different values")
    if not any(different):
        raise Unusable("undecodable", f"the body is neither JSON nor XML, and has no variable {VARIABLE}")
    return different.pop()


# --- application/x-www-form-urlencoded -------------------------------------------------------------------------------

# The variable's name with any of its letters escaped and spaces around it. Only this one value is unquoted: a body of
# a hundred thousand other fields costs one scan.
_PARTS: Final = 100  # with the variable that are looked at: the vendor sends one
_SPACE: Final = r"(?:[+\s]|%20|%09|%0[aAdD])*+"
_NAME: Final = "".join(f"(?:{letter}|%{ord(letter):02x}|%{ord(letter):02X})" for letter in VARIABLE)
_FIELD: Final = re.compile(rf"(?:^|&){_SPACE}{_NAME}{_SPACE}=([^&]*)".encode())


def _form(body: bytes) -> list[str]:
    return [unquote(found[1]) for found in islice(_FIELD.finditer(body), _PARTS)]


# --- multipart/form-data ---------------------------------------------------------------------------------------------

_BOUNDARY: Final = re.compile(r"boundary\s*=\s*(?:\"([^\"]{1,200})\"|([^\s;,\"]{1,200}))", re.IGNORECASE)
_HEADERS_END: Final = re.compile(rb"\r?\n\r?\n")
_HEADERS: Final = 8192  # bytes of a part that its headers may take
_PART_NAME: Final = re.compile(rb";\s*name\s*=\s*(?:\"([^\"]*)\"|([^\s;]+))", re.IGNORECASE)


def _multipart(body: bytes, content_type: str) -> list[str]:
    """The variable's values; read by hand, because the standard parsers decode with a charset before they look."""
    declared = _BOUNDARY.search(content_type)
    boundary = (declared[1] or declared[2]).encode("utf-8", "replace") if declared else b""
    if not boundary or not body.startswith(b"--" + boundary):
        boundary = body.split(b"\n", 1)[0].strip()[2:]
    if not boundary:
        return []
    parts = (b"\n" + body).split(b"\n--" + boundary, _PARTS + 1)[1 : _PARTS + 1]
    return [decode_text(value) for part in parts if (value := _part_value(part)) is not None]


def _part_value(part: bytes) -> bytes | None:
    if VARIABLE.encode() not in part:  # most of the parts of a hostile body end here
        return None
    end = _HEADERS_END.search(part, 0, _HEADERS)
    if end is None:
        return None
    for header in part[: end.start()].split(b"\n"):
        key, _, parameters = header.partition(b":")
        if key.strip().lower() == b"content-disposition" and (name := _PART_NAME.search(parameters)):
            return part[end.end() :] if (name[1] or name[2] or b"").strip() == VARIABLE.encode() else None
    return None
