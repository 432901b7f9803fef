"""Failpoints: inert by default, refused outside of tests, exact where armed."""

from collections.abc import Iterator

import pytest

from hub import failpoints
from hub.errors import ConfigurationError
from hub.failpoints import Provoked, arm, hit
from tests.source import lines_with


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm({})


def test_unarmed_a_point_does_nothing() -> None:
    arm({"TRUNKLINE_TEST": "1"})
    for point in failpoints.POINTS:
        hit(point)


def test_an_armed_point_fails_and_no_other_does() -> None:
    arm({"TRUNKLINE_TEST": "1", "TRUNKLINE_FAILPOINTS": "worker.after_effect=raise"})
    hit("worker.before_effect")
    with pytest.raises(Provoked, match=r"worker\.after_effect"):
        hit("worker.after_effect")


def test_a_share_of_hits_fails() -> None:
    arm({"TRUNKLINE_TEST": "1", "TRUNKLINE_FAILPOINTS": "ingress.after_read=raise:1/4, relay.after_confirm=raise:0/1"})
    failed = 0
    for _ in range(2000):
        hit("relay.after_confirm")
        try:
            hit("ingress.after_read")
        except Provoked:
            failed += 1
    assert 300 < failed < 700


def test_outside_of_tests_they_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"TRUNKLINE_FAILPOINTS: found beside no TRUNKLINE_TEST=1"):
        arm({"TRUNKLINE_FAILPOINTS": "worker.after_effect=kill"})


@pytest.mark.parametrize(
    "nonsense", ["nowhere=kill", "worker.after_effect", "worker.after_effect=burn", "worker.after_effect=kill:1/0"]
)
def test_nonsense_is_refused_with_what_is_expected(nonsense: str) -> None:
    with pytest.raises(ConfigurationError, match=r"expected POINT=ACTION"):
        arm({"TRUNKLINE_TEST": "1", "TRUNKLINE_FAILPOINTS": nonsense})


@pytest.mark.parametrize("point", failpoints.POINTS)
def test_every_point_stands_in_exactly_one_place(point: str) -> None:
    assert len(lines_with(f'failpoints.hit("{point}")')) == 1
