"""An Infocaller call as the vendor's requests: JSON or XML, in one of three envelopes and two character sets.

What an account or a line is configured to (format, character set, envelope, the URLs' variables) is drawn once for
each call; the vendor's page shows every one of these forms, or leaves it open.
"""

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import md5
from html import escape
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import xmltodict
from phonenumbers import country_code_for_region

from hub.events import identity
from hub.simulator.call import Call, Request, Source
from hub.simulator.dice import Dice
from hub.simulator.infocaller_life import LIVES, Action, Life, Moment

_ROOTS: Final = (
    """<ApiCall xmlns='http://tempuri.org/' encoding="ISO-8859-1">""",
    """<ApiCall xmlns='http://tempuri.org/' encoding=" ISO-8559-1">""",
)
# The page prints typographic quotes; ISO-8859-1 has none, so only a UTF-8 body can carry them.
_TYPOGRAPHIC_ROOT: Final = (
    "<ApiCall xmlns='http://tempuri.org/' encoding=\N{RIGHT DOUBLE QUOTATION MARK} ISO-8559-1"
    "\N{RIGHT DOUBLE QUOTATION MARK}>"
)
_BARE_TYPES: Final = {
    "json": ("application/json", "text/plain", ""),
    "xml": ("text/xml", "application/xml", ""),
}
_COSTS: Final = re.compile(r'"(CostRX|CostTX)": "([0-9.]+)"')
_VALUES: Final = re.compile(r"<VarValue>[^<]*</VarValue>")


@dataclass(frozen=True, slots=True)
class Style:
    """How this call's line is configured and this call is written.

    Attributes:
        form: ``json`` or ``xml``.
        envelope: ``form`` and ``multipart`` carry the variable ``apiInfocaller``; ``bare`` is the text itself.
        charset: ``utf-8`` or ``iso-8859-1``.
        content_type: of the request.
        boundary: of a multipart body.
        root: the start tag of an XML text.
        lone_object: one entry of a JSON list is written without the list, as XML converters do.
        bare_int: LineNumberInt without the country's code, as the page's JSON sample has it.
        whole_url: every URL variable is configured, not only those of the page's example.
        plus: the URL's caller begins with a ``+`` that nobody encoded.
    """

    form: str
    envelope: str
    charset: str
    content_type: str
    boundary: str
    root: str
    lone_object: bool
    bare_int: bool
    whole_url: bool
    plus: bool


def _style(dice: Dice) -> Style:
    form, envelope = dice.pick(("json", "xml")), dice.pick(("form", "form", "multipart", "bare"))
    charset = dice.pick(("utf-8", "iso-8859-1"))
    boundary = f"----infocaller{dice.digits(12)}"
    if envelope == "multipart":
        content_type = f"multipart/form-data; boundary={boundary}"
    else:
        plain = "application/x-www-form-urlencoded" if envelope == "form" else dice.pick(_BARE_TYPES[form])
        content_type = f"{plain}; charset={charset.upper()}" if plain and dice.chance(1 / 3) else plain
    return Style(
        form=form,
        envelope=envelope,
        charset=charset,
        content_type=content_type,
        boundary=boundary,
        root=dice.pick((*_ROOTS, _TYPOGRAPHIC_ROOT) if charset == "utf-8" else _ROOTS),
        lone_object=dice.chance(0.5),
        bare_int=form == "json" and dice.chance(0.5),
        whole_url=dice.chance(0.5),
        plus=dice.chance(1 / 8),
    )


@dataclass(frozen=True, slots=True)
class _Wire:
    """Everything about one call that its callbacks share."""

    source: Source
    life: Life
    style: Style
    sequence: str
    uuid: str
    start: datetime

    def international(self, number: str) -> str:
        return f"{country_code_for_region(self.source.country)}{number}" if number else ""

    def date(self, at: int) -> str:
        return (self.start + timedelta(seconds=at)).isoformat(timespec="seconds")

    # --- the text ----------------------------------------------------------------------------------------------------

    def user_id(self) -> dict[str, str]:
        line = self.source.line
        plain = f"{line}{self.sequence}{self.source.password}".encode("iso-8859-1")
        return {
            "LineNumber": line,
            "LineNumberInt": line if self.style.bare_int else self.international(line),
            "CallSequence": self.sequence,
            "Signature": md5(plain).hexdigest(),  # noqa: S324 - the vendor's choice
        }

    def main(self, *, final: bool) -> dict[str, str]:
        """The section ``Infocaller``, with the fields that the page shows in this form, in its order."""
        life, xml = self.life, self.style.form == "xml"
        inbound = "" if life.outbound else self.source.line
        fields = {"CallType": "E" if life.outbound else "R", "CallerNumber": life.caller}
        if xml:
            fields["CallerNumberInt"] = self.international(life.caller) if life.outbound else ""
        fields |= {
            "InboundNumber": inbound,
            "InboundNumberInt": self.international(inbound),
            "OutboundNumber": life.outbound,
        }
        if not xml:
            fields["OutboundNumberInt"] = self.international(life.outbound)
        fields["idcall"] = life.request_id
        if final:
            fields |= {
                "CallSeconds": str(life.clock),
                "StartDate": self.date(0),
                "EndDate": self.date(life.clock),
                "CostRX": life.received,
                "CostTX": life.issued,
            }
        return fields

    def action(self, action: Action) -> dict[str, str]:
        info = {f"EventAddInfo{n}": text for n, text in enumerate(action.info, 1)}
        return {
            "EventType": str(action.code),
            "EventDate": self.date(action.at),
            "EventName": action.name,
            **info,
        }

    def document(self, moment: Moment) -> dict[str, Any]:
        final = moment.event == "fin"
        variables = [{"VarName": name, "VarValue": value} for name, value in moment.variables]
        root: dict[str, Any] = {"UserID": self.user_id(), "Infocaller": self.main(final=final)}
        if final:
            root["Status"] = {"Events": {"Event": [self.action(action) for action in self.life.actions]}}
        root["CustVars"] = {"CustVar": variables}
        return root

    def json_text(self, moment: Moment) -> str:
        document = self.document(moment)
        variables = document["CustVars"]["CustVar"]
        for variable in variables:
            variable["VarValue"] = escape(variable["VarValue"]).replace("&#x27;", "&apos;")
        if self.style.lone_object:
            lists = [(document["CustVars"], "CustVar")]
            lists += [(document["Status"]["Events"], "Event")] if "Status" in document else []
            for holder, name in lists:
                if len(holder[name]) == 1:
                    holder[name] = holder[name][0]
        text = json.dumps({"ApiCall": document}, ensure_ascii=False)
        # The two costs are the only values that the vendor writes as numbers, always with six decimals.
        return _COSTS.sub(r'"\1": \2', text)

    def xml_text(self, moment: Moment) -> str:
        document = self.document(moment)
        if not document["CustVars"]["CustVar"]:
            document["CustVars"] = " "
        text: str = xmltodict.unparse({"ApiCall": document}, full_document=False)
        text = text.replace("<ApiCall>", self.style.root, 1)
        # Quotes need no escape in an XML text, and the vendor escapes them all the same.
        return _VALUES.sub(lambda found: found[0].replace("'", "&apos;").replace('"', "&quot;"), text)

    # --- the request -------------------------------------------------------------------------------------------------

    def body(self, text: str) -> bytes:
        style = self.style
        if style.envelope == "form":
            return f"apiInfocaller={quote_plus(text, safe='', encoding=style.charset)}".encode()
        if style.envelope == "multipart":
            head = f'--{style.boundary}\r\nContent-Disposition: form-data; name="apiInfocaller"\r\n\r\n'
            return head.encode() + text.encode(style.charset) + f"\r\n--{style.boundary}--\r\n".encode()
        return text.encode(style.charset)

    def query(self, moment: Moment) -> str:
        life, line = self.life, self.source.line
        values = {"num": line, "id": self.sequence}
        if self.style.whole_url:
            values |= {"uuid": self.uuid, "called": "" if life.outbound else line}
        if moment.diverted:
            values["desvio"] = moment.diverted
        known = life.caller != "X" and self.style.plus
        caller = f"+{self.international(life.caller)}" if known else life.caller
        return f"caller={caller}&{urlencode(values)}"

    def request(self, moment: Moment, latency: float) -> Request:
        text = self.json_text(moment) if self.style.form == "json" else self.xml_text(moment)
        return Request(
            at=round(moment.at + latency, 3),
            method="POST",
            path=f"/callbacks/{self.source.name}/{self.source.token}/{moment.event}",
            query=self.query(moment),
            content_type=self.style.content_type,
            body=self.body(text),
        )


@dataclass(frozen=True, slots=True)
class Issued:
    """A call that somebody asked for: where to, what the request is called, and the variables that came with it."""

    number: str
    idcall: str
    variables: tuple[tuple[str, str], ...] = ()


def infocaller_call(
    scenario: str, dice: Dice, source: Source, serial: int, start: datetime, *, issued: Issued | None = None
) -> Call:
    """One call.

    Args:
        scenario: one of ``LIVES``.
        dice: the call's own.
        source: where it is sent.
        serial: the vendor's CallSequence, one for each call.
        start: wall clock of the line's zone, without a zone, as the vendor writes it.
        issued: what was asked for, in a scenario of an issued call; made up without it.
    """
    life = LIVES[scenario](dice, source.line)
    if issued is not None:
        life.outbound, life.request_id = issued.number, issued.idcall
        life.moments = [replace(one, variables=(*issued.variables, *one.variables)) for one in life.moments]
    wire = _Wire(source, life, _style(dice), str(serial), dice.uuid(), start)
    requests = tuple(wire.request(moment, dice.seconds(0.05, 0.4)) for moment in life.moments)
    key = identity("infocaller", source.name, source.line, wire.sequence)
    return Call(key, source.name, "infocaller", scenario, requests)
