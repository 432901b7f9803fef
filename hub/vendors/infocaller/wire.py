"""What Infocaller wrote, JSON or XML, as one tree. Source: docs/vendors.md, "Infocaller: body structure".

Both forms of one call give the same tree: sections and fields under the vendor's names, each value a stripped text,
a dict or a list. What is empty is not there, whether it came as ``""``, ``null``, ``{}``, ``<a/>`` or not at all. A
list of one is its element, since XML cannot tell them apart; only ``Event`` and ``CustVar`` are always lists. Beside
the tree stands what was sent, empty fields and spellings of prices too.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from lxml import etree

from hub.vendors.json_text import AS_TEXT, MAX_DEPTH, loads, undecodable, whole_text
from hub.vendors.values import money

Tree = dict[str, Any]

SECTIONS: Final = ("UserID", "Infocaller", "Status", "CustVars")
COSTS: Final = ("CostRX", "CostTX")
_ROOT: Final = "ApiCall"
_TEXT: Final = "#text"  # xmltodict's name for the text of an element that has attributes too


def field(section: Mapping[str, Any], name: str) -> str:
    """A section's field as text; empty where it is absent or holds something else."""
    value = section.get(name, "")
    if type(value) is dict:
        value = value.get(_TEXT, "")
    return value if type(value) is str else ""


class Said(NamedTuple):
    """A body.

    Attributes:
        tree: what it says: the same for every spelling of it.
        sent: every field that came, as it was spelled, but for white space around values.
    """

    tree: Tree
    sent: Tree


def read_tree(text: str) -> Said:
    """The sections in a JSON or XML text.

    A section that is no object says nothing, and is kept in what was sent.

    Raises:
        Unusable: ``undecodable``: malformed, deeper than 64 levels, or not an ApiCall.
    """
    text = text.strip()
    sent = _xml(text) if text.startswith("<") else _json(text)
    tree: Tree = _pruned(sent)
    for name in SECTIONS:
        _section(tree, name)
    _section(tree.get("Status", {}), "Events")
    _listed(tree.get("Status", {}).get("Events", {}), "Event")
    _listed(tree.get("CustVars", {}), "CustVar")
    infocaller = tree.get("Infocaller", {})
    for name in COSTS:  # a number in JSON and six places in XML: one price, so one text
        if (price := money(field(infocaller, name))) is not None:
            infocaller[name] = price
    return Said(tree, sent)


def _pruned(value: Any) -> Any:
    """A value without what is empty, a list of one as its element; something false where nothing is left."""
    if type(value) is dict:
        return {name: kept for name, item in value.items() if (kept := item if type(item) is str else _pruned(item))}
    if type(value) is list:
        items = [kept for item in value if (kept := _pruned(item))]
        return items[0] if len(items) == 1 else items
    return value


def _section(parent: Tree, name: str) -> None:
    if not isinstance(parent.get(name, {}), dict):
        del parent[name]


def _listed(parent: Tree, name: str) -> None:
    items = parent.get(name)
    if items is not None and not isinstance(items, list):
        parent[name] = [items]


def _add(out: Tree, name: str, value: Any) -> None:
    held = out.get(name)
    if held is None:
        out[name] = value
    elif isinstance(held, list):
        held.append(value)
    else:
        out[name] = [held, value]


# --- JSON ------------------------------------------------------------------------------------------------------------

_ENTITIES: Final = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}
_ENTITY: Final = re.compile("|".join(_ENTITIES))
_RESERVED: Final = str.maketrans({sign: entity for entity, sign in _ENTITIES.items()})


def escaped(text: str) -> str:
    """A text with the five characters that the vendor reserves, in JSON too, as its entities."""
    return text.translate(_RESERVED)


def _json(text: str) -> Tree:
    top = loads(text, AS_TEXT)
    if not isinstance(top, dict):
        raise undecodable("the JSON is no object")
    # Only a text with an ampersand or an escape can hold what _scrub removes.
    clean = _scrub if "&" in text or "\\u" in text else str.strip
    call: Any = None
    beside: Tree = {}
    for name, value in top.items():
        if clean(name) == _ROOT:
            call = value
        else:
            beside[name] = value
    if not isinstance(call, dict):
        raise undecodable(f"the JSON has no object {_ROOT}")
    tree: Tree = _normal(call, clean, 2)
    strangers: Tree = _normal(beside, clean, 1)
    return tree | {name: value for name, value in strangers.items() if name not in tree and name not in SECTIONS}


def _normal(value: Any, clean: Callable[[str], str], depth: int) -> Any:
    """The tree of a JSON value: texts, dicts and lists of them; null is an empty text."""
    kind = type(value)
    if kind is str:
        return clean(value)
    if kind is not dict and kind is not list:
        return {True: "true", False: "false"}.get(value, "")
    if depth > MAX_DEPTH:
        raise undecodable(f"the JSON is deeper than {MAX_DEPTH} levels")
    if kind is list:
        return [_normal(member, clean, depth + 1) for member in value]
    return {
        clean(name): clean(member) if type(member) is str else _normal(member, clean, depth + 1)
        for name, member in value.items()
    }


def _scrub(text: str) -> str:
    """A text without what neither PostgreSQL nor XML can hold, and with the vendor's five entities read."""
    text = whole_text(text)
    if "&" in text:
        text = _ENTITY.sub(lambda entity: _ENTITIES[entity[0]], text)
    return text.strip()


# --- XML -------------------------------------------------------------------------------------------------------------

# The pages print the root's encoding with typographic quotes (which cp1252 bytes read as ISO-8859-1 turn into control
# characters, and UTF-8 bytes into three), with spaces, and once without the closing one. The text is decoded
# already, so the attribute says nothing: it goes before the parser sees it. So does the default namespace, whose name
# in front of every tag would cost more than the parsing.
_QUOTE: Final = "(?:[\"'`\u00ab\u00b4\u00bb\u2018-\u201f\u2032\u2033\x91-\x94]|\u00e2\x80[\x98-\x9f])"
_ENCODING: Final = re.compile(rf"\sencoding\s*=\s*(?:{_QUOTE}[^<>=]*?{_QUOTE}|{_QUOTE}?\s*[\w.:-]*(?:\s?{_QUOTE})?)")
_NAMESPACE: Final = re.compile(rf"\sxmlns\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|{_QUOTE}[^<>=]*?{_QUOTE})")
_PROLOG: Final = re.compile(r"(?:\s++|<\?.*?\?>|<!--.*?-->)*+", re.DOTALL)

_PARSER: Final = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    huge_tree=False,
    recover=False,
    remove_comments=True,
    remove_pis=True,
    remove_blank_text=True,
    collect_ids=False,
)


def _xml(text: str) -> Tree:
    start = _PROLOG.match(text).end()  # type: ignore[union-attr]  # it matches the empty text too
    if text.startswith("<!", start):  # what stands there is a DOCTYPE, and after the root's tag none may stand
        raise undecodable("the XML has a DOCTYPE")
    end = text.find(">", start)
    tag = _NAMESPACE.sub("", _ENCODING.sub("", text[start:end], count=1), count=1)
    try:
        root = etree.fromstring(tag + text[end:], _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:  # ValueError: a character that XML does not have
        raise undecodable(f"the XML is malformed: {error}") from None
    if _local(root.tag) != _ROOT:
        raise undecodable(f"the XML's root is not {_ROOT}")
    return _element(root, 1)


def _element(element: Any, depth: int) -> Tree:
    """The tree of an element with children or attributes, by xmltodict's rules: ``@name``, ``#text``."""
    if depth >= MAX_DEPTH and len(element):
        raise undecodable(f"the XML is deeper than {MAX_DEPTH} levels")
    out: Tree = {}
    for name, attribute in element.items():
        out[f"@{_local(name)}"] = attribute.strip()
    texts = [element.text or ""]
    for child in element:
        node = _element(child, depth + 1) if len(child) or child.keys() else (child.text or "").strip()
        _add(out, _local(child.tag), node)
        if child.tail:
            texts.append(child.tail)
    if text := "".join(texts).strip():
        out[_TEXT] = text
    return out


def _local(name: str) -> str:
    return name.rpartition("}")[2] if name.startswith("{") else name
