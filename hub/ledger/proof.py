"""Proof that an event is nowhere in a queue that cannot be asked for it. Pure: no clock, no bus.

RabbitMQ tells how many messages are ready and how many consumers there are, and nobody can ask it for an id. What can
be had is an order of moments, out of numbers that those concerned give themselves (``hub.ports.Presence``):

1. The event was confirmed before the proof began. Then it was ready, or in somebody's hand, or lost.
2. Every message that was ready at the beginning has left: nothing was ready at some later moment, or the processes
   together have been given as many as were ready. A queue gives the oldest first.
3. Every delivery that a process had by then is settled.

Whoever is then neither in the store, nor dead, nor noted as waiting for a retry is lost. It holds only while nothing
can go back to the queue unsettled: whenever a process comes, goes, or loses its channel, the proof begins again. What a
process says counts two beats later: the first may have been worked out before the moment it is to say something about.
"""

from collections.abc import Collection, Mapping
from typing import Final

from hub.ports import Presence

SILENT: Final = 5.0
"""Seconds without a beat after which a process may be gone."""

GONE: Final = 60.0
"""Seconds after which it is: the broker has given back what it had after three heartbeats of 15 s at the most."""

STRANGE: Final = 30.0
"""Seconds for which a consumer that nobody tells of is waited for: one of ours that has yet to say its first word."""

_BEATS: Final = 2

Crew = Mapping[str, Presence]


class Roster:
    """Who may have something in hand, by what they say and by how many the broker counts."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[int, float]] = {}
        self._strange_since: float | None = None

    def crew(self, rows: Collection[Presence], consumers: int, now: float) -> dict[str, Presence] | None:
        """Them, by name; None while there is a consumer that nobody tells of.

        Args:
            rows: what each process said last.
            consumers: of the queue, as the broker counts.
            now: seconds of a clock that is never set.
        """
        self._heard = {one.process: self._last(one, now) for one in rows}
        silence = {one.process: now - self._heard[one.process][1] for one in rows}
        talking = [one for one in rows if silence[one.process] <= SILENT]
        registered = sum(one.registered for one in talking)
        # The broker gives a consumer's deliveries back in the moment in which it no longer counts it.
        quiet = [one for one in rows if SILENT < silence[one.process] <= GONE] if consumers > registered else []
        strange = consumers - registered - len(quiet) > 0
        self._strange_since = (self._strange_since or now) if strange else None
        if self._strange_since is not None and now - self._strange_since < STRANGE:
            return None
        return {one.process: one for one in (*talking, *quiet)}

    def _last(self, one: Presence, now: float) -> tuple[int, float]:
        beat, when = self._heard.get(one.process, (-1, now))
        return (one.beat, now) if one.beat != beat else (beat, when)


class Proof:
    """One proof after another, each over the suspects that there are when it begins."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """What was shown holds no more."""
        self._ids: frozenset[str] = frozenset()
        self._epochs: dict[str, int] | None = None
        self._ready = 0
        self._beats: dict[str, int] = {}
        self._taken: dict[str, int] | None = None
        self._left = False
        self._to_settle: dict[str, int] | None = None

    def look(self, ids: Collection[str], ready: int, crew: Crew) -> frozenset[str]:
        """Goes on; returns the events that are shown to be nowhere, once that is so.

        Args:
            ids: events that were confirmed before this look, and that the store lacks.
            ready: messages, counted before the crew was asked.
            crew: what each of those says who may have something in hand.
        """
        epochs = {name: one.held.epoch for name, one in crew.items()}
        if epochs != self._epochs:
            self.reset()
            self._epochs, self._ids, self._ready = epochs, frozenset(ids), ready
            self._wait_for(crew)
        if not self._left and ready == 0:
            self._left = True
            self._wait_for(crew)
        if not self._left and self._since_then(crew):
            self._go_on(crew)
        if self._left and self._to_settle is None and self._since_then(crew):
            self._to_settle = {name: one.held.taken for name, one in crew.items()}
        settled = self._to_settle
        if settled is None or any(one.held.done < settled[name] for name, one in crew.items()):
            return frozenset()
        shown = self._ids
        self.reset()
        return shown

    def _go_on(self, crew: Crew) -> None:
        """Counts what the crew has been given since it was first heard in this proof."""
        taken = {name: one.held.taken for name, one in crew.items()}
        if self._taken is None:
            self._taken = taken
        if crew and sum(taken.values()) - sum(self._taken.values()) >= self._ready:
            self._left = True
            self._wait_for(crew)

    def _wait_for(self, crew: Crew) -> None:
        self._beats = {name: one.beat + _BEATS for name, one in crew.items()}

    def _since_then(self, crew: Crew) -> bool:
        return all(one.beat >= self._beats[name] for name, one in crew.items())
