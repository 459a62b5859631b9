"""Metrics of pixels equal scikit-learn and plain loops, on random and on adversarial maps."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from medzsad.errors import ScoringError
from medzsad.metrics.counts import ScoreCounts
from medzsad.metrics.metric import PIXEL_METRICS, Metric
from medzsad.metrics.pixels import PixelScores, bin_edges
from tests.metrics.plain import Maps, Masks, plain_aupro, plain_rescaled_aupro

KINDS = ("smooth", "noise", "ties", "two values", "tiny range", "wide range", "negative", "perfect", "inverse")


def _maps(kind: str, seed: int, count: int = 3, side: int = 24) -> tuple[Maps, Masks]:
    random = np.random.default_rng(seed)
    masks = []
    for number in range(count):
        mask = np.zeros((side, side + 5), bool)
        if number != 1:  # one image without a lesion
            for _ in range(3):
                i, j = random.integers(0, side - 4, 2)
                mask[i : i + random.integers(1, 6), j : j + random.integers(1, 6)] = True
            mask[0, 0] = True  # a region of one pixel at the corner
        masks.append(mask)
    maps = []
    for mask in masks:
        noise = random.random(mask.shape)
        values = {
            "smooth": 0.3 * mask + 0.7 * noise,
            "noise": noise,
            "ties": np.round(0.4 * mask + 0.6 * noise, 1),
            "two values": (0.3 * mask + noise > 0.6).astype(float),
            "tiny range": 0.5 + 1e-6 * np.round(4 * noise + mask),
            "wide range": 10.0 ** (-20 * noise + mask),
            "negative": noise - 0.5 + 0.2 * mask,
            "perfect": mask + 0.0,
            "inverse": 1 - mask + 0.0,
        }[kind]
        maps.append(values.astype(np.float32))
    return maps, masks


def _metrics(maps: Maps, masks: Masks, threshold: float | None = 0.5) -> dict[str, Metric]:
    scores = PixelScores(bin_edges(maps, masks), threshold)
    for place, (one, mask) in enumerate(zip(maps, masks, strict=True)):
        scores.add(one, mask, str(place))
    return scores.metrics(seed=0)


def _flat(maps: Maps, masks: Masks) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    return np.concatenate([m.ravel() for m in maps]), np.concatenate([m.ravel() for m in masks])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_ranking_metrics_equal_scikit_learn(kind: str, seed: int) -> None:
    maps, masks = _maps(kind, seed)
    found = _metrics(maps, masks)
    scores, truth = _flat(maps, masks)
    precision, recall, _ = precision_recall_curve(truth, scores)
    f1 = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    assert found["pixel_auroc"].value == pytest.approx(roc_auc_score(truth, scores), abs=1e-6)
    assert found["pixel_ap"].value == pytest.approx(average_precision_score(truth, scores), abs=1e-6)
    assert found["pixel_f1max"].value == pytest.approx(f1, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_both_aupros_equal_loops_over_regions(kind: str, seed: int) -> None:
    maps, masks = _maps(kind, seed)
    found = _metrics(maps, masks)
    assert found["aupro"].value == pytest.approx(plain_aupro(maps, masks), abs=1e-6)
    rescaled = plain_rescaled_aupro(maps, masks)
    if math.isnan(rescaled):
        assert found["aupro_rescaled"].value is None
        assert "same FPR" in found["aupro_rescaled"].reason
    else:
        assert found["aupro_rescaled"].value == pytest.approx(rescaled, abs=1e-6)


def test_aupro_is_exact_where_many_pixels_of_large_regions_share_a_score() -> None:
    masks = [np.zeros((700, 900), bool) for _ in range(2)]
    random = np.random.default_rng(5)
    for mask in masks:
        mask[20:620, 30 : 500 + random.integers(0, 90)] = True
        mask[650:653, 700:703] = True
    maps = [np.round(random.random(m.shape) + 0.3 * m, 0).astype(np.float32) / 2 for m in masks]
    assert _metrics(maps, masks)["aupro"].value == pytest.approx(plain_aupro(maps, masks), abs=1e-7)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(-2, 2, width=32), min_size=4, max_size=40),
    marks=st.lists(st.booleans(), min_size=40, max_size=40),
)
def test_ranking_metrics_equal_scikit_learn_for_any_scores(values: list[float], marks: list[bool]) -> None:
    scores = np.array(values, np.float32)[None]
    truth = np.array(marks[: len(values)])[None]
    truth[0, :2] = True, False
    found = _metrics([scores], [truth])
    assert found["pixel_auroc"].value == pytest.approx(roc_auc_score(truth[0], scores[0]), abs=1e-6)
    assert found["pixel_ap"].value == pytest.approx(average_precision_score(truth[0], scores[0]), abs=1e-6)
    assert found["aupro"].value == pytest.approx(plain_aupro([scores], [truth]), abs=1e-6)


def test_constant_scores_are_chance() -> None:
    _, masks = _maps("noise", 0)
    found = _metrics([np.full(m.shape, 0.25, np.float32) for m in masks], masks)
    share = float(np.mean(np.concatenate([m.ravel() for m in masks])))
    assert found["pixel_auroc"].value == 0.5
    assert found["pixel_ap"].value == pytest.approx(share)
    # One jump from (0, 0) to (1, 1): a line, of which the first three tenths count.
    assert found["aupro"].value == pytest.approx(0.15)
    assert found["aupro_rescaled"].value is None


@pytest.mark.parametrize(("fill", "word"), [(False, "lesion"), (True, "normal")])
def test_one_kind_of_pixels_only_is_undefined_with_the_reason(fill: bool, word: str) -> None:
    maps = [np.random.default_rng(0).random((6, 7)).astype(np.float32)]
    found = _metrics(maps, [np.full((6, 7), fill)])
    assert set(found) == set(PIXEL_METRICS)
    for one in found.values():
        assert one.value is None
        assert word in one.reason


def test_results_do_not_depend_on_the_order_of_images() -> None:
    maps, masks = _maps("smooth", 3)
    edges = bin_edges(maps, masks)
    tables = []
    for order in ([0, 1, 2], [2, 0, 1]):
        scores = PixelScores(edges, 0.5)
        for place in order:
            scores.add(maps[place], masks[place], str(place))
        tables.append(scores.metrics(seed=4))
    for name in PIXEL_METRICS:
        assert tables[0][name].value == pytest.approx(tables[1][name].value, abs=1e-12)
        assert tables[0][name].low == pytest.approx(tables[1][name].low, abs=1e-6)


def test_dice_is_the_mean_over_subjects_with_a_lesion() -> None:
    maps, masks = _maps("smooth", 5)
    found = _metrics(maps, masks, threshold=0.55)

    def dice(threshold: float) -> float:
        marked = [m >= np.float32(threshold) for m in maps]
        return float(
            np.mean([2 * (a & t).sum() / (a.sum() + t.sum()) for a, t in zip(marked, masks, strict=True) if t.any()])
        )

    assert found["dice"].value == pytest.approx(dice(0.55))
    best = max(dice(float(value)) for value in np.unique(np.concatenate([m.ravel() for m in maps])))
    assert found["best_dice"].value == pytest.approx(best)


def test_images_of_one_subject_count_as_one() -> None:
    maps, masks = _maps("smooth", 6)
    scores = PixelScores(bin_edges(maps, masks), 0.55)
    for one, mask in zip(maps, masks, strict=True):
        scores.add(one, mask, "patient")
    marked, truth = np.stack(maps) >= np.float32(0.55), np.stack(masks)
    pooled = 2 * (marked & truth).sum() / (marked.sum() + truth.sum())
    found = scores.metrics(seed=0)
    assert found["dice"].value == pytest.approx(pooled)
    # Of one subject there is nothing to resample: the interval has no width.
    assert found["dice"].low == pytest.approx(found["dice"].high)


def test_without_a_threshold_dice_is_undefined_and_the_rest_is_not() -> None:
    maps, masks = _maps("smooth", 7)
    found = _metrics(maps, masks, threshold=None)
    assert found["dice"].value is None
    assert "threshold" in found["dice"].reason
    assert found["best_dice"].value is not None


def test_intervals_hold_the_metric_and_are_narrower_with_more_subjects() -> None:
    few, many = (_metrics(*_maps("smooth", 8, count=count)) for count in (6, 60))
    for name in PIXEL_METRICS:
        for one in (few[name], many[name]):
            assert one.value is not None
            assert one.low is not None
            assert one.high is not None
            assert one.low - 0.01 <= one.value <= one.high + 0.01
        assert (many[name].high or 0) - (many[name].low or 0) < (few[name].high or 0) - (few[name].low or 0), name


def test_resamples_of_all_metrics_are_centered_on_the_exact_metric() -> None:
    found = _metrics(*_maps("smooth", 9, count=40))
    for name in PIXEL_METRICS:
        assert float(np.median(found[name].resamples)) == pytest.approx(found[name].value, abs=0.01), name


def test_not_a_number_is_an_error_not_a_metric() -> None:
    maps, masks = _maps("smooth", 10)
    maps[1][3, 4] = np.nan
    scores = PixelScores(np.array([0.5], np.float32), None)
    with pytest.raises(ScoringError, match="finite"):
        scores.add(maps[1], masks[1], "a")


def test_more_than_four_billion_equal_scores_are_counted() -> None:
    counts = ScoreCounts()
    ones = np.zeros(3, np.float32)
    counts.add(ones, ones[:1])
    block = next(iter(counts._blocks.values()))
    assert block.negatives is not None
    block.negatives[block.negatives > 0] = 2**32 - 2
    counts.add(ones, ones[:1])
    (tally,) = counts.tallies()
    assert tally.negatives.tolist() == [2**32 + 1]
    assert tally.positives.tolist() == [2]


def test_tallies_hold_every_distinct_score_once_from_the_highest_down() -> None:
    random = np.random.default_rng(11)
    values = np.concatenate([random.normal(size=500), 10.0 ** random.uniform(-30, 2, 500), [0.0, -0.0, 1.0]])
    values = np.sort(values.astype(np.float32))
    counts = ScoreCounts()
    counts.add(values, np.zeros(0, np.float32))
    found = np.concatenate([tally.scores for tally in counts.tallies()])
    assert np.array_equal(found, np.unique(values)[::-1])


def test_no_library_warns_about_empty_masks() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = _metrics([np.zeros((1, 1), np.float32)], [np.ones((1, 1), bool)])
    assert found["pixel_auroc"].value is None
