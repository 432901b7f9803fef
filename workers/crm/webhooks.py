"""What a destination that is a webhook does with its work: each event is posted, and posted again."""

from datetime import datetime

from hub.ports.forwarding import Done, Outcome
from workers.crm.visit import Visit
from workers.crm.webhook import Webhook


class Webhooks:
    """A repetition does no harm there: the receiver knows the event's id. So no intent is noted or doubted."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook

    async def do(self, visit: Visit, now: datetime) -> Outcome:
        """One visit. Raises Lost, StoreUnavailable and what requests raise."""
        for want in visit.work.wants:
            await visit.ask("post", self._webhook.request(want.message, now), lambda _: None)
        return Done(visit.work)
