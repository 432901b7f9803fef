"""One connection, and callbacks to it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from hub.errors import Unusable
from hub.events import Event, identity
from hub.ports import Callback
from hub.vendors.infocaller.callbacks import Infocaller
from hub.vendors.infocaller.signature import signature

LINES: Final[Mapping[str, str]] = {"123456789": "3956"}
CALL_ID: Final = identity("infocaller", "line-900", "123456789", "98565656")
UUID: Final = "BFA2DBC8-AB8A-34C8-F243-C2AAD8C446FF"
RECEIVED: Final = datetime(2022, 1, 1, 9, 0, 43, 204000, tzinfo=UTC)


def infocaller(**settings: Any) -> Infocaller:
    defaults = {"source": "line-900", "lines": LINES, "timezone": "Europe/Madrid", "country": "ES"}
    return Infocaller(**(defaults | settings))


def callback(
    body: bytes | str = b"",
    *,
    event: str | None = "fin",
    query: str = "",
    content_type: str = "",
    received_at: datetime = RECEIVED,
) -> Callback:
    raw = body.encode() if isinstance(body, str) else body
    return Callback("line-900", event, query, content_type, raw, received_at)


def decoded(body: bytes | str = b"", *, vendor: Infocaller | None = None, **request: Any) -> Event:
    (event,) = (vendor or infocaller()).decode(callback(body, **request))
    return event


def refusal(body: bytes | str = b"", *, vendor: Infocaller | None = None, **request: Any) -> str:
    with pytest.raises(Unusable) as refused:
        (vendor or infocaller()).decode(callback(body, **request))
    return refused.value.reason


def user(line: str = "123456789", sequence: str = "98565656", password: str = "3956") -> dict[str, str]:
    return {"LineNumber": line, "CallSequence": sequence, "Signature": signature(line, sequence, password)}


def call(infocaller_section: Mapping[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    """A signed ApiCall with the given fields in its Infocaller section."""
    return {"UserID": user(), "Infocaller": dict(infocaller_section or {}), **sections}
