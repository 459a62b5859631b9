"""Draws depend on the place in the training and on nothing else."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from medzsad.training.randomness import generator_for

PLACES = st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=4)


def _draw(*numbers: int) -> list[float]:
    return torch.rand(4, generator=generator_for(*numbers), dtype=torch.float64).tolist()


@given(PLACES)
def test_the_same_place_gives_the_same_draws_whatever_was_drawn_before(place: list[int]) -> None:
    first = _draw(*place)
    torch.rand(3, generator=generator_for(*place))
    assert _draw(*place) == first


@given(PLACES, PLACES)
def test_other_places_give_other_draws(one: list[int], other: list[int]) -> None:
    assert (_draw(*one) == _draw(*other)) == (one == other)


def test_order_and_grouping_of_the_numbers_matter() -> None:
    places = [(0, 1), (1, 0), (0, 1, 0), (1,), (11,), (1, 1), (-1, 1), (1, -1)]
    assert len({tuple(_draw(*place)) for place in places}) == len(places)


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    generator_for(5, 6)
    assert torch.equal(torch.rand(2), expected)


def test_draws_stay_the_same_from_version_to_version() -> None:
    assert generator_for(333, 2, 7).initial_seed() == 679346522716397477
