"""What a simulated uContact has been told, for tests to look at: dials, calls, lists, blacklist, recordings."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

TASK_KEYS: Final = frozenset(
    {"calldate", "campaign", "destination", "alternatives", "agent", "data", "source", "bulk", "automatic"}
)
SCHEDULE_KEYS: Final = frozenset({"calldate", "campaign", "destination", "alternatives", "agentphone", "data"})
RESPOOL_KEYS: Final = frozenset(
    {"campaign", "destination", "status", "data", "alternatives", "retries", "contact", "dialerbase", "priority"}
    | {"agentphone"}
)
BLACKLIST_KEYS: Final = frozenset({"clientId", "campaign", "date"})
_CALLDATE: Final = "%Y-%m-%d %H:%M:%S"
_LONGEST_NAME: Final = 50
_FIELDS: Final = 5  # of a record in a list, before the agent's


@dataclass(frozen=True, slots=True)
class Dial:
    """A number that a dialer was given to call.

    Attributes:
        function: that gave it: ``DialerTask``, ``ScheduleDialerCall``, ``RespoolCall``, ``freshLeads``, ``lists``.
        campaign: or the hub's name.
        destination: the main number.
        contact: its id at the dialer, where the function says it; else what ``data`` says under ``contact``; else the
            number.
        at: ``calldate`` as it was sent; None for as soon as possible.
        taken_at: when it was taken.
        said: all of it.
    """

    function: str
    campaign: str
    destination: str
    contact: str
    at: str | None
    taken_at: datetime
    said: dict[str, Any]


@dataclass(slots=True)
class List:
    """A list of the automation API: its contacts are there once it has loaded."""

    filename: str
    hub: str
    contacts: list[dict[str, Any]]
    loaded_at: datetime

    def status(self, now: datetime) -> str:
        """``loading``, then ``inactive``."""
        return "loading" if now < self.loaded_at else "inactive"


@dataclass
class Books:
    """What has been done, whether or not the answer arrived.

    Attributes:
        dials: in the order of their taking.
        calls: of agents, by guid.
        uploads: rows of lists, by the file's name.
        lists: of the automation API, by hub and name.
        blacklist: campaigns (empty for all) by number.
        deleted: contacts and schedules that were taken out.
        done: everything else that changed something: function and what was said.
    """

    dials: list[Dial] = field(default_factory=list)
    calls: dict[str, dict[str, str]] = field(default_factory=dict)
    uploads: dict[str, list[list[str]]] = field(default_factory=dict)
    lists: dict[tuple[str, str], List] = field(default_factory=dict)
    blacklist: dict[str, set[str]] = field(default_factory=dict)
    deleted: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    done: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def per_contact(self) -> Counter[tuple[str, str]]:
        """How often each contact of each campaign was given to a dialer."""
        return Counter((dial.campaign, dial.contact) for dial in self.dials)

    def per_number(self) -> Counter[str]:
        """How often each number was."""
        return Counter(dial.destination for dial in self.dials)

    def dial(self, function: str, said: dict[str, Any], now: datetime) -> None:
        """Takes a number."""
        data = dict(pair.split("=", 1) for pair in str(said.get("data") or "").split(":") if "=" in pair)
        number = str(said["destination"])
        contact = str(said.get("contact") or data.get("contact") or number)
        at = said.get("calldate")
        self.dials.append(Dial(function, str(said["campaign"]), number, contact, at, now, said))

    def leads(self, function: str, hub: str, contacts: Iterable[dict[str, Any]], at: Any, now: datetime) -> None:
        """Takes the contacts of a list."""
        for contact in contacts:
            number = str(contact["clientIds"][0])
            name = str(contact.get("contact") or number)
            self.dials.append(Dial(function, hub, number, name, at, now, contact))

    def load(self, hub: str, filename: str, contacts: list[dict[str, Any]], now: datetime, seconds: float) -> List:
        """Begins a list."""
        made = List(filename, hub, contacts, now + timedelta(seconds=seconds))
        self.lists[hub, filename] = made
        self.leads("lists", hub, contacts, None, now)
        return made


# --- what it understands ---------------------------------------------------------------------------------------------


def read_object(text: Any, keys: frozenset[str]) -> dict[str, Any] | None:
    """JSON in a form's parameter; None where a key is missing, or it is none."""
    try:
        said = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return said if isinstance(said, dict) and keys <= said.keys() else None


def is_calldate(text: Any) -> bool:
    """``yyyy-MM-dd HH:mm:ss``, and nothing else."""
    try:
        return isinstance(text, str) and datetime.strptime(text, _CALLDATE).strftime(_CALLDATE) == text  # noqa: DTZ007
    except ValueError:
        return False


def read_rows(filename: str, text: str, campaign: str, count: str) -> list[list[str]] | None:
    """The records of a list; None where the name, the number of rows or any record is not as the vendor wants it."""
    name, _, ending = filename.rpartition(".")
    plain = name.replace("_", "").replace("-", "")
    if ending != "csv" or not plain.isalnum() or len(name) > _LONGEST_NAME or name.startswith("R"):
        return None
    lines = text.splitlines()
    rows = [line.split(";")[:-1] for line in lines]
    sound = all(
        line.endswith(";") and len(row) >= _FIELDS and row[0] == campaign and row[1]
        for line, row in zip(lines, rows, strict=True)
    )
    return rows if rows and sound and count == str(len(rows)) else None
