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
    METRICS,
    BinnedScores,
    ValidationScores,
    validation_metrics,
)


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
    images = ValidationScores(images=scores.tolist(), labels=labels.tolist()).metrics()
    assert images["image_ap"] == pytest.approx(average_precision_score(labels, scores))
    assert images["image_auroc"] == pytest.approx(roc_auc_score(labels, scores))
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
        ValidationScores(images=[0.5, float("nan")], labels=[0, 1]).metrics()


def test_scores_and_labels_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        BinnedScores().add(np.zeros((2, 3), np.float32), np.zeros((3, 2)))


def test_binned_measures_that_are_not_defined_are_none() -> None:
    empty, sound = BinnedScores(), _binned(np.array([0.1, 0.4], np.float32), np.array([False, False]))
    assert (empty.average_precision(), empty.auroc()) == (None, None)
    assert (sound.average_precision(), sound.auroc()) == (None, None)
    assert _binned(np.array([0.3], np.float32), np.array([True])).auroc() is None


def test_metrics_are_means_over_the_classes_that_define_them() -> None:
    scores, labels = _maps(4)
    full = ValidationScores(_binned(scores, labels), [0.2, 0.9, 0.4, 0.3], [0, 1, 1, 0])
    other = ValidationScores(_binned(scores[:1], ~labels[:1]), [0.2, 0.9, 0.4], [1, 0, 1])
    sound = ValidationScores(_binned(scores, np.zeros_like(labels)), [0.2, 0.7], [0, 0])
    no_pixel_label = ValidationScores(images=[0.2, 0.7], labels=[0, 1])
    mean, by_class = validation_metrics(
        {"a": full, "b": other, "c": sound, "d": no_pixel_label, "e": ValidationScores()}
    )
    assert tuple(mean) == METRICS
    assert by_class["c"] == by_class["e"] == dict.fromkeys(METRICS)
    assert (by_class["d"]["pixel_ap"], by_class["d"]["pixel_auroc"]) == (None, None)
    assert (by_class["d"]["image_ap"], by_class["d"]["image_auroc"]) == (1.0, 1.0)
    assert by_class["a"]["image_auroc"] == pytest.approx(roc_auc_score([0, 1, 1, 0], [0.2, 0.9, 0.4, 0.3]))
    for figure in METRICS:
        defined = [value for name in "abd" if (value := by_class[name][figure]) is not None]
        assert mean[figure] == pytest.approx(np.mean(defined))


def test_metrics_that_no_class_defines_are_none_and_never_zero() -> None:
    nothing = dict.fromkeys(METRICS)
    assert validation_metrics({}) == (nothing, {})
    defects = ValidationScores(images=[0.3, 0.8], labels=[1, 1])
    assert validation_metrics({"wood": defects}) == (nothing, {"wood": nothing})


def test_metrics_of_a_perfect_and_of_a_reversed_model_are_one_and_zero() -> None:
    scores, labels = np.array([0.1, 0.2, 0.8, 0.9], np.float32), np.array([False, False, True, True])
    perfect = ValidationScores(_binned(scores, labels), [0.1, 0.9], [0, 1])
    assert set(validation_metrics({"wood": perfect})[0].values()) == {1.0}
    mean, _ = validation_metrics({"wood": ValidationScores(_binned(scores, ~labels), [0.1, 0.9], [1, 0])})
    assert (mean["pixel_auroc"], mean["image_auroc"]) == (0.0, 0.0)  # a defined 0 stays


def test_classes_scored_in_parts_are_merged() -> None:
    scores, labels = _maps(5)
    one = ValidationScores(_binned(scores[:1], labels[:1]), [0.3], [0])
    one.merge(ValidationScores(_binned(scores[1:], labels[1:]), [0.7, 0.1], [1, 0]))
    assert one.metrics() == ValidationScores(_binned(scores, labels), [0.3, 0.7, 0.1], [0, 1, 0]).metrics()
