"""One server, and callbacks of it."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest

from hub.errors import Unusable
from hub.events import Event
from hub.ports import Callback
from hub.vendors.focalscope.callbacks import FocalScope

RECEIVED: Final = datetime(2026, 11, 20, 9, 15, 31, 204000, tzinfo=UTC)
FORM: Final = "application/x-www-form-urlencoded"

# The page's four sample callbacks, in its order.
API_GUID: Final = "bfa2dbc8-ab8a-34c8-f243-c2aad8c446ff"
OUTGOING_GUID: Final = "923041af-adb5-a8ae-f29c-e60ea5e17448"
SAMPLES: Final = tuple(
    f"CallType={kind}&Event={name}&CallID={call}&RequestID=513&EventCode={code}&IsCallRecorded={recorded}&Guid={guid}"
    for kind, name, call, code, recorded, guid in (
        ("API", "pickup", "1000000087849", 2, "", API_GUID),
        ("Outgoing", "pickup", "1000000087850", 2, "", OUTGOING_GUID),
        ("Outgoing", "hangup", "1000000087850", 1, "1", OUTGOING_GUID),
        ("API", "hangup", "1000000087849", 1, "1", API_GUID),
    )
)


def callback(query: str, body: bytes = b"", content_type: str = "") -> Callback:
    return Callback("desk", None, query, content_type, body, RECEIVED)


def decoded(query: str, *, vendor: FocalScope | None = None, **request: Any) -> Event:
    (event,) = (vendor or FocalScope(source="desk")).decode(callback(query, **request))
    return event


def refusal(query: str, **request: Any) -> str:
    with pytest.raises(Unusable) as refused:
        FocalScope(source="desk").decode(callback(query, **request))
    return refused.value.reason
