"""Metrics of one score per image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from medzsad.errors import ScoringError
from medzsad.metrics.images import image_metrics
from medzsad.metrics.metric import IMAGE_METRICS, Metric, mean_metrics


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.integers(0, 1)), min_size=2, max_size=50))
def test_image_metrics_equal_scikit_learn(pairs: list[tuple[float, int]]) -> None:
    scores = [score for score, _ in pairs]
    labels = [1, 0, *(label for _, label in pairs[2:])]
    found = image_metrics(scores, labels, [""] * len(pairs), seed=0)
    precision, recall, _ = precision_recall_curve(labels, scores)
    assert found["image_auroc"].value == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert found["image_ap"].value == pytest.approx(average_precision_score(labels, scores), abs=1e-6)
    best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    assert found["image_f1max"].value == pytest.approx(best, abs=1e-6)


def test_scores_that_differ_beyond_float32_are_told_apart() -> None:
    found = image_metrics([0.5, 0.5 + 1e-12], [0, 1], ["", ""], seed=0)
    assert found["image_auroc"].value == 1.0


@pytest.mark.parametrize(("labels", "word"), [([1, 1], "normal"), ([0, 0], "abnormal"), ([], "no images")])
def test_one_label_only_is_undefined_with_the_reason(labels: list[int], word: str) -> None:
    found = image_metrics([0.1, 0.7][: len(labels)], labels, [""] * len(labels), seed=0)
    assert set(found) == set(IMAGE_METRICS)
    for one in found.values():
        assert one.value is None
        assert word in one.reason


def test_intervals_by_subject_are_wider_than_by_image() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(random.integers(0, 2, 20), 30)
    scores = labels + np.repeat(random.normal(size=20), 30) + 0.1 * random.normal(size=600)
    alone = image_metrics(scores.tolist(), labels.tolist(), [""] * 600, seed=1)["image_auroc"]
    patients = image_metrics(scores.tolist(), labels.tolist(), [str(i // 30) for i in range(600)], seed=1)
    together = patients["image_auroc"]
    assert alone.value == together.value
    assert alone.low is not None
    assert alone.high is not None
    assert together.low is not None
    assert together.high is not None
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_not_a_number_is_an_error() -> None:
    with pytest.raises(ScoringError, match="NaN"):
        image_metrics([0.1, float("nan")], [0, 1], ["", ""], seed=0)


def test_the_mean_leaves_out_classes_that_do_not_define_a_metric() -> None:
    known = {"image_auroc": Metric(0.5, resamples=np.full(4, 0.5))}
    other = {"image_auroc": Metric(0.75, resamples=np.full(4, 0.75))}
    none = {"image_auroc": Metric(None, reason="there are no normal images")}
    mean = mean_metrics({"a": known, "b": none, "c": other})["image_auroc"]
    assert mean.value == 0.625
    assert (mean.low, mean.high) == (0.625, 0.625)
    assert mean_metrics({"b": none})["image_auroc"] == none["image_auroc"]
