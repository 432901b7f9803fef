"""A vendor's records as those of its callbacks that did not come: ``hub.ports.polls.RecordSource``.

The poller and ``trunkline backfill`` ask it as they ask any source of records; it gives them the events that stand in
for lost callbacks, and nothing for what was heard.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from hub import metrics
from hub.events import Event
from hub.gaps.comparing import Finding, Heard
from hub.ports.gaps import Gaps, LegSource, Told
from hub.ports.polls import Origin, Polled

MARGIN: Final = timedelta(minutes=15)
"""Between the vendor's clock and ours, and from a leg's beginning to its first callback."""

OF_LATE: Final = timedelta(hours=4)
"""Before the youngest leg that was compared: what the shown loss is of, however the time was cut into windows."""

_log = structlog.get_logger("gaps")


@dataclass(frozen=True, slots=True)
class Loss:
    """Callbacks of a time, as the vendor's records have it."""

    promised: int = 0
    lost: int = 0

    @property
    def ratio(self) -> float:
        """Of what was promised; 0 where nothing was."""
        return self.lost / self.promised if self.promised else 0.0

    def __add__(self, other: "Loss") -> "Loss":
        return Loss(self.promised + other.promised, self.lost + other.lost)


class Comparing:
    """The gaps of one source.

    Args:
        records: what the vendor has.
        gaps: what we have heard.
        grace: seconds for which a callback may be on its way, in the outbox say, before it counts as lost.
        clock: our time.
    """

    def __init__(
        self,
        records: LegSource,
        gaps: Gaps,
        *,
        grace: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = records.name
        self._records, self._gaps, self._clock = records, gaps, clock
        self._grace = timedelta(seconds=grace)
        self._late: dict[frozenset[str], tuple[datetime, Loss]] = {}

    async def between(self, since: datetime, until: datetime, origin: Origin) -> Polled:
        """An event for each callback that legs of a time promise, that did not come, and that nothing stands in for.

        ``origin`` does not matter: what a record tells instead of a callback is a ``backfill``, whoever looks.
        """
        del origin
        ripe = self._clock() - self._grace
        told, unreadable = await self._records.told(since, until)
        due = [one for one in told if one.at <= ripe]
        heard = Heard(await self._heard(due, since, until))
        findings = [(one, heard.finding(one)) for one in due]
        self._show(findings)
        events = tuple(one.stand_in(verb, found.call_id) for one, found in findings for verb in found.lacking)
        return Polled(events, tuple(unreadable))

    async def _heard(self, due: Sequence[Told], since: datetime, until: datetime) -> dict[str, list[Event]]:
        """The calls of that time, and those that a leg joined later."""
        if not due:
            return {}
        heard = await self._gaps.heard(self.name, since - MARGIN, until + MARGIN)
        known = Heard(heard)
        elsewhere = {one.call_id for one in due if known.home(one) is None} - heard.keys()
        return heard | await self._gaps.heard_of(elsewhere)

    def _show(self, findings: Sequence[tuple[Told, Finding]]) -> None:
        loss = self._loss(findings)
        if loss.promised:
            metrics.callback_loss.labels(self.name, "records").set(loss.ratio)
        calls = {found.call_id for _, found in findings if found.lacking}
        if calls:
            lacking = sum(len(found.lacking) for _, found in findings)
            _log.warning("gaps.found", source=self.name, calls=len(calls), callbacks=lacking, loss=round(loss.ratio, 5))

    def _loss(self, findings: Sequence[tuple[Told, Finding]]) -> Loss:
        """Of the legs of late: a cycle looks at its time window by window, and the last one may hold next to none."""
        self._late |= {one.names: (one.at, Loss(found.promised, found.lost)) for one, found in findings}
        youngest = max((at for at, _ in self._late.values()), default=None)
        if youngest is not None:
            self._late = {names: kept for names, kept in self._late.items() if kept[0] > youngest - OF_LATE}
        return sum((loss for _, loss in self._late.values()), Loss())
