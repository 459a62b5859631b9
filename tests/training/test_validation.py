"""Measures against plain definitions and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score  # type: ignore[import-untyped]

from medzsad.errors import ScoringError
from medzsad.training.validation import (
    BINS,
    FIGURES,
    BinnedScores,
    ClassScores,
    auroc,
    average_precision,
    validation_figures,
)


def test_auroc_counts_pairs_and_ties_half() -> None:
    rng = default_rng(0)
    scores = rng.integers(0, 6, 60).astype(np.float32)
    labels = rng.random(60) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels] for b in scores[~labels]]
    assert auroc(scores, labels) == pytest.approx(np.mean(pairs))


def test_average_precision_of_a_known_ranking() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    assert average_precision(scores, np.array([True, False, True, False])) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.ones(4, np.float32), np.array([True, False, False, False])) == pytest.approx(0.25)


def test_measures_without_positives_are_not_a_number() -> None:
    scores, labels = np.ones(3, np.float32), np.zeros(3, bool)
    assert np.isnan(auroc(scores, labels))
    assert np.isnan(average_precision(scores, labels))


def _maps(seed: int, share: float = 0.1) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    rng = default_rng(seed)
    labels = rng.random((3, 17, 23)) < share
    scores = np.where(labels, rng.beta(4, 3, labels.shape), rng.beta(2, 6, labels.shape))
    return scores.astype(np.float32), labels


def _binned(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> BinnedScores:
    binned = BinnedScores()
    binned.add(scores, labels)
    return binned


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=2, max_size=60))
def test_exact_measures_agree_with_scikit_learn_on_tied_scores(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([score / 12 for score, _ in pairs], np.float32)
    labels = np.array([label for _, label in pairs])
    if labels.all() or not labels.any():
        return
    assert average_precision(scores, labels) == pytest.approx(average_precision_score(labels, scores))
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    binned = _binned(scores, labels)
    assert binned.average_precision() == pytest.approx(average_precision_score(labels, scores))
    assert binned.auroc() == pytest.approx(roc_auc_score(labels, scores))


@pytest.mark.parametrize("share", [0.01, 0.1, 0.6])
def test_binned_measures_of_smooth_scores_are_close_to_scikit_learn(share: float) -> None:
    scores, labels = _maps(0, share)
    binned = _binned(scores, labels)
    expected = average_precision_score(labels.ravel(), scores.ravel()), roc_auc_score(labels.ravel(), scores.ravel())
    assert binned.average_precision() == pytest.approx(expected[0], abs=2e-3)
    assert binned.auroc() == pytest.approx(expected[1], abs=1e-4)


def test_scores_of_one_bin_count_as_equal() -> None:
    scores = (np.array([100.1, 100.2, 100.3, 100.4, 101.5]) / BINS).astype(np.float32)
    labels = np.array([False, True, False, True, False])
    tied = np.array([0, 0, 0, 0, 1])
    binned = _binned(scores, labels)
    assert binned.average_precision() == pytest.approx(average_precision_score(labels, tied))
    assert binned.auroc() == pytest.approx(roc_auc_score(labels, tied))


def test_scores_added_in_parts_and_merged_are_those_added_at_once() -> None:
    scores, labels = _maps(1)
    whole, first, second = _binned(scores, labels), BinnedScores(), BinnedScores()
    first.add(torch.from_numpy(scores[:1]), torch.from_numpy(labels[:1]).float())
    second.add(scores[1], labels[1].astype(np.uint8))
    second.add(scores[2], labels[2])
    first.merge(second)
    assert np.array_equal(first.counts, whole.counts)
    assert whole.counts.sum() == scores.size
    assert whole.counts.shape == (2, BINS)


def test_pixels_that_are_not_valid_are_left_out() -> None:
    scores, labels = _maps(2)
    valid = default_rng(3).random(scores.shape) < 0.5
    some, no_second = BinnedScores(), BinnedScores()
    some.add(scores, labels, valid)
    assert np.array_equal(some.counts, _binned(scores[valid], labels[valid]).counts)
    no_second.add(torch.from_numpy(scores), torch.from_numpy(labels), torch.tensor([True, False, True])[:, None, None])
    assert np.array_equal(no_second.counts, _binned(scores[[0, 2]], labels[[0, 2]]).counts)


def test_scores_at_and_just_beyond_the_ends_count_at_the_ends() -> None:
    binned = _binned(np.array([0, -1e-6, 1, 1 + 1e-6], np.float32), np.array([False, False, True, True]))
    assert binned.counts[0, 0] == 2
    assert binned.counts[1, -1] == 2


def test_a_score_that_is_not_a_number_is_refused_where_it_counts() -> None:
    scores, labels = np.array([0.5, np.nan], np.float32), np.array([True, False])
    with pytest.raises(ScoringError, match="NaN"):
        BinnedScores().add(scores, labels)
    BinnedScores().add(scores, labels, np.array([True, False]))
    with pytest.raises(ScoringError, match="NaN"):
        ClassScores(images=[0.5, float("nan")], labels=[0, 1]).figures()


def test_scores_and_labels_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        BinnedScores().add(np.zeros((2, 3), np.float32), np.zeros((3, 2)))


def test_binned_measures_that_are_not_defined_are_none() -> None:
    empty, sound = BinnedScores(), _binned(np.array([0.1, 0.4], np.float32), np.array([False, False]))
    assert (empty.average_precision(), empty.auroc()) == (None, None)
    assert (sound.average_precision(), sound.auroc()) == (None, None)
    assert _binned(np.array([0.3], np.float32), np.array([True])).auroc() is None


def test_figures_are_means_over_the_classes_that_define_them() -> None:
    scores, labels = _maps(4)
    full = ClassScores(_binned(scores, labels), [0.2, 0.9, 0.4, 0.3], [0, 1, 1, 0])
    other = ClassScores(_binned(scores[:1], ~labels[:1]), [0.2, 0.9, 0.4], [1, 0, 1])
    sound = ClassScores(_binned(scores, np.zeros_like(labels)), [0.2, 0.7], [0, 0])
    no_pixel_label = ClassScores(images=[0.2, 0.7], labels=[0, 1])
    mean, by_class = validation_figures({"a": full, "b": other, "c": sound, "d": no_pixel_label, "e": ClassScores()})
    assert tuple(mean) == FIGURES
    assert by_class["c"] == by_class["e"] == dict.fromkeys(FIGURES)
    assert (by_class["d"]["pixel_ap"], by_class["d"]["pixel_auroc"]) == (None, None)
    assert (by_class["d"]["image_ap"], by_class["d"]["image_auroc"]) == (1.0, 1.0)
    assert by_class["a"]["image_auroc"] == pytest.approx(roc_auc_score([0, 1, 1, 0], [0.2, 0.9, 0.4, 0.3]))
    for figure in FIGURES:
        defined = [value for name in "abd" if (value := by_class[name][figure]) is not None]
        assert mean[figure] == pytest.approx(np.mean(defined))


def test_figures_that_no_class_defines_are_none_and_never_zero() -> None:
    nothing = dict.fromkeys(FIGURES)
    assert validation_figures({}) == (nothing, {})
    defects = ClassScores(images=[0.3, 0.8], labels=[1, 1])
    assert validation_figures({"wood": defects}) == (nothing, {"wood": nothing})


def test_figures_of_a_perfect_and_of_a_reversed_model_are_one_and_zero() -> None:
    scores, labels = np.array([0.1, 0.2, 0.8, 0.9], np.float32), np.array([False, False, True, True])
    perfect = ClassScores(_binned(scores, labels), [0.1, 0.9], [0, 1])
    assert set(validation_figures({"wood": perfect})[0].values()) == {1.0}
    mean, _ = validation_figures({"wood": ClassScores(_binned(scores, ~labels), [0.1, 0.9], [1, 0])})
    assert (mean["pixel_auroc"], mean["image_auroc"]) == (0.0, 0.0)  # a defined 0 stays


def test_classes_scored_in_parts_are_merged() -> None:
    scores, labels = _maps(5)
    one = ClassScores(_binned(scores[:1], labels[:1]), [0.3], [0])
    one.merge(ClassScores(_binned(scores[1:], labels[1:]), [0.7, 0.1], [1, 0]))
    assert one.figures() == ClassScores(_binned(scores, labels), [0.3, 0.7, 0.1], [0, 1, 0]).figures()
