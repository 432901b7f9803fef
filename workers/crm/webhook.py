"""Standard Webhooks: each event for itself, signed, with one id over all its attempts. Pure."""

from datetime import datetime
from typing import Final

import orjson
from standardwebhooks import Webhook as Signer

from hub.config import WebhookDestination
from hub.events import Message
from hub.outgoing import Request

_AGENT: Final = "trunkline"


class Webhook:
    """The requests to one receiver."""

    def __init__(self, settings: WebhookDestination) -> None:
        self._url = settings.url
        self._signers = [Signer(secret.get_secret_value()) for secret in settings.secrets]

    def request(self, message: Message, now: datetime) -> Request:
        """An event's request: the same body and ``webhook-id`` each time, the timestamp and signatures of this one."""
        body = content(message)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": _AGENT,
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(self._signed(message.id, now, body)),
        }
        return Request("POST", self._url, headers, body, traceparent=message.headers.get("traceparent"))

    def _signed(self, name: str, now: datetime, body: bytes) -> list[str]:
        """With every live secret: whoever has one of them can verify it."""
        return [signer.sign(name, now, body.decode()) for signer in self._signers]


def content(message: Message) -> bytes:
    """``{"type","timestamp","data"}``, the event's data byte for byte."""
    kind = message.headers["ce-type"].removeprefix("trunkline.").removesuffix(".v1")
    told = {"type": kind, "timestamp": message.headers["ce-time"], "data": orjson.Fragment(message.body)}
    return orjson.dumps(told)
