"""Proof that an event is nowhere: what it takes, and what it must not be taken in by."""

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hub.ledger.proof import GONE, SILENT, STRANGE, Proof, Roster
from hub.ports import Held, Presence
from tests.store.evidence import NOON


def row(process: str = "a", beat: int = 1, **held: Any) -> Presence:
    numbers = {"epoch": 1, "taken": 0, "done": 0, "count": 0, **held}
    return Presence(process, "persistence", beat, True, None, Held(**numbers), NOON)


def crew(*rows: Presence) -> dict[str, Presence]:
    return {one.process: one for one in rows}


def test_without_consumers_and_messages_it_is_shown_at_once() -> None:
    assert Proof().look({"x"}, 0, {}) == {"x"}


def test_without_consumers_a_message_that_is_ready_may_be_it() -> None:
    proof = Proof()
    assert not any(proof.look({"x"}, 1, {}) for _ in range(10))


def test_an_idle_process_is_believed_two_beats_after_the_queue_was_empty() -> None:
    proof = Proof()
    assert proof.look({"x"}, 0, crew(row(beat=5))) == frozenset()
    assert proof.look({"x"}, 0, crew(row(beat=6))) == frozenset()
    assert proof.look({"x"}, 0, crew(row(beat=7))) == {"x"}


def test_what_was_in_hand_when_the_queue_was_empty_must_be_settled() -> None:
    proof = Proof()
    for beat in range(5, 50):
        assert proof.look({"x"}, 0, crew(row(beat=beat, taken=9, done=8, count=1))) == frozenset()
    assert proof.look({"x"}, 0, crew(row(beat=50, taken=12, done=9, count=3))) == {"x"}


def test_under_load_as_many_must_have_been_taken_as_were_ready() -> None:
    proof = Proof()
    looks = [
        (row(beat=1, taken=100, done=90), 50),
        (row(beat=3, taken=110, done=100), 55),  # counted from here
        (row(beat=5, taken=159, done=150), 40),  # 49 of 50
        (row(beat=6, taken=160, done=151), 40),  # all that was ready has left
        (row(beat=7, taken=170, done=162), 41),
        (row(beat=8, taken=180, done=165), 44),  # what had left is in these 180
        (row(beat=9, taken=190, done=179), 44),
    ]
    assert not any(proof.look({"x"}, ready, crew(one)) for one, ready in looks)
    assert proof.look({"x"}, 44, crew(row(beat=10, taken=200, done=180))) == {"x"}


def test_it_is_only_about_those_that_were_suspected_when_it_began() -> None:
    proof = Proof()
    proof.look({"x"}, 0, crew(row(beat=1)))
    assert proof.look({"x", "y"}, 0, crew(row(beat=3))) == {"x"}


def test_a_process_that_comes_goes_or_loses_its_channel_begins_it_anew() -> None:
    for other in (crew(), crew(row("b", 9)), crew(row(beat=9, epoch=2)), crew(row(beat=9), row("b", 9))):
        proof = Proof()
        proof.look({"x"}, 3, crew(row(beat=1)))
        proof.look({"x"}, 3, crew(row(beat=3)))
        assert proof.look({"x"}, 3, other) == frozenset()


def test_one_silent_process_holds_up_the_proof() -> None:
    proof = Proof()
    assert not any(proof.look({"x"}, 0, crew(row("a", beat), row("b", 1))) for beat in range(1, 60))


# --- who counts ------------------------------------------------------------------------------------------------------


def test_a_silent_process_counts_as_long_as_the_broker_may_count_it() -> None:
    roster = Roster()
    assert roster.crew([row("a", 1), row("b", 1)], 2, 100) == crew(row("a", 1), row("b", 1))
    beats = iter(range(2, 1000))

    def seen(consumers: int, now: float) -> set[str]:
        found = roster.crew([row("a", next(beats)), row("b", 1)], consumers, now)
        assert found is not None
        return set(found)

    assert seen(2, 100 + SILENT + 1) == {"a", "b"}
    assert seen(2, 100 + GONE - 1) == {"a", "b"}
    assert seen(1, 100 + GONE - 1) == {"a"}  # the broker has given back what it had
    assert seen(1, 100 + GONE + 1) == {"a"}


def test_a_consumer_that_nobody_tells_of_is_waited_for_and_not_for_ever() -> None:
    roster = Roster()
    assert roster.crew([], 1, 100) is None
    assert roster.crew([], 1, 100 + STRANGE - 1) is None
    assert roster.crew([], 1, 100 + STRANGE) == {}
    assert roster.crew([], 0, 100 + STRANGE + 1) == {}
    assert roster.crew([], 1, 100 + STRANGE + 2) is None


# --- against a model of a queue --------------------------------------------------------------------------------------


@dataclass
class Worker:
    """A process as the model has it; ``told`` is its row, ``saying`` the one that is on its way."""

    name: str
    epoch: int = 1
    taken: int = 0
    beat: int = 0
    held: dict[int, str] = field(default_factory=dict)
    inbound: list[str] = field(default_factory=list)
    told: Presence | None = None
    saying: Presence | None = None


class Queue(RuleBasedStateMachine):
    """Messages move in every order that a broker knows; whatever is shown to be nowhere must be nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.proof = Proof()
        self.ready: list[str] = []
        self.settled: set[str] = set()
        self.lost: set[str] = set()
        self.published: list[str] = []
        self.workers = {name: Worker(name) for name in "ab"}
        self.shown: frozenset[str] = frozenset()
        for worker in self.workers.values():
            worker.told = row(worker.name, 0)

    @rule()
    def publish(self) -> None:
        name = f"m{len(self.published)}"
        self.published.append(name)
        self.ready.append(name)

    @precondition(lambda self: self.ready)
    @rule(name=st.sampled_from("ab"), count=st.integers(1, 3))
    def deliver(self, name: str, count: int) -> None:
        for _ in range(min(count, len(self.ready))):
            self.workers[name].inbound.append(self.ready.pop(0))

    @rule(name=st.sampled_from("ab"))
    def arrive(self, name: str) -> None:
        worker = self.workers[name]
        for message in worker.inbound:
            worker.taken += 1
            worker.held[worker.taken] = message
        worker.inbound.clear()

    @rule(name=st.sampled_from("ab"), data=st.data())
    def settle(self, name: str, data: st.DataObject) -> None:
        worker = self.workers[name]
        if worker.held:
            self.settled.add(worker.held.pop(data.draw(st.sampled_from(sorted(worker.held)))))

    @rule(name=st.sampled_from("ab"))
    def lose_channel(self, name: str) -> None:
        worker = self.workers[name]
        self.ready[:0] = [*worker.held.values(), *worker.inbound]
        worker.held.clear()
        worker.inbound.clear()
        worker.epoch += 1
        worker.taken = 0

    @precondition(lambda self: self.ready)
    @rule(data=st.data())
    def remove_by_hand(self, data: st.DataObject) -> None:
        self.lost.add(self.ready.pop(data.draw(st.integers(0, len(self.ready) - 1))))

    @rule(name=st.sampled_from("ab"))
    def begin_to_tell(self, name: str) -> None:
        worker = self.workers[name]
        if worker.saying is None:
            self.arrive(name)  # the broker's answer comes behind what it sent before
            done = min(worker.held, default=worker.taken + 1) - 1
            held = Held(worker.epoch, worker.taken, done, len(worker.held))
            worker.saying = replace(row(name, worker.beat + 1), held=held)

    @rule(name=st.sampled_from("ab"))
    def tell(self, name: str) -> None:
        worker = self.workers[name]
        if worker.saying is not None:
            worker.told, worker.saying = worker.saying, None
            worker.beat += 1

    @rule()
    def look(self) -> None:
        missing = set(self.published) - self.settled
        rows = [worker.told for worker in self.workers.values() if worker.told]
        self.shown = self.proof.look(missing, len(self.ready), crew(*rows)) - self.settled

    @invariant()
    def what_is_shown_is_lost(self) -> None:
        assert self.shown <= self.lost | self.settled


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
