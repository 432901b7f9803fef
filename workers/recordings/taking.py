"""From an ``available`` event to what the store takes. Pure."""

from datetime import datetime, timedelta
from uuid import UUID

from hub.config import Settings
from hub.errors import Permanent
from hub.events import Event, to_message
from hub.ports.recordings import Announced
from workers.recordings.sources import kept_at_vendor, templates


def announced(event: Event, settings: Settings, now: datetime) -> Announced:
    """What is to be fetched, and until when.

    Raises:
        Permanent: the event does not say which recording of which call it speaks of.
    """
    source = settings.sources.get(event.source)
    leg = event.data.get("leg")
    leg_id = leg.get("id") or leg.get("role") if isinstance(leg, dict) else None
    kept = kept_at_vendor(source)
    expires_at = event.time + kept
    return Announced(
        message=to_message(event),
        recording_id=_uuid(event, "recording_id"),
        call_id=_uuid(event, "call_id"),
        vendor=event.vendor,
        source=event.source,
        leg=None if leg_id is None else str(leg_id),
        data=event.data,
        at=min(event.time, now),
        expires_at=expires_at,
        alert_at=expires_at - min(timedelta(seconds=settings.recordings.alert_before), kept / 2),
        wanted=source is not None and bool(templates(source)),
        again=event.again,
    )


def _uuid(event: Event, field: str) -> str:
    value = event.data.get(field)
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise Permanent(f"{field} is {str(value)[:60]!r}, expected a UUID") from None
