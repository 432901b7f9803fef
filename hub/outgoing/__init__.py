"""Requests to other people's systems: guarded, limited, and honest about what is known of their effect.

One ``Outgoing`` for a process; one ``Lane`` for each system that it talks to. Lanes share nothing: one that hangs takes
nothing from another.

    outgoing = Outgoing(settings.egress.allow)
    await outgoing.start()
    lane = outgoing.lane("crm.acme", rate=50, concurrency=10, timeout=15)
    answer = await lane.ask(Request("POST", "https://api.example.com/calls", {"Authorization": "…"}, body))
    problem = verdict(answer, now)      # None: done; else the error that says what happens next
    ...
    async with lane.stream(Request("GET", url)) as streamed:
        async for chunk in streamed.chunks():
            ...
    await outgoing.close()

What ``ask`` and ``stream`` raise (``hub.errors``):

| error | known of the effect | next |
| --- | --- | --- |
| ``Forbidden`` | none: nothing was sent | permanent: the configuration has to change |
| ``NotSent`` | none: no name, refused, no connection in time, TLS | repeat |
| ``LaneClosed(until)``, a ``NotSent`` | none: not even tried | repeat after ``until``; no attempt was used up |
| ``NoTurn``, a ``NotSent`` | none: not even tried | repeat soon; no attempt was used up |
| ``Doubtful`` | unknown: sent, no whole answer | read back before repeating |

and what ``verdict`` says of an answer:

| status | error |
| --- | --- |
| 2xx | None |
| 429 | ``RateLimited(until)`` |
| 401, 403 | ``Expired`` |
| 410 | ``Gone`` |
| 3xx, 408, 421, 423, 425, 5xx, others | ``Later(status, until)``, a ``Doubtful``: it may have had its effect |
| any other 4xx | ``Refused(status)``, with an excerpt without secrets and numbers |
"""

from hub.outgoing.answers import retry_after, verdict, word
from hub.outgoing.client import Outgoing
from hub.outgoing.lane import Lane
from hub.outgoing.messages import BODY_LIMIT, Answer, Request
from hub.outgoing.redaction import excerpt, shown_headers, shown_url
from hub.outgoing.states import Closed, LaneState, OnChange, Opened, Verdict
from hub.outgoing.streams import Streamed
from hub.outgoing.tempo import Tempo
from hub.outgoing.tokens import Fetch, Token, Tokens, oauth

__all__ = [
    "BODY_LIMIT",
    "Answer",
    "Closed",
    "Fetch",
    "Lane",
    "LaneState",
    "OnChange",
    "Opened",
    "Outgoing",
    "Request",
    "Streamed",
    "Tempo",
    "Token",
    "Tokens",
    "Verdict",
    "excerpt",
    "oauth",
    "retry_after",
    "shown_headers",
    "shown_url",
    "verdict",
    "word",
]
