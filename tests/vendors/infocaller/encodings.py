"""Every way in which Infocaller may send one call: two formats, three transports, two charsets, and their spellings."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

from hub.vendors.values import decode_text

BOUNDARY = "----form7MA4YWxkTrZu0gW"


def as_json(call: Mapping[str, Any], *, ascii_only: bool = False, entities: bool = False, lone: bool = False) -> str:
    """JSON; its costs are numbers, as the vendor's are.

    Args:
        call: the ApiCall.
        ascii_only: with escapes for everything else.
        entities: with the vendor's entities in the values.
        lone: with the object itself where a list has one member.
    """
    text = json.dumps({"ApiCall": _shaped(call, entities=entities, lone=lone)}, ensure_ascii=ascii_only)
    for name in ("CostRX", "CostTX"):
        if price := call.get("Infocaller", {}).get(name):
            text = text.replace(f'"{name}": "{price}"', f'"{name}": {price}')
    return text


def _shaped(value: Any, *, entities: bool, lone: bool) -> Any:
    if isinstance(value, dict):
        return {name: _shaped(member, entities=entities, lone=lone) for name, member in value.items()}
    if isinstance(value, list):
        members = [_shaped(member, entities=entities, lone=lone) for member in value]
        return members[0] if lone and len(members) == 1 else members
    return escape(value, {'"': "&quot;", "'": "&apos;"}) if entities else value


def as_xml(call: Mapping[str, Any], *, attributes: str = "", prolog: str = "", indent: str = "") -> str:
    """XML, with the given text in the root's tag, before it, and between its elements."""
    return f"{prolog}<ApiCall{attributes}>{_elements(call, indent)}</ApiCall>"


def _elements(value: Any, indent: str) -> str:
    if isinstance(value, str):
        return escape(value)
    inner = (
        f"{indent}<{name}>{_elements(item, indent)}</{name}>"
        for name, member in value.items()
        for item in (member if isinstance(member, list) else [member])
    )
    return "".join(inner) + indent


def form(text: str, charset: str) -> tuple[str, bytes]:
    body = f"apiInfocaller={quote_plus(text, encoding=charset)}"
    return "application/x-www-form-urlencoded", body.encode()


def form_all_escaped(text: str, charset: str) -> tuple[str, bytes]:
    return "", f"other=1&+apiInfocaller+={quote(text, safe='', encoding=charset)}&".encode()


def multipart(text: str, charset: str) -> tuple[str, bytes]:
    other = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="other"\r\n\r\n1\r\n'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="apiInfocaller"\r\nContent-Type: text/plain\r\n\r\n'
    body = (other + head).encode() + text.encode(charset) + f"\r\n--{BOUNDARY}--\r\n".encode()
    return f'multipart/form-data; charset=klingon; boundary="{BOUNDARY}"', body


def bare(text: str, charset: str) -> tuple[str, bytes]:
    return "application/octet-stream", text.encode(charset)


NAMESPACE = " xmlns='http://tempuri.org/'"
ROOTS = (
    "",
    f'{NAMESPACE} encoding="ISO-8859-1"',
    f"{NAMESPACE} encoding=” ISO-8559-1”",
    f"{NAMESPACE} encoding=” ISO-8559-1",
    f' encoding="ISO-8859-1{NAMESPACE}',
    f" encoding='ISO-8859-1' {NAMESPACE}",
    f"{NAMESPACE} encoding=\x94 ISO-8559-1\x94",
    f"{NAMESPACE} encoding = “ISO 8859-1”",
    f"{NAMESPACE} encoding=ISO-8859-1",
    f"{NAMESPACE} encoding=â\x80\x9d ISO-8559-1â\x80\x9d",
    ' xmlns="http://tempuri.org/"',
    " xmlns=”http://tempuri.org/”",
)


def texts(call: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The call in both formats, each in all its spellings, with a name for the failing one."""
    yield "json", as_json(call)
    yield "json, ascii", as_json(call, ascii_only=True)
    yield "json, entities", as_json(call, entities=True)
    yield "json, lone members", as_json(call, lone=True)
    yield "json, trailing commas", as_json(call)[:-2] + ",},}"
    for root in ROOTS:
        yield f"xml, root{root}", as_xml(call, attributes=root)
    yield "xml, prolog", as_xml(call, prolog='<?xml version="1.0" encoding="ISO-8859-1"?>\n<!-- hello -->\n')
    yield "xml, indented", as_xml(call, attributes=NAMESPACE, indent="\r\n   ")


def encoded(call: Mapping[str, Any]) -> Iterator[tuple[str, str, bytes]]:
    """Every way to send the call: a name, the content type, the body."""
    for name, text in texts(call):
        for charset in ("utf-8", "iso-8859-1"):
            try:
                raw = text.encode(charset)
            except UnicodeEncodeError:
                continue
            if decode_text(raw) != text:
                continue  # ISO-8859-1 that happens to be UTF-8 as well: nobody could tell
            for transport in (form, form_all_escaped, multipart, bare):
                yield f"{name}; {charset}; {transport.__name__}", *transport(text, charset)
