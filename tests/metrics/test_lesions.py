"""Lesions found and made up, counted by hand."""

import numpy as np
import pytest

from medzsad.metrics.lesions import LesionCounts, count_lesions, lesion_metrics


def test_lesions_are_found_by_any_overlap_and_false_ones_have_none() -> None:
    truth = np.zeros((9, 8, 7), bool)
    truth[1, 1, 1] = truth[2, 2, 2] = True  # touch by a corner: one lesion
    truth[6:8, 1, 1] = True
    truth[4, 6, 4] = True
    marked = np.zeros_like(truth)
    marked[2, 2, 2] = True
    marked[7, 1, 1:3] = True  # overlaps by one voxel
    marked[0, 7, 6] = marked[8, 7, 6] = True  # two false positives
    assert count_lesions(marked, truth) == LesionCounts(lesions=3, found=2, false_positives=2)


def test_one_mark_over_two_lesions_finds_both() -> None:
    truth = np.zeros((7, 3, 3), bool)
    truth[0, 1, 1] = truth[6, 1, 1] = True
    assert count_lesions(np.ones_like(truth), truth) == LesionCounts(2, 2, 0)


def test_metrics_pool_lesions_and_average_false_positives() -> None:
    counts = [LesionCounts(4, 1, 2), LesionCounts(0, 0, 3), LesionCounts(1, 1, 1)]
    found = lesion_metrics(counts, ["a", "b", "c"], seed=0)
    assert found["lesion_recall"].value == pytest.approx(2 / 5)
    assert found["false_positives_per_scan"].value == pytest.approx(2.0)
    assert found["lesion_recall"].low is not None
    assert found["lesion_recall"].low < 2 / 5


def test_without_any_lesion_recall_is_undefined() -> None:
    found = lesion_metrics([LesionCounts(0, 0, 1)], ["a"], seed=0)
    assert found["lesion_recall"].value is None
    assert "no lesion" in found["lesion_recall"].reason
    assert found["false_positives_per_scan"].value == 1.0
