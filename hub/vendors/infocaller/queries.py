"""Infocaller's Query: the question in a request's body, and the reply in the format that the question came in. Pure.

Source: docs/vendors.md, "Infocaller: interactive API".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from hub.errors import Unusable
from hub.events import identity
from hub.questions import Question, Reply
from hub.vendors.infocaller import parties
from hub.vendors.infocaller.callbacks import VENDOR
from hub.vendors.infocaller.payload import read_payload
from hub.vendors.infocaller.signature import is_signed
from hub.vendors.infocaller.wire import Tree, escaped, field, read_tree

Form = Literal["xml", "json"]

CONTENT_TYPES: Final[Mapping[Form, str]] = {
    "xml": "text/xml; charset=ISO-8859-1",
    "json": "application/json; charset=utf-8",  # of which only ASCII is used
}
_MARKS: Final[Mapping[bytes, Form]] = {b"<": "xml", b"%3C": "xml", b"%3c": "xml", b"{": "json", b"%7B": "json"}


@dataclass(frozen=True, slots=True)
class Heard:
    """A request of the vendor's.

    Attributes:
        form: what it is answered in.
        question: None where there is none that may be answered.
        problem: why.
        query: its name, as far as it could be read; for a log.
    """

    form: Form
    question: Question | None
    problem: Unusable | None = None
    query: str = ""


class Interactive:
    """The Queries of one Infocaller connection."""

    def __init__(self, *, source: str, lines: Mapping[str, str], country: str) -> None:
        """As ``callbacks.Infocaller``: the source's name, its lines with their passwords, its country."""
        self._source = source
        self._lines = dict(lines)
        self._country = country.upper()

    def hear(self, body: bytes, content_type: str) -> Heard:
        """The question in a body; total: of whatever cannot be answered it says why, and in what form to say so."""
        form = _guessed(body)
        try:
            text = read_payload(body, content_type)
            form = "xml" if text.lstrip().startswith("<") else form
            tree = read_tree(text).tree
        except Unusable as undecodable:
            return Heard(form, None, undecodable)
        query = field(tree.get("Infocaller", {}), "QueryName")
        problem = self._unproved(tree.get("UserID", {}))
        return Heard(form, None, problem, query) if problem else Heard(form, self._question(query, tree), None, query)

    def unheard(self, begun: bytes, problem: Unusable) -> Heard:
        """A request that is not read to its end: why, and by its beginning in what form to say so."""
        return Heard(_guessed(begun), None, problem)

    def _unproved(self, user: Tree) -> Unusable | None:
        """Why the request cannot be taken at its word; None where it can."""
        if not is_signed(user, self._lines):
            known = field(user, "LineNumber") in self._lines
            return Unusable("signature", "the Signature is wrong" if known else "the source has no such line")
        if not field(user, "CallSequence"):
            return Unusable("identity", "the body has no CallSequence")
        return None

    def _question(self, query: str, tree: Tree) -> Question:
        user, infocaller = tree["UserID"], tree.get("Infocaller", {})
        return Question(
            query=query,
            call_id=identity(VENDOR, self._source, field(user, "LineNumber"), field(user, "CallSequence")),
            source=self._source,
            caller=parties.caller(infocaller, self._country),
            line=parties.line(tree, self._country),
            variables=parties.user_variables(tree),
        )


def written(reply: Reply, form: Form) -> bytes:
    """A checked reply as the vendor reads it.

    XML declares its charset in the prolog: the vendor's samples have none, and a reader that goes by the standard would
    take its bytes for UTF-8. JSON is ASCII: no charset can be mistaken.
    """
    return _xml(reply) if form == "xml" else _json(reply)


def _xml(reply: Reply) -> bytes:
    variables = "".join(
        f"<CustVar><VarName>{name}</VarName><VarValue>{escaped(value)}</VarValue></CustVar>"
        for name, value in reply.variables.items()
    )
    text = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>'
        "<ApiCall xmlns='http://tempuri.org/' encoding=\"ISO-8859-1\">"
        f"<Status><Result>{escaped(reply.result)}</Result><ResultText>{escaped(reply.text)}</ResultText></Status>"
        f"<CustVars>{variables or ' '}</CustVars></ApiCall>"
    )
    return text.encode("iso-8859-1")


def _json(reply: Reply) -> bytes:
    tree: dict[str, Any] = {
        "ApiCall": {
            "Status": {"Result": escaped(reply.result), "ResultText": escaped(reply.text)},
            "CustVars": {
                "CustVar": [{"VarName": name, "VarValue": escaped(value)} for name, value in reply.variables.items()]
            },
        }
    }
    return json.dumps(tree, separators=(",", ":")).encode("ascii")


def _guessed(body: bytes) -> Form:
    """The form of a body that cannot be read: by the mark that comes first, JSON where none does."""
    places = [(at, form) for mark, form in _MARKS.items() if (at := body.find(mark)) >= 0]
    return min(places)[1] if places else "json"
