"""Ranking metrics against plain definitions."""

import numpy as np
import pytest
from numpy.random import default_rng

from medzsad.metrics.ranking import array_ranking


def test_auroc_counts_pairs_and_ties_half() -> None:
    rng = default_rng(0)
    scores = rng.integers(0, 6, 60).astype(np.float32)
    labels = rng.random(60) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels] for b in scores[~labels]]
    assert array_ranking(scores, labels).auroc == pytest.approx(np.mean(pairs))


def test_average_precision_of_a_known_ranking() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    assert array_ranking(scores, np.array([True, False, True, False])).average_precision == pytest.approx(
        (1 + 2 / 3) / 2
    )
    assert array_ranking(
        np.ones(4, np.float32), np.array([True, False, False, False])
    ).average_precision == pytest.approx(0.25)


def test_measures_without_positives_are_not_a_number() -> None:
    scores, labels = np.ones(3, np.float32), np.zeros(3, bool)
    assert np.isnan(array_ranking(scores, labels).auroc)
    assert np.isnan(array_ranking(scores, labels).average_precision)
