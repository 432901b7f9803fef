"""What vendors send in a simulated minute: calls of the simulator's catalogue, spoiled, pressed together."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any, Final

from multidict import CIMultiDict
from yarl import URL

from hub.ingress import Gate
from hub.simulator.call import Call, Request
from hub.simulator.mutators import Mutations, mutate
from hub.simulator.scenarios import Step, calls
from tests.simulator.support import DECODERS, TARGET

_POOL: Final = 280
_SEED: Final = 20261120
GATES: Final[Mapping[str, Gate]] = {
    source.name: Gate(source.name, source.vendor, (source.token,), (), DECODERS[source.name]) for source in TARGET
}


@cache
def pool() -> tuple[Call, ...]:
    """Calls to draw from: every scenario, many times."""
    return tuple(calls(["all"], seed=_SEED, count=_POOL, target=TARGET))


@dataclass(frozen=True, slots=True)
class Callback:
    """One request, and when it is sent."""

    at: float
    request: Request


def script(random: Random, *, count: int, span: float, mutations: Mutations) -> list[Callback]:
    """The callbacks of ``count`` calls within ``span`` seconds, in their order."""
    steps = []
    chosen = random.sample(pool(), count)
    for call in chosen:
        begins, ends = random.random() * span * 0.6, random.uniform(0.5, 1.0) * span
        whole = max(1e-6, call.requests[-1].at)
        for ordinal, request in enumerate(call.requests):
            at = begins + max(0.0, ends - begins) * request.at / whole
            steps.append(Step(round(at, 6), call, request, ordinal))
    steps.sort(key=lambda step: (step.at, step.call.key, step.ordinal))
    seed = random.getrandbits(32)
    sent = [step for step in mutate(iter(steps), mutations, seed=seed) if "drop" not in step.marks]
    return [Callback(min(step.at, 1.5 * span), step.request) for step in sent]


class Arrived:
    """A request as the door sees it: what ``hub.ingress`` reads of ``aiohttp.web.Request``."""

    def __init__(self, request: Request) -> None:
        segments = request.path.split("/")
        self.method = request.method
        self.raw_path = f"{request.path}?{request.query}" if request.query else request.path
        self.match_info: dict[str, Any] = {"source": segments[2], "token": segments[3]}
        if len(segments) > 4:
            self.match_info["event"] = segments[4]
        self.headers: CIMultiDict[str] = CIMultiDict()
        if request.content_type:
            self.headers["Content-Type"] = request.content_type
        self.content_length = len(request.body)
        self.remote = "192.0.2.1"
        self.rel_url = URL.build(path=request.path, query_string=request.query, encoded=True)
        self.content = _Content(request.body)


class _Content:
    """A body that has come whole."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def readany(self) -> bytes:
        body, self._body = self._body, b""
        return body
