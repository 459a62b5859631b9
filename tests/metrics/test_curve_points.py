"""Curves hold points of the exact curves, few but along all of them."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from medzsad.metrics.counts import ScoreCounts, array_tallies
from medzsad.metrics.ranking import curve_points


def _data(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.random(count) < 0.2
    return np.round(random.normal(size=count) + truth, 3).astype(np.float32), truth


def test_every_point_lies_on_the_exact_curves() -> None:
    scores, truth = _data(5000)
    found = curve_points(array_tallies(scores, truth), truth.sum(), (~truth).sum(), most=50)
    rates, recalls, _ = roc_curve(truth, scores, drop_intermediate=False)
    exact = {(round(x, 9), round(y, 9)) for x, y in zip(rates, recalls, strict=True)}
    assert {(round(x, 9), round(y, 9)) for x, y in found.roc.tolist()} <= exact
    precision, recall, _ = precision_recall_curve(truth, scores)
    exact = {(round(x, 9), round(y, 9)) for x, y in zip(recall, precision, strict=True)}
    assert {(round(x, 9), round(y, 9)) for x, y in found.pr.tolist()} <= exact


@pytest.mark.parametrize("most", [1, 7, 400])
def test_areas_are_those_of_all_points_however_few_are_kept(most: int) -> None:
    scores, truth = _data(5000)
    counts = ScoreCounts()
    counts.add(np.sort(scores[~truth]), np.sort(scores[truth]))
    assert len(list(counts.tallies())) > 5  # many parts
    found = curve_points(counts.tallies(), counts.positives, counts.negatives, most)
    assert found.auroc == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert found.average_precision == pytest.approx(average_precision_score(truth, scores), abs=1e-12)


def test_points_of_many_parts_lie_on_the_exact_curve() -> None:
    scores, truth = _data(5000)
    counts = ScoreCounts()
    counts.add(np.sort(scores[~truth]), np.sort(scores[truth]))
    found = curve_points(counts.tallies(), counts.positives, counts.negatives, most=50)
    rates, recalls, _ = roc_curve(truth, scores, drop_intermediate=False)
    exact = {(round(x, 9), round(y, 9)) for x, y in zip(rates, recalls, strict=True)}
    assert {(round(x, 9), round(y, 9)) for x, y in found.roc.tolist()} <= exact


def test_points_are_few_and_reach_both_ends() -> None:
    scores, truth = _data(200_000)
    counts = ScoreCounts()
    counts.add(np.sort(scores[~truth]), np.sort(scores[truth]))
    found = curve_points(counts.tallies(), counts.positives, counts.negatives, most=100)
    assert 100 <= len(found.roc) <= 400
    assert found.roc[0].tolist() == [0, 0]
    assert found.roc[-1].tolist() == [1, 1]
    assert found.pr[-1].tolist() == pytest.approx([1, truth.mean()])
    assert np.diff(found.roc, axis=0).max() <= 0.02 + 1e-9
    assert found.base_rate == pytest.approx(truth.mean())


def test_a_constant_score_is_one_step() -> None:
    truth = np.array([True, False, False])
    found = curve_points(array_tallies(np.zeros(3), truth), 1, 2)
    assert found.roc.tolist() == [[0, 0], [1, 1]]
    assert found.pr.tolist() == [[1, pytest.approx(1 / 3)]]
    assert found.auroc == 0.5
    assert found.average_precision == pytest.approx(1 / 3)
