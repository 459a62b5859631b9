"""The measures of the yardsticks agree with scikit-learn, and their intervals with drawing the units themselves."""

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from medzsad.metrics import resampled
from medzsad.metrics.metric import resample_weights

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import yardstick_measures as measures


def scores_of_units(seed: int = 0, units: int = 7, pixels: int = 9000) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Units of unequal size whose rare positives score higher, most scores crowded near 0, many exactly equal."""
    rng = np.random.default_rng(seed)
    truths = [rng.random(pixels + 100 * n) < 0.01 * (n + 1) for n in range(units)]
    scores = [(rng.beta(0.2, 6, truth.size) + 0.15 * truth * rng.random(truth.size)) for truth in truths]
    return [np.where(score < 0.001, 0, score).astype(np.float32) for score in scores], truths


def exact(scores: list[np.ndarray], truths: list[np.ndarray]) -> tuple[float, float]:
    flat, truth = np.concatenate(scores), np.concatenate(truths)
    return roc_auc_score(truth, flat), average_precision_score(truth, flat)


@pytest.mark.parametrize("scale", [1.0, -250.0], ids=["in 0..1", "any range"])
def test_binned_measures_agree_with_scikit_learn(scale: float) -> None:
    scores, truths = scores_of_units()
    scores = [scale * part + 3 for part in scores]
    assert sum(map(len, scores)) > 10 * 4096
    auroc, precision = measures.ranking_measures(measures.count_scores(scores, truths), None)
    expected = exact(scores, truths)
    assert auroc.value == pytest.approx(expected[0], abs=5e-4)
    assert precision.value == pytest.approx(expected[1], abs=1e-3)


def test_few_scores_are_ranked_exactly() -> None:
    rng = np.random.default_rng(1)
    scores, truth = np.round(rng.random(253), 2).astype(np.float32), rng.random(253) < 0.6
    counted = measures.count_scores([s[None] for s in scores], [t[None] for t in truth])
    auroc, precision = measures.ranking_measures(counted, None)
    assert auroc.value == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert precision.value == pytest.approx(average_precision_score(truth, scores), abs=1e-12)


def test_a_resample_is_what_drawing_the_units_themselves_gives() -> None:
    scores, truths = scores_of_units(2)
    counted = measures.count_scores(scores, truths)
    times = np.array([2, 0, 1, 0, 3, 1, 0])
    drawn = [n for n, count in enumerate(times) for _ in range(count)]
    expected = exact([scores[n] for n in drawn], [truths[n] for n in drawn])
    positives, negatives = times @ counted.positives, times @ counted.negatives
    assert resampled.auroc(positives, negatives) == pytest.approx(expected[0], abs=1e-3)
    assert resampled.average_precision(positives, negatives) == pytest.approx(expected[1], abs=2e-3)


def test_the_interval_of_a_share_is_that_of_the_binomial() -> None:
    flags = np.arange(200) % 4 == 0
    weights = resample_weights([str(n) for n in range(200)], seed=0)
    found = measures.share_measure(flags, np.ones(200, bool), weights)
    spread = 1.96 * np.sqrt(0.25 * 0.75 / 200)
    assert found.value == 0.25
    assert (found.low, found.high) == pytest.approx((0.25 - spread, 0.25 + spread), abs=0.012)


def test_ranking_without_positives_is_not_a_number() -> None:
    counted = measures.count_scores([np.arange(5.0)], [np.zeros(5, bool)])
    auroc, precision = measures.ranking_measures(counted, None)
    assert np.isnan([auroc.value, precision.value]).all()


def test_the_mean_of_units_is_resampled_by_subject() -> None:
    values = np.array([1.0, 1.0, 1.0, 0.0])
    weights = resample_weights(["a", "a", "a", "b"], seed=0)
    found = measures.mean_measure(values, weights)
    assert found.value == 0.75
    assert (found.low, found.high) == (0.0, 1.0), "only b, and only a, are drawn in a quarter of the resamples each"
    assert measures.mean_measure(values, resample_weights(["a"] * 4, seed=0)) == measures.Measure(0.75)
