"""FocalScope's archive of the calls that are played, whether the hub was told of them or not.

Source: the vendor's page on its archive shows the folders, the comments and the first keys of the JSON; all others are
invented, with the names that the hub expects by default.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl

import orjson

from hub.simulator.scenarios import Step

_HEAD = "/* FocalScope recording archive */\n"


@dataclass(slots=True)
class _Leg:
    values: dict[str, str]
    began: datetime
    answered: datetime | None = None
    ended: datetime | None = None
    recorded: bool = False


@dataclass(slots=True)
class Archivist:
    """Notes every leg of FocalScope's calls, and writes their files.

    Attributes:
        clock: when a step happens.
    """

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _legs: dict[str, _Leg] = field(default_factory=dict)

    def watch(self, steps: Iterable[Step]) -> Iterator[Step]:
        """The steps as they are, noted as they are taken; dropped ones too: the vendor's call took place."""
        for step in steps:
            if step.call.vendor == "focalscope":
                # Not the request as a mutator left it.
                self.note(step.call.requests[step.ordinal].query, self.clock())
            yield step

    def note(self, query: str, at: datetime) -> None:
        """One event of a leg, by the query that tells it, as the vendor meant it."""
        values = dict(parse_qsl(query, keep_blank_values=True))
        leg = self._legs.setdefault(values["Guid"].lower(), _Leg(values, at))
        leg.began = min(leg.began, at)
        match values["Event"]:
            case "pickup":
                leg.answered = max(at, leg.answered or at)
                leg.values = values  # the agent who answered
            case "hangup" | "missed":
                leg.ended = max(at, leg.ended or at)
                leg.recorded = leg.recorded or values.get("IsCallRecorded") == "1"

    def write(self, directory: Path) -> int:
        """The archive, each leg in the folder of its date in UTC; returns how many legs."""
        for number, (guid, leg) in enumerate(self._legs.items(), 1):
            folder = directory / "monitor" / f"{leg.began:%Y-UTC/%m/%d}"
            folder.mkdir(parents=True, exist_ok=True)
            text = orjson.dumps(_notes(guid, number, leg), option=orjson.OPT_INDENT_2).decode()
            (folder / f"{guid}.json").write_text(_HEAD + text, encoding="utf-8")
        return len(self._legs)


def _notes(guid: str, number: int, leg: _Leg) -> dict[str, object]:
    values = leg.values
    request = values.get("RequestID", "")
    return {
        "nId": number,
        "usId": guid,
        "sUniqueId": f"{leg.began.timestamp():.0f}.{number}",
        "nRequestId": int(request) if request.isdecimal() else 0,
        "nCallId": int(values["CallID"]),
        "sCallType": values["CallType"],
        "dtStart": _time(leg.began),
        "dtAnswer": _time(leg.answered),
        "dtEnd": _time(leg.ended),
        "sCallerId": values.get("CallerID", ""),
        "sDid": values.get("DID", ""),
        "sExtension": values.get("Ext", ""),
        "sAgent": values.get("Agent", ""),
        "sQueue": "" if "{" in values.get("Queue", "") else values.get("Queue", ""),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")
