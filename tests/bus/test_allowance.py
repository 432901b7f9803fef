"""How many deliveries fit into memory."""

from hypothesis import given, strategies as st

from hub.bus.allowance import Allowance

MIB = 1024 * 1024


def test_small_bodies_take_nothing_from_the_count() -> None:
    allowance = Allowance(1000, 64 * MIB)
    for _ in range(3000):
        allowance.saw(2000)
        assert not allowance.exceeded(1000 * 2000)
        assert not allowance.widen()
    assert allowance.count == 1000


def test_large_bodies_lower_it_to_what_fits_and_small_ones_raise_it_again_once_they_are_the_rule() -> None:
    allowance = Allowance(1000, 64 * MIB)
    allowance.saw(MIB)
    assert allowance.exceeded(65 * MIB)
    allowance.narrow()
    assert allowance.count == 64
    assert not allowance.exceeded(64 * MIB)
    for _ in range(256):
        allowance.saw(2000)
        assert not allowance.widen()
    for _ in range(256):
        allowance.saw(2000)
    assert allowance.widen()
    assert allowance.count == 1000


@given(st.lists(st.integers(0, 300 * MIB), min_size=1, max_size=50), st.integers(1, 2000))
def test_however_large_they_are_one_may_always_be_in_hand_and_narrowing_comes_to_an_end(
    sizes: list[int], most: int
) -> None:
    allowance = Allowance(most, 64 * MIB)
    for size in sizes:
        allowance.saw(size)
        narrowings = 0
        while allowance.exceeded(allowance.count * size):
            allowance.narrow()
            narrowings += 1
            assert narrowings <= 1 or allowance.count == 1
        assert 1 <= allowance.count <= most
