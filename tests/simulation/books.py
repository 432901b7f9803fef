"""What is promised, checked whenever something changes hands: the loss detector of the simulation.

An accepted event lies in the outbox, on the bus, among the dead letters or in the store. It can only be lost where it
leaves a place, so each departure is checked at once, and everything at the end.
"""

from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import Any, Final

import orjson

from hub.calls import fold, seal
from hub.errors import Unusable
from hub.events import Event, Message, identity
from hub.ports import Callback
from hub.retry import ATTEMPTS, QUICK_ATTEMPTS
from hub.simulator.call import Request
from hub.store.rows import event_of
from tests.simulation.broker import Broker, Queue
from tests.simulation.store import TIMING, Tables, expected
from tests.simulation.vfs import Connection
from tests.simulator.support import DECODERS, RECEIVED
from workers.persistence import QUEUE

PERSISTENCE: Final = QUEUE.name
PROBE: Final = "trunkline.probe"


LAST_ATTEMPTS: Final = {"time limit": ATTEMPTS, "rate limited": ATTEMPTS, "defect": QUICK_ATTEMPTS}
"""Which attempt is the last, by the way in which the probe's handler fails."""


class Violation(AssertionError):
    """A promise was broken; the message says which, and of what."""


class Books:
    """Where every accepted event is.

    Attributes:
        acked: ids of events whose callback was answered with 200.
        quarantined: ids of requests that were answered with 422.
        sent: the events that vendors have told, by id, decoded for the books alone.
        outbox: ids of events in the file, by their numbers, as the last transaction left it.
        set_aside: ids of events that the bus refused too often, in the same file.
        kept_requests: ids of requests in the quarantine, in the same file.
        claimed: what the relay has in hand.
        tally: figures of the report.
    """

    def __init__(self, broker: Broker, tables: Callable[[], Tables]) -> None:
        self.acked: set[str] = set()
        self.quarantined: set[str] = set()
        self.sent: dict[str, Event] = {}
        self.outbox: dict[int, str] = {}
        self.set_aside: frozenset[str] = frozenset()
        self.kept_requests: frozenset[str] = frozenset()
        self.claimed: Sequence[tuple[int, Message]] = ()
        self.tally: Counter[str] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.effects: Counter[str] = Counter()
        self._broker = broker
        self._tables = tables
        self._confirmed: set[str] = set()
        self._asked: set[int] = set()
        self._last_asked = 0
        self._left_behind: set[int] = set()
        self._changes = -1
        self._fresh = True
        self._uptime: Callable[[], float] = lambda: 0.0

    # --- the door ----------------------------------------------------------------------------------------------------

    def sending(self, request: Request) -> None:
        self.tally["attempted"] += 1
        for event in _told(request):
            self.sent[event.id] = event

    def answered(self, status: int, body: Mapping[str, str]) -> None:
        self.tally[f"answered {status}"] += 1
        if status == 200:
            self.acked.add(body["event_id"])
            self._accounted(body["event_id"], "was answered with 200")
        elif status == 422:
            self.quarantined.add(body["quarantine_id"])
            self._accounted(body["quarantine_id"], "was answered with 422")
            if body["quarantine_id"] not in self.kept_requests:
                raise Violation(f"request {body['quarantine_id']} was answered with 422 and is not in quarantine")

    # --- the outbox --------------------------------------------------------------------------------------------------

    def reopened(self, uptime: Callable[[], float]) -> None:
        """Another process begins: the next look sees what the last one left."""
        self._fresh = True
        self._uptime = uptime
        self._changes = -1

    def looked(self, connection: Connection) -> None:
        """The file after a transaction, or after it was opened."""
        changes = connection.total_changes
        if changes == self._changes:
            return
        self._changes = changes
        before, self.outbox = self.outbox, {}
        claimed = set()
        for seq, headers, until in connection.execute("SELECT seq, headers, claimed_until FROM outbox ORDER BY seq"):
            self.outbox[seq] = before.get(seq) or orjson.loads(headers)["ce-id"]
            if self._fresh and until > self._uptime():
                claimed.add(seq)
        aside = connection.execute("SELECT content FROM damaged WHERE origin = 'outbox'")
        self.set_aside = frozenset(_id_of(content) for (content,) in aside)
        requests = frozenset(row[0] for row in connection.execute("SELECT quarantine_id FROM quarantine"))
        for gone in (self.kept_requests - requests) & self.quarantined:
            raise Violation(f"request {gone} was answered with 422 and has left the quarantine")
        self.kept_requests = requests
        left = {event_id: seq for seq, event_id in before.items() if self.outbox.get(seq) != event_id}
        if self._fresh:
            self._fresh = False
            self._last_asked, self._asked, self._left_behind = 0, set(), claimed
        else:
            for event_id, seq in left.items():
                if event_id not in self._confirmed and event_id not in self.set_aside:
                    raise Violation(f"event {event_id} (outbox {seq}) was removed before its confirm")
        for event_id in left:
            self._accounted(event_id, "has left the outbox")
        self.tally["most in the outbox"] = max(self.tally["most in the outbox"], len(self.outbox))

    def relayed(self, messages: Sequence[Message]) -> None:
        """The relay asks the bus to take these: for the first time it does so in the order of acceptance."""
        places = {id(message): seq for seq, message in self.claimed}
        for message in messages:
            seq = places[id(message)]
            if seq in self._asked:
                continue
            self._asked.add(seq)
            if seq in self._left_behind:
                # Claimed by a process that died: it comes when that claim runs out, behind what is younger.
                self.tally["relayed late, after a death"] += seq < self._last_asked
                continue
            if seq < self._last_asked:
                raise Violation(f"outbox {seq} was relayed after {self._last_asked}: not the order of acceptance")
            self._last_asked = seq

    # --- bus and store -----------------------------------------------------------------------------------------------

    def confirmed(self, messages: Iterable[Message]) -> None:
        self._confirmed.update(message.id for message in messages)

    def left_queue(self, queue: str, event_id: str) -> None:
        if queue == PERSISTENCE:
            self._accounted(event_id, "was acknowledged")
        elif self._broker.queues[queue].holds[event_id] <= 0 and not self.effects[event_id]:
            raise Violation(f"event {event_id} has left {queue} without an effect, and is not dead")

    def committed(self, before: Tables, tables: Tables) -> None:
        for seq, row in before.outbox.items():
            if seq not in tables.outbox and row.event_id not in self._confirmed:
                raise Violation(f"derived event {row.event_id} was removed from the store's outbox before its confirm")
        if len(tables.events) != len(tables.ids):
            raise Violation("the store has kept an event twice")

    def _accounted(self, event_id: str, why: str) -> None:
        """An accepted event is somewhere."""
        if event_id not in self.acked and event_id not in self.quarantined:
            return
        if event_id in self.outbox.values() or event_id in self._tables().ids or event_id in self.set_aside:
            return
        queue = self._broker.queues.get(PERSISTENCE)
        if queue is None or queue.holds[event_id] <= 0:
            raise Violation(f"event {event_id} {why} and is nowhere: lost")

    def accounted(self, why: str) -> None:
        """All of them are."""
        for event_id in sorted(self.acked | self.quarantined):
            self._accounted(event_id, why)

    # --- at the end --------------------------------------------------------------------------------------------------

    def closed(self, random: Random) -> None:
        """Everything has come to rest."""
        tables, queues = self._tables(), self._broker.queues
        dead = {entry.message.id for entry in queues[PERSISTENCE].dead}
        self._all_settled(tables.ids, dead)
        self._nothing_invented(tables)
        self._sealed_once(tables)
        for call_id in tables.calls:
            self._record(tables, call_id, random)
        _reasons(queues[PERSISTENCE])
        if PROBE in queues:
            self._probe(tables, queues[PROBE])

    def _all_settled(self, kept: Collection[str], dead: Collection[str]) -> None:
        for event_id in sorted(self.acked):
            if event_id not in kept and event_id not in dead and event_id not in self.set_aside:
                raise Violation(f"event {event_id} was accepted and is, at rest, neither kept, nor dead, nor set aside")
        for event_id in sorted(self.quarantined):
            if event_id not in kept or event_id not in self.kept_requests:
                raise Violation(f"request {event_id} was quarantined, and the store or the disk does not know")
        self.tally["acknowledged"] = len(self.acked) + len(self.quarantined)
        self.tally["ok"] = len((self.acked | self.quarantined) & set(kept))
        self.tally["dead"] = len(set(dead))
        self.tally["set aside"] = len(self.set_aside)
        self.tally["recovered"] = len((self.sent.keys() & set(kept)) - self.acked)

    def _nothing_invented(self, tables: Tables) -> None:
        derived = set(tables.derived)
        for row in tables.events:
            if row.id in derived:
                continue
            if row.routing_key.startswith("callback."):
                if row.id not in self.kept_requests:
                    raise Violation(f"the store knows of a quarantined request {row.id} that the disk does not have")
                continue
            told = self.sent.get(row.id)
            if told is None:
                raise Violation(f"the store has kept event {row.id}, which nobody sent")
            if _content(told) != _content(event_of(row)):
                raise Violation(f"the store has kept event {row.id} with another content than was sent")

    def _sealed_once(self, tables: Tables) -> None:
        told = Counter(tables.derived)
        for call_id, call in tables.calls.items():
            count = told[identity(call_id, "sealed")]
            if call.sealed_at is None or count != 1:
                raise Violation(f"call {call_id} was sealed {count} times, at {call.sealed_at}")
        for event_id, count in told.items():
            if count != 1 or event_id not in tables.ids:
                raise Violation(f"derived event {event_id} was told {count} times, kept {event_id in tables.ids}")

    def _record(self, tables: Tables, call_id: str, random: Random) -> None:
        call = tables.calls[call_id]
        events = [event_of(row) for row in tables.events if row.call_id == call_id and row.folds]
        random.shuffle(events)
        folded = fold([*events, *events[:1]], expected(call.source), TIMING)
        wanted = seal(folded, call.sealed_at)
        found = orjson.loads(call.record)
        wanted["sealed"] = found["sealed"]  # the verdict is of the events that were weighed for it
        if orjson.dumps(wanted) != orjson.dumps(found):
            raise Violation(f"the record of call {call_id} is not the fold of its events")

    def _probe(self, tables: Tables, queue: Queue) -> None:
        _reasons(queue)
        dead = {entry.message.id: entry for entry in queue.dead}
        for event_id in tables.derived:
            done = self.effects[event_id]
            if done > 1 or (not done and event_id not in dead):
                raise Violation(f"the probe's effect of event {event_id} happened {done} times, and it is not dead")
        for event_id, entry in dead.items():
            allowed = [attempts for way, attempts in LAST_ATTEMPTS.items() if self.failures[way, event_id]]
            if not self.failures["permanent", event_id] and entry.attempt not in allowed:
                raise Violation(f"event {event_id} died at attempt {entry.attempt}, expected one of {allowed}")


def _id_of(content: bytes) -> str:
    """The event's id in a row that was set aside."""
    headers = b64decode(orjson.loads(content)["headers"]["base64"])
    return str(orjson.loads(headers)["ce-id"])


def _reasons(queue: Queue) -> None:
    for entry in queue.dead:
        if not entry.reason:
            raise Violation(f"event {entry.message.id} is dead in {queue.spec.name} without a reason")


@lru_cache(maxsize=4096)
def _told(request: Request) -> tuple[Event, ...]:
    """What a request says, decoded once and for the books alone."""
    segments = request.path.split("/")
    name = segments[4] if len(segments) > 4 else None
    try:
        callback = Callback(segments[2], name, request.query, request.content_type, request.body, RECEIVED)
        return tuple(DECODERS[segments[2]].decode(callback))
    except Unusable:
        return ()


def _content(event: Event) -> dict[str, Any]:
    return {name: value for name, value in event.data.items() if name != "received_at"}
