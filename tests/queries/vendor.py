"""Infocaller's side of a Query: requests as its page prints them, and a reader of answers that forgives nothing."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from xml.parsers import expat

from aiohttp import ClientSession
from yarl import URL

from tests.hub import TOKEN, body
from tests.vendors.infocaller.encodings import NAMESPACE, as_json, as_xml, form

NAMES: Final = re.compile(r"[A-Za-z0-9]{1,15}")
ENTITIES: Final = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}


class Told(NamedTuple):
    """An answer, as the vendor reads it."""

    result: str
    text: str
    variables: dict[str, str]


def question(query: str, sequence: str = "98565656", **variables: str) -> dict[str, Any]:
    """An ApiCall that asks."""
    call: dict[str, Any] = body(sequence, QueryName=query)["ApiCall"]
    listed = [{"VarName": name, "VarValue": value} for name, value in variables.items()]
    return {**call, "CustVars": {"CustVar": listed}}


def request(call: Mapping[str, Any], kind: str) -> tuple[str, bytes]:
    """The content type and the body of a request, in the form variable, in one of the two formats."""
    return form(as_xml(call, attributes=NAMESPACE) if kind == "xml" else as_json(call), "iso-8859-1")


async def ask(
    session: ClientSession, hub: URL, call: Mapping[str, Any], kind: str = "json", *, token: str = TOKEN
) -> Told:
    """Asks, and reads the answer strictly."""
    content_type, content = request(call, kind)
    url = hub / "queries" / "line-900" / token
    async with session.post(url, data=content, headers={"Content-Type": content_type}) as answer:
        assert answer.status == 200, await answer.text()
        return read(await answer.read(), answer.headers["Content-Type"], kind)


def read(content: bytes, content_type: str, kind: str) -> Told:
    """An answer in the format it has to be in. Raises AssertionError for anything else."""
    return _xml(content, content_type) if kind == "xml" else _json(content, content_type)


def _json(content: bytes, content_type: str) -> Told:
    assert content_type.startswith("application/json")
    assert content.isascii(), "nobody has said which charset the vendor reads JSON in"
    assert not re.search(rb"[<>']", content), "reserved characters are entities"
    top = json.loads(content, object_pairs_hook=_once)
    assert top.keys() == {"ApiCall"}
    call = top["ApiCall"]
    assert call.keys() == {"Status", "CustVars"}
    assert call["Status"].keys() == {"Result", "ResultText"}
    assert call["CustVars"].keys() == {"CustVar"}
    variables = {}
    for item in call["CustVars"]["CustVar"]:
        assert item.keys() == {"VarName", "VarValue"}
        variables[_name(item["VarName"])] = _value(item["VarValue"])
    return Told(_value(call["Status"]["Result"]), _value(call["Status"]["ResultText"]), variables)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a name came twice"
    return dict(pairs)


def _xml(content: bytes, content_type: str) -> Told:
    """By expat over the bytes, so that a charset that is not declared is an error, and entities are looked at raw."""
    assert content_type == "text/xml; charset=ISO-8859-1"
    raw = content.decode("iso-8859-1")
    assert set(re.findall(r"&[^;]*;", raw)) <= ENTITIES.keys(), "none but the vendor's own entities"
    for value in re.findall(r"<(?:VarValue|Result|ResultText)>(.*?)</", raw):
        assert not set("<>'\"") & set(value)
    path: list[str] = []
    texts: list[tuple[str, str]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if not path:
            assert attributes == {"xmlns": "http://tempuri.org/", "encoding": "ISO-8859-1"}
        path.append(name)
        texts.append(("/".join(path), ""))

    def data(text: str) -> None:
        texts[-1] = (texts[-1][0], texts[-1][1] + text)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: path.pop()
    parser.CharacterDataHandler = data
    parser.Parse(content, True)
    order = [where for where, _ in texts]
    assert order[:5] == [
        "ApiCall",
        "ApiCall/Status",
        "ApiCall/Status/Result",
        "ApiCall/Status/ResultText",
        "ApiCall/CustVars",
    ]
    one = "ApiCall/CustVars/CustVar"
    assert order[5:] == [one, f"{one}/VarName", f"{one}/VarValue"] * ((len(order) - 5) // 3)
    values = [text for _, text in texts]
    names = [_name(name) for name in values[6::3]]
    assert len(set(names)) == len(names), "a name came twice"
    return Told(
        _printable(values[2]), _printable(values[3]), dict(zip(names, map(_printable, values[7::3]), strict=True))
    )


def _name(name: str) -> str:
    assert NAMES.fullmatch(name), name
    return name


def _value(text: str) -> str:
    """A value of JSON's, with its entities read; a reserved character that is none is an error."""
    bare = re.sub("|".join(ENTITIES), "", text)
    assert not set("&<>'\"") & set(bare), text
    return _printable(re.sub("|".join(ENTITIES), lambda found: ENTITIES[found[0]], text))


def _printable(text: str) -> str:
    assert all(" " <= letter <= "~" or "\xa0" <= letter <= "\xff" for letter in text), text
    return text
