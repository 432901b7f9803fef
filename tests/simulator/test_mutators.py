"""What goes wrong on order, goes wrong just so often, and is in the books."""

from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from hub.errors import ConfigurationError, Unusable
from hub.simulator.mutators import NAMES, Mutations, changes, mutate
from hub.simulator.scenarios import Step, stream
from tests.simulator.support import decoded, made

WEEK = made(count=700)
STEPS = list(stream(WEEK))
SHORT = list(stream(WEEK[:40]))
FRACTIONS = st.sampled_from([0.0, 0.1, 0.5, 1.0])


def mutated(*, seed: int = 1, **fractions: float) -> list[Step]:
    return list(mutate(STEPS, Mutations(**fractions), seed=seed))


def mutated_by(mutator: str, fraction: float) -> list[Step]:
    return list(mutate(STEPS, Mutations(**{mutator: fraction}), seed=1))


def eligible(mutator: str) -> int:
    if mutator == "reorder":
        return sum(len(call.requests) - 1 for call in WEEK)
    if mutator == "truncate":
        return sum(bool(step.request.body) for step in STEPS)
    return len(STEPS)


@pytest.mark.parametrize("mutator", NAMES)
@pytest.mark.parametrize("fraction", [0.05, 0.3])
def test_a_mutator_touches_its_fraction(mutator: str, fraction: float) -> None:
    steps = mutated_by(mutator, fraction)
    expected = eligible(mutator) * fraction
    assert abs(changes(steps).counts[mutator] - expected) < 4 * expected**0.5
    assert sum(changes(steps).counts.values()) == changes(steps).counts[mutator]


@pytest.mark.parametrize("mutator", NAMES)
def test_a_mutator_at_one_touches_everything_it_can(mutator: str) -> None:
    assert changes(mutated_by(mutator, 1.0)).counts[mutator] == eligible(mutator)


def test_without_mutations_the_stream_is_as_it_was() -> None:
    assert mutated() == STEPS


@settings(max_examples=60, deadline=None)
@given(st.integers(), st.fixed_dictionaries(dict.fromkeys(NAMES, FRACTIONS)))
def test_a_mutated_stream_is_ascending_repeatable_and_loses_nothing_from_the_books(
    seed: int, fractions: dict[str, float]
) -> None:
    steps = list(mutate(SHORT, Mutations(**fractions), seed=seed))
    assert steps == list(mutate(SHORT, Mutations(**fractions), seed=seed))
    assert all(one.at <= other.at for one, other in pairwise(steps))
    counts = Counter((step.call.key, step.ordinal) for step in steps if "duplicate" not in step.marks)
    assert counts == Counter((step.call.key, step.ordinal) for step in SHORT)
    whole = changes(steps).whole
    for step in steps:
        arrives = not {"drop", "truncate"} & set(step.marks)
        assert not arrives or step.ordinal in whole[step.call.key]
        assert (step.request == step.call.requests[step.ordinal]) == ("truncate" not in step.marks)
        assert set(step.marks) <= set(NAMES)


def test_another_seed_spoils_other_requests() -> None:
    assert changes(mutated(seed=1, drop=0.2)).which["drop"] != changes(mutated(seed=2, drop=0.2)).which["drop"]


def test_more_of_a_mutation_spoils_what_less_of_it_did() -> None:
    less, more = (changes(mutated(drop=fraction)).which["drop"] for fraction in (0.1, 0.3))
    assert set(less) < set(more)


def test_reordering_takes_a_calls_own_events_out_of_their_order() -> None:
    orders = defaultdict(list)
    for step in mutated(reorder=0.3):
        orders[step.call.key].append(step.ordinal)
    assert all(sorted(order) == list(range(len(order))) for order in orders.values())
    assert sum(order != sorted(order) for order in orders.values()) > len(WEEK) / 4


def test_a_duplicate_is_the_same_request_later() -> None:
    first: dict[tuple[str, int], Step] = {}
    for step in mutated(duplicate=0.5):
        key = step.call.key, step.ordinal
        if "duplicate" in step.marks:
            assert 0 <= step.at - first[key].at <= 10.001
            assert step.request == first[key].request
        else:
            first[key] = step


def test_a_delayed_request_comes_past_later_ones() -> None:
    delayed = mutated(delay=0.3)
    before = {(step.call.key, step.ordinal): step.at for step in STEPS}
    for step in delayed:
        late = step.at - before[step.call.key, step.ordinal]
        assert 0 <= late <= 30.001
        assert late == 0 or "delay" in step.marks
    assert [step.ordinal for step in delayed] != [step.ordinal for step in STEPS]


def test_a_truncated_body_is_undecodable() -> None:
    cut = [step for step in mutated(truncate=1.0) if "truncate" in step.marks]
    assert len(cut) > 800
    for step in cut:
        with pytest.raises(Unusable) as refused:
            decoded(step.call, step.request)
        assert refused.value.reason == "undecodable"


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_what_is_no_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(ConfigurationError, match=r"drop is .*, expected a fraction from 0 to 1"):
        Mutations(drop=fraction)
