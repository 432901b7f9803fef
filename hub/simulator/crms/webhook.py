"""A webhook's receiver, as a consumer would write it with the reference library."""

from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from hub.simulator.crms.double import Double, reply
from hub.simulator.crms.mischief import Mischief


class WebhookDouble(Double):
    """Takes what is signed.

    Args:
        secret: the one that this receiver has.

    Attributes:
        got: bodies by ``webhook-id``, each time that one came.
        headers: of each id, the latest.
        unsigned: how many were not.
    """

    def __init__(self, secret: str, *, mischief: Mischief | None = None, pause: float = 0.0) -> None:
        super().__init__(mischief=mischief, pause=pause)
        self._signer = Webhook(secret)
        self.got: dict[str, list[dict[str, Any]]] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.unsigned = 0

    def _knows(self, request: web.Request) -> bool:  # noqa: ARG002
        return True  # a signature proves the body, which is read later

    def routes(self) -> list[web.RouteDef]:
        """One address."""
        return [web.post("/hook", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.text()
        try:
            told = self._signer.verify(body, dict(request.headers))
        except WebhookVerificationError as error:
            self.unsigned += 1
            return reply({"message": str(error)}, 400)
        name = request.headers["webhook-id"]
        self.got.setdefault(name, []).append(told)
        self.headers[name] = dict(request.headers)
        return reply({})
