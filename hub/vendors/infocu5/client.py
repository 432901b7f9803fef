"""INFOCU5's Dialer API: what we ask of it. One URL, POST, the credentials in the body.

Source: docs/vendors.md, chapter 3. The answer's code decides, whatever its HTTP status: the pages know no other than
200. Bodies hold the affiliate's key and people's names: they are never logged, and what is said of an answer is masked.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import orjson
from yarl import URL

from hub.errors import Doubtful, TooMuch
from hub.logs import clean_text
from hub.outgoing import Answer as HttpAnswer, Lane, Request, verdict
from hub.vendors.infocu5 import leads as post
from hub.vendors.infocu5.codes import problem
from hub.vendors.values import decode_text

LIMIT: Final = 8 << 20
"""Bytes of an answer: some ten thousand calls."""

XML_PATH: Final = "index.php"  # of version 2.4, beside the URL of 3.1
_JSON: Final = "application/json"
_XML: Final = "text/xml"  # what a real client sends
_TOTAL: Final = 4.0  # times the lane's time limit: for a long answer that keeps coming
_LONGEST_MESSAGE: Final = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """A function's answer, which is a success or says that there is nothing.

    Attributes:
        code: ``responseCode``.
        message: ``responseMessage``.
        details: ``responseDetails`` as it came; None where there is none.
        shown: all of it.
    """

    code: int
    message: str
    details: Any
    shown: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Agent:
    """Who takes calls."""

    id: str
    first_name: str
    last_name: str


@dataclass(frozen=True, slots=True)
class DialerList:
    """Where leads go: a list, at a dialer, and the fields that it has. Absent ids are empty."""

    list_id: str
    list_name: str
    dialer_id: str
    dialer_name: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign and its lists, whichever of the page's two shapes it came in."""

    id: str
    name: str
    lists: tuple[DialerList, ...]


class Client:
    """One INFOCU5 affiliate.

    Args:
        lane: who asks; shared by all that talk to this affiliate.
        base_url: of version 3.1.
        affiliate_id: of the affiliate.
        affiliate_key: its secret.
        paths: by the name of an operation, a URL or a path from ``base_url`` that replaces the default.
        leads_as: how ``addLeads`` is posted: ``xml`` as version 2.4 documents it, or ``json``, whose shape in 3.1 is
            a guess.
        timeout: seconds until an answer begins.

    What every function raises:
        Refused, Forbidden: permanent; codes 80, 100, 800, and those that nobody knows.
        RateLimited, Expired, Gone: by the HTTP status.
        NotSent: certainly nothing was done.
        Doubtful: code 900, a server's error, no whole answer; of a function that only reads, ask again.
        TooMuch: the answer is longer than ``LIMIT``; of ``add_leads`` that is ``Doubtful`` too.
    """

    def __init__(
        self,
        lane: Lane,
        *,
        base_url: str,
        affiliate_id: str,
        affiliate_key: str,
        paths: Mapping[str, str] | None = None,
        leads_as: Literal["xml", "json"] = "xml",
        timeout: float = 60.0,
    ) -> None:
        """Opens nothing."""
        self._lane = lane
        self._base = URL(base_url)
        self._id, self._key = affiliate_id, affiliate_key
        self._paths = dict(paths or {})
        self._leads_as = leads_as
        self._timeout = timeout

    async def get_agents(self, *, show_all: bool = True) -> Answer:
        """Agents: all that we may see, or only our own."""
        return await self._function("getAgents", {"showAll": "y" if show_all else "n"})

    async def get_campaigns(self, *, show_all: bool = True) -> Answer:
        """Campaigns with their lists: all that we may see, or only our own."""
        return await self._function("getCampaigns", {"showAll": "y" if show_all else "n"})

    async def get_calls(
        self, since: datetime, until: datetime, *, campaigns: Sequence[str] = (), agents: Sequence[str] = ()
    ) -> Answer:
        """Records of calls of a time, both ends rounded outwards to whole seconds.

        Args:
            since: aware.
            until: aware. Whether either end is inclusive is not documented.
            campaigns: ids; of all without it.
            agents: ids; of all without it.
        """
        filters = {"filterCampaigns": list(campaigns), "filterAgents": list(agents)}
        asked = {"dateStart": _iso(since), "dateEnd": _iso(until, up=True)}
        return await self._function("getCalls", asked | {name: ids for name, ids in filters.items() if ids})

    async def add_leads(
        self,
        dialer_id: str,
        list_id: str,
        leads: Any,
        *,
        time_offset: str = "0",
        auto_populate: bool = True,
        before: float | None = None,
    ) -> Answer:
        """Puts one to ten leads into a list of a dialer. Not idempotent: what is ``Doubtful`` may be in the list.

        Args:
            dialer_id: ``DI`` and six characters.
            list_id: of that dialer.
            leads: objects by the names in ``leads.FIELDS``. Raises Permanent for any other, a payment card's first.
            time_offset: ``callTimeOffset``, version 2.4 alone.
            auto_populate: ``listAutoPopulate``, version 2.4 alone.
            before: of the monotonic clock: they are not put there after that (``NotSent``).
        """
        wanted = post.checked(leads)
        where = {"dialerID": dialer_id, "listID": list_id}
        url, kind, body, read = self._url("addLeads"), _JSON, b"", _read_json
        if self._leads_as == "json":
            body = self._asking("addLeads", post.as_fields(where, wanted))
        else:
            extra = {"callTimeOffset": time_offset, "listAutoPopulate": "y" if auto_populate else "n"}
            head = {"affiliateID": self._id, "affiliateKey": self._key, **where, **extra}
            url, kind, read = self._url("addLeads", XML_PATH), _XML, post.read_xml
            body = post.as_xml(head, wanted)
        try:
            answered = await self._post(url, kind, body, once=True, before=before)
        except TooMuch as error:  # of what it did not say in time, nobody knows whether it was done
            raise Doubtful(str(error)) from None
        return self._judged("addLeads", answered, read)

    async def _function(self, name: str, parameters: Mapping[str, Any]) -> Answer:
        answered = await self._post(self._url(name), _JSON, self._asking(name, parameters))
        return self._judged(name, answered, _read_json)

    def _asking(self, name: str, parameters: Mapping[str, Any]) -> bytes:
        return orjson.dumps({"affiliateID": self._id, "affiliateKey": self._key, "dialerFunction": name, **parameters})

    def _url(self, operation: str, default: str = "") -> str:
        path = self._paths.get(operation, default)
        return str(self._base.join(URL(path)) if path else self._base)

    async def _post(
        self, url: str, kind: str, body: bytes, *, once: bool = False, before: float | None = None
    ) -> HttpAnswer:
        """Posts, and reads the whole answer, which may be longer than the lane's own limit."""
        request = Request("POST", url, {"Content-Type": kind, "Accept": f"{kind}, */*;q=0.1"}, body, once=once)
        total = _TOTAL * self._timeout
        streaming = self._lane.stream(request, redirects=0, total=total, read=self._timeout, before=before)
        async with streaming as streamed:
            content = await streamed.body(LIMIT + 1)
            if len(content) > LIMIT:
                raise TooMuch(f"the answer is longer than {LIMIT} bytes; ask for less")
            return HttpAnswer(streamed.status, streamed.headers, content)

    def _judged(self, function: str, answered: HttpAnswer, read: Any) -> Answer:
        """A code counts before the HTTP status, and that before what cannot be read."""
        status = verdict(answered, datetime.now(UTC))
        try:
            said = read(answered.body)
            code = _code(said)
        except Doubtful as unreadable:
            raise (status or unreadable) from None
        message = self._masked(said.get("responseMessage"))
        failed = problem(function, code, message)
        if failed is not None:
            raise failed
        if status is not None:
            raise status
        return Answer(code, message, said.get("responseDetails"), said)

    def _masked(self, message: Any) -> str:
        text = message if isinstance(message, str) else ""
        return clean_text(text.replace(self._key, "…"))[:_LONGEST_MESSAGE]


def agents_of(answer: Answer) -> list[Agent]:
    """The agents in an answer of getAgents; what is no agent is left out."""
    entries = _entries(answer.details, "agentID")
    return [Agent(_id(one, "agentID"), _id(one, "agentNameFirst"), _id(one, "agentNameLast")) for one in entries]


def campaigns_of(answer: Answer) -> list[Campaign]:
    """The campaigns in an answer of getCampaigns.

    The page's text has ``campaignLists``, each with a dialer and its fields; its sample has ``campaignProducts``, each
    a list whose ``listMapping`` has the dialers.
    """
    return [
        Campaign(_id(one, "campaignID"), _id(one, "campaignName"), tuple(_lists(one)))
        for one in _entries(answer.details, "campaignID")
    ]


def _lists(campaign: Mapping[str, Any]) -> list[DialerList]:
    places = [(one, one) for one in _entries(campaign.get("campaignLists"), "dialerID")]
    for product in _entries(campaign.get("campaignProducts"), "listID"):
        places += [(product, mapping) for mapping in _entries(product.get("listMapping"), "dialerID")]
    return [
        DialerList(
            list_id=_id(place, "listID"),
            list_name=_id(place, "listName"),
            dialer_id=_id(dialer, "dialerID"),
            dialer_name=_id(dialer, "dialerName"),
            fields=tuple(name for name in _listed(dialer.get("fields")) if isinstance(name, str)),
        )
        for place, dialer in places
    ]


def _entries(value: Any, key: str) -> list[dict[str, Any]]:
    """Objects in a list, or in an object by their id, or one alone."""
    if isinstance(value, Mapping):
        if key in value and not isinstance(value[key], Mapping):
            return [dict(value)]
        return [{key: name, **one} for name, one in value.items() if isinstance(one, Mapping)]
    return [dict(one) for one in _listed(value) if isinstance(one, Mapping)]


def _listed(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []


def _id(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _read_json(body: bytes) -> dict[str, Any]:
    """An answer as an object. Raises Doubtful where it is none."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            said = json.loads(decode_text(body))  # takes half a character, which one record may have among thousands
        except (ValueError, RecursionError):
            raise Doubtful("the answer is not JSON") from None
    if not isinstance(said, dict):
        raise Doubtful(f"the answer is a JSON {type(said).__name__}; expected an object")
    return said


def _code(said: Mapping[str, Any]) -> int:
    code = said.get("responseCode")
    text = str(code).strip() if isinstance(code, str | int) and not isinstance(code, bool) else ""
    if not (text.isascii() and text.isdecimal() and len(text) < 10):  # noqa: PLR2004
        raise Doubtful("the answer has no responseCode")
    return int(text)


def _iso(at: datetime, *, up: bool = False) -> str:
    """``2022-01-01T00:13:13+00:00``."""
    whole = at.astimezone(UTC)
    if whole.microsecond:
        whole = whole.replace(microsecond=0) + timedelta(seconds=int(up))
    return whole.isoformat()
