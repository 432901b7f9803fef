"""Taking orders for calls: by HTTP, by the bus or by the command line, they come through here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from hub.dialing.orders import Order, checked_key
from hub.errors import Unacceptable
from hub.ports.dialing import Dial, Dials, Form


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Counter:
    """A source that can place calls.

    Attributes:
        form: what its vendor can be asked for.
        within: seconds after which a call is not placed any more.
        callee: a number as events have it.
    """

    vendor: str
    form: Form
    within: float
    callee: Callable[[str], Mapping[str, str]]


class Dialing:
    """Takes orders.

    Args:
        counters: by the names of the sources that can dial.
        dials: where they are kept.
        clock: aware, UTC.
    """

    def __init__(self, counters: Mapping[str, Counter], dials: Dials, clock: Callable[[], datetime] = _now) -> None:
        self._counters = dict(counters)
        self.dials = dials
        self._clock = clock

    async def take(self, order: Order, key: str | None, vendor: str | None = None) -> Dial:
        """A new dial, or the one that the key stands for.

        Args:
            order: as it was read.
            key: of idempotency.
            vendor: that the source has to be of; any without it.

        Raises:
            Unacceptable: with one line: the key, what was found, what is expected.
            KeyReused: the key stands for another order.
            StoreUnavailable: it was not taken, or it is not known whether it was: ask again with the same key.
        """
        counter = self._counter(order.source, vendor)
        counter.form.check(order)
        known = None if key is None else checked_key(key)
        callee = counter.callee(order.destination)
        return await self.dials.take(
            order, counter.vendor, callee=callee, key=known, now=self._clock(), within=counter.within
        )

    def _counter(self, source: str, vendor: str | None) -> Counter:
        able = {name: one for name, one in self._counters.items() if vendor in (None, one.vendor)}
        if source not in able:
            of = "" if vendor is None else f" of {vendor[:40]}"
            expected = ", ".join(sorted(able)) or "none is configured"
            raise Unacceptable(f"source is {source[:40]!r}, expected one{of} that can place calls: {expected}")
        return able[source]
