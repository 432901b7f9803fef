"""The objects that put a number into a dialer of uContact's: now, later, or for one agent. Pure.

Source: docs/vendors.md, chapter 4. All keys have to be there, empty ones too. Values inside ``data`` and alternatives
have no escape, so what would break them is taken out or refused.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from hub.errors import Permanent

Mode = Literal["priority", "click", "scheduled", "dialer"]

MODES: Final[Mapping[Mode, Mapping[str, Any]]] = {
    "dialer": {"source": "source", "bulk": False, "automatic": True},
    "priority": {"source": "source", "bulk": False, "automatic": True, "priority": 1},
    "click": {"source": "source", "bulk": False, "automatic": False},
    "scheduled": {"source": "source", "bulk": False, "automatic": True},
}
"""What distinguishes the page's four modes: ``dialer`` is its sample; the others are assumed, ``task_modes`` of the
source replaces them."""

FIXED: Final = frozenset({"calldate", "campaign", "destination", "alternatives", "agent", "data"})
"""Keys of a task that a mode does not set."""

_RESERVED: Final = re.compile(r"[#:='\r\n\0]")
_NUMBER: Final = re.compile(r"\+?[0-9*#]{1,32}")
_KINDED: Final = re.compile(r"[A-Za-z]{1,2}=[0-9]{1,4}=\+?[0-9]{1,32}")


def task(
    mode: Mode,
    *,
    campaign: str,
    destination: str,
    alternatives: Iterable[str] = (),
    agent: str = "",
    data: Mapping[str, str] | None = None,
    at: datetime | None = None,
    zone: ZoneInfo,
    modes: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The object ``call`` of DialerTask.

    Args:
        mode: ``priority``: before all others; ``click``: by hand, by the agent; ``scheduled``: at a time; ``dialer``:
            as soon as an agent is free.
        campaign: with its arrow, ``POWER<-``.
        destination: the number.
        alternatives: other numbers, in order.
        agent: extension of the one who is to take it; empty for any.
        data: variables for the form or workflow.
        at: aware; for ``scheduled``, and only there.
        zone: of the instance.
        modes: what distinguishes them; ``MODES`` without it.

    Raises:
        Permanent: a value that the vendor could not read, or ``at`` or ``agent`` lack where the mode needs them.
    """
    if (mode == "scheduled") != (at is not None):
        raise Permanent(f"DialerTask: mode {mode} with{'' if at else 'out'} a time; only scheduled has one")
    if mode == "click" and not agent:
        raise Permanent("DialerTask: mode click without an agent; expected the agent's extension")
    return {
        "calldate": None if at is None else local(at, zone),
        "campaign": named("campaign", campaign),
        "destination": number("destination", destination),
        "alternatives": joined(alternatives),
        "agent": agent,
        "data": variables(data or {}),
        **{name: value for name, value in (modes or {}).get(mode, MODES[mode]).items() if name not in FIXED},
    }


def schedule(
    *,
    campaign: str,
    destination: str,
    at: datetime,
    alternatives: Iterable[str] = (),
    agentphone: str = "",
    data: Mapping[str, str] | None = None,
    zone: ZoneInfo,
) -> dict[str, Any]:
    """The object ``callschedule`` of ScheduleDialerCall; arguments and errors as of :func:`task`."""
    return {
        "calldate": local(at, zone),
        "campaign": named("campaign", campaign),
        "destination": number("destination", destination),
        "alternatives": joined(alternatives),
        "agentphone": agentphone,
        "data": variables(data or {}),
    }


# --- values ----------------------------------------------------------------------------------------------------------


def local(at: datetime, zone: ZoneInfo) -> str:
    """``yyyy-MM-dd HH:mm:ss`` in the instance's zone; of an hour that comes twice, the vendor may take either."""
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def named(field: str, text: str) -> str:
    """A text that must not be empty. Raises Permanent."""
    if not text.strip():
        raise Permanent(f"{field}: found nothing; expected text")
    return text


def number(field: str, text: str) -> str:
    """A number as it is dialled, without ornaments. Raises Permanent, without the number."""
    plain = re.sub(r"[ ().\-/]", "", text)
    if not _NUMBER.fullmatch(plain):
        raise Permanent(f"{field}: found {len(text)} characters that are no number; expected digits, + before them")
    return plain


def alternative(text: str) -> str:
    """One alternative: a number, or one with its kind, ``H=0=999555555``. Raises Permanent."""
    return text if _KINDED.fullmatch(text) else number("alternatives", text)


def joined(alternatives: Iterable[str]) -> str:
    """Alternatives as the vendor writes them, ``:`` between."""
    return ":".join(alternative(one) for one in alternatives)


def split(alternatives: str) -> tuple[str, ...]:
    """The inverse of :func:`joined`."""
    return tuple(one.strip() for one in alternatives.split(":") if one.strip())


def variables(data: Mapping[str, str]) -> str:
    """``k=v:k=v``; what would be read as a separator is taken out, since nothing escapes it."""
    pairs = (
        (_RESERVED.sub("", str(name)).strip(), _RESERVED.sub("", str(value)).strip()) for name, value in data.items()
    )
    return ":".join(f"{name}={value}" for name, value in pairs if name)


def read_variables(text: str) -> dict[str, str]:
    """The inverse of :func:`variables`; a part without ``=`` belongs to nobody and is dropped."""
    parts = (part.partition("=") for part in text.split(":"))
    return {name.strip(): value for name, mark, value in parts if mark and name.strip()}
