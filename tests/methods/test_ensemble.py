"""Scores of several weights on one scale, and which weights can be put together."""

import numpy as np
import pytest

from medzsad.methods.ensemble import comparable_score

SHARP = ((0.2, 0.5), (0.6, 0.05), (0.9, 0.005), (0.97, 0.0005))
FLAT = ((0.45, 0.5), (0.5, 0.05), (0.52, 0.005), (0.53, 0.0005))


def _comparable(scores: object, table: tuple[tuple[float, float], ...] = SHARP) -> np.ndarray:
    return comparable_score(np.asarray(scores, np.float32), table)


def test_half_a_percent_of_normal_pixels_reach_one_half_under_all_weights() -> None:
    assert _comparable(0.9, SHARP) == pytest.approx(0.5, abs=1e-5)
    assert _comparable(0.52, FLAT) == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("table", [SHARP, FLAT, ((0.5, 0.5), (1.0, 0.05), (1.0, 0.005))])
def test_order_is_kept_and_nothing_leaves_the_unit_interval(table: tuple[tuple[float, float], ...]) -> None:
    found = _comparable(np.linspace(0, 1, 500), table)
    assert (np.diff(found) >= 0).all()
    assert found.min() == 0
    assert found.max() < 1


def test_scores_above_all_kept_ones_still_differ() -> None:
    low, high = _comparable([0.98, 0.995])
    assert high > low > _comparable(0.97)
