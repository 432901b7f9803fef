"""Links to audio for those who have no Bearer token, a CRM's player for instance: signed, and good for a time. Pure.

    https://hub.example.com/v1/recordings/<id>/audio?token=<expiry>.<signature>

The signature is HMAC-SHA256 over the recording's id and the expiry, by a key that is made of ``recordings.link_key``,
else of the admin token: who changes that ends every link.
"""

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from hub.config import Settings

_PURPOSE: Final = b"trunkline recordings link v1"
_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Links:
    """Makes links and knows its own.

    Attributes:
        base: what strangers reach the hub by, without a slash at its end.
        lifetime: from the moment that a link counts from.
    """

    base: str
    key: bytes
    lifetime: timedelta

    @classmethod
    def of(cls, settings: Settings) -> "Links | None":
        """As configured; None where there is neither a key nor an admin token."""
        secret = settings.recordings.link_key or settings.admin.token
        if secret is None:
            return None
        http = settings.http
        base = (http.public_url or f"http://{http.host}:{http.port}").rstrip("/")
        key = hmac.digest(secret.get_secret_value().encode(), _PURPOSE, "sha256")
        return cls(base, key, timedelta(days=settings.recordings.link_days))

    def link(self, recording_id: str, since: datetime) -> str:
        """The URL of a recording's audio; the same for the same moment.

        Args:
            recording_id: whose.
            since: when it was stored: the link is good for ``lifetime`` from then.
        """
        return f"{audio_url(self.base, recording_id)}?token={self.token(recording_id, since + self.lifetime)}"

    def token(self, recording_id: str, until: datetime) -> str:
        """What opens a recording's audio until then, to the second."""
        expiry = int(until.timestamp())
        return f"{expiry}.{self._signature(recording_id, expiry).decode()}"

    def good(self, recording_id: str, token: str, now: datetime) -> bool:
        """Whether the token is ours, of this recording, and not too old."""
        stated, _, signature = token.partition(".")
        if not (stated.isascii() and stated.isdecimal() and len(stated) <= _DIGITS):
            return False
        same = hmac.compare_digest(signature.encode("utf-8", "replace"), self._signature(recording_id, int(stated)))
        return same and now < datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(stated))

    def _signature(self, recording_id: str, expiry: int) -> bytes:
        digest = hmac.digest(self.key, f"{recording_id}.{expiry}".encode(), sha256)
        return urlsafe_b64encode(digest).rstrip(b"=")


def audio_url(base: str, recording_id: str) -> str:
    """Where the API serves a recording's audio."""
    return f"{base}/v1/recordings/{recording_id}/audio"
