"""The fit of a decision: true candidates, the regression, the cut-offs, and that all of it repeats."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import medzsad
from medzsad.config import RunConfig
from medzsad.errors import ConfigError
from medzsad.training.candidate_rows import CandidateRows, TrueLesion, VolumeRow, measure_volume
from medzsad.training.decide import decision_from_rows, fit_decision
from medzsad.training.logistic import fit_logistic, fit_platt
from medzsad.training.operating import Judged, false_per_volume, operating_curve
from medzsad.volume.candidates import FEATURES
from medzsad.volume.cutoffs import AIMS
from medzsad.volume.records import Outcome
from tests.decisions import Labeled, deciding_detector, labeled_volume, labeled_volumes
from tests.detectors import BrightnessDetector

CONFIG = RunConfig(window="0,1000")
THRESHOLDS = (0.5, 0.75)
COUNT = 24


@pytest.fixture(scope="module")
def rows() -> list[VolumeRow]:
    detector = BrightnessDetector(size=48)
    return [measure_volume(detector, volume, CONFIG, THRESHOLDS) for volume in labeled_volumes(COUNT)]


def test_a_fitted_decision_finds_the_lesions_and_leaves_the_spots(rows: list[VolumeRow]) -> None:
    card = decision_from_rows(rows, "spheres")
    detector = deciding_detector(card)
    new = [labeled_volume(seed, lesion=seed % 2 == 1) for seed in range(COUNT, COUNT + 12)]
    results = [medzsad.detect(one.scan, detector=detector, window="0,1000") for one in new]
    assert {result.outcome for result in results[1::2]} == {Outcome.LESION}
    lesions = [result.lesions[0].probability or 0.0 for result in results[1::2]]
    # Six healthy volumes chose the cut-off, which new ones may exceed; but no spot is as likely as any lesion.
    spots = [lesion.probability or 0.0 for result in results[::2] for lesion in result.lesions]
    assert min(lesions) > 0.5 > max(spots, default=0.0)
    for one, result in zip(new, results, strict=True):
        assert result.mask is not None
        assert not one.mask.any() or (result.mask.astype(bool) & one.mask).sum() > 0.5 * one.mask.sum()


def test_the_same_volumes_give_the_same_card(rows: list[VolumeRow]) -> None:
    detector = BrightnessDetector(size=48)
    card = fit_decision(detector, iter(labeled_volumes(COUNT)), data="spheres", config=CONFIG, thresholds=THRESHOLDS)
    assert card == decision_from_rows(rows, "spheres")
    assert type(card).model_validate_json(card.model_dump_json()) == card


def test_the_cutoffs_keep_the_aims_on_the_healthy_half_and_the_curve_agrees(rows: list[VolumeRow]) -> None:
    card = decision_from_rows(rows, "spheres")
    assert (card.healthy_scans, card.lesion_scans) == (COUNT // 4, COUNT // 4)
    for level, aim in AIMS.items():
        assert card.levels[level].share <= aim
    levels = [point for point in card.operating.points if point.level is not None]
    assert {point.level for point in levels} == set(AIMS)
    assert sum(card.operating.lesions_by_size) == COUNT // 4
    for weaker, stronger in zip(card.operating.points, card.operating.points[1:], strict=False):
        assert weaker.evidence <= stronger.evidence
        assert weaker.false_lesions_per_scan >= stronger.false_lesions_per_scan
        assert sum(weaker.found_by_size) >= sum(stronger.found_by_size)
    assert "spheres: 6 healthy and 6 with lesions" in card.provenance


def test_too_few_volumes_and_mixed_kinds_are_refused(rows: list[VolumeRow]) -> None:
    with pytest.raises(ConfigError, match="at least 4 healthy"):
        decision_from_rows(rows[:6], "spheres")
    with pytest.raises(ConfigError, match="each kind by itself"):
        decision_from_rows([*rows, rows[0].model_copy(update={"kind": "pictures"})], "spheres")


def _row(voxels: np.ndarray, mask: np.ndarray) -> CandidateRows:
    scan = replace(labeled_volume(0, lesion=False).scan, voxels=voxels)
    return measure_volume(BrightnessDetector(size=48), Labeled(scan, mask), CONFIG, (0.75,)).candidates[0.75]


def test_a_candidate_is_true_by_its_own_share_or_by_that_of_the_lesion() -> None:
    body = np.minimum(labeled_volume(0, lesion=False).scan.voxels, 600.0)
    mask = np.zeros(body.shape, bool)
    mask[12:20, 14:18, 4:6] = True  # 64 voxels
    speck, blanket, beside = body.copy(), body.copy(), body.copy()
    speck[12:14, 14:16, 4] = 1000.0  # all of it inside, though it covers little
    blanket[8:24, 8:28, 2:8] = 1000.0  # 64 of 1920 voxels inside, but it covers the lesion
    beside[10:13, 14:18, 2:4] = 1000.0  # touches it from outside
    whole = np.full_like(body, 1000.0)  # covers it as it covers everything
    whole[:3] = 0.0
    assert _row(speck, mask).finds == ((0,),)
    assert _row(blanket, mask).finds == ((0,),)
    assert _row(beside, mask).finds == ((),)
    assert _row(whole, mask).finds == ((),)


def test_a_mask_of_another_grid_is_refused() -> None:
    labeled = labeled_volume(0, lesion=False)
    with pytest.raises(ConfigError, match="has the shape"):
        measure_volume(BrightnessDetector(size=48), Labeled(labeled.scan, labeled.mask[1:]), CONFIG, (0.75,))


def test_the_regression_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 4))
    true = rng.random(300) < 1 / (1 + np.exp(-(features @ [2.0, -1.0, 0.5, 0.0] - 1.0)))
    weight = np.where(true, 2.0, 0.7)
    coefficients, intercept = fit_logistic(features, true.astype(float), weight, 1.0)
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(features, true, sample_weight=weight)
    np.testing.assert_allclose(coefficients, reference.coef_[0], atol=1e-4)
    assert intercept == pytest.approx(float(reference.intercept_[0]), abs=1e-4)


def test_classes_that_can_be_separated_give_finite_numbers() -> None:
    evidence = np.array([-3.0, -2.0, 2.0, 3.0])
    slope, intercept = fit_platt(evidence, evidence > 0)
    assert 0 < slope < 100
    assert abs(intercept) < 1
    slope, intercept = fit_platt(evidence, np.ones(4, bool))
    assert np.isfinite([slope, intercept]).all()
    assert fit_platt(evidence, evidence < 0)[0] == 0.0


def test_the_table_of_false_lesions_is_short_monotone_and_exact_for_the_rare_ones() -> None:
    highest = [float(value) for value in np.random.default_rng(1).permutation(1000)] + [None] * 1000
    table = false_per_volume(highest)
    assert len(table) <= 40
    assert table[-1] == (999.0, 1 / 2000)
    assert table[-2] == (998.0, 2 / 2000)
    assert table[0] == (0.0, 0.5)


def test_a_lesion_counts_as_found_by_its_strongest_candidate() -> None:
    lesions = (TrueLesion(size=50.0, contrast=0.2), TrueLesion(size=5000.0, contrast=3.0))
    sick = VolumeRow(name="a", kind="volumes", mask_voxels=9, lesions=lesions, candidates={})
    well = VolumeRow(name="b", kind="volumes", mask_voxels=0, lesions=(), candidates={})
    judged = [
        Judged(sick, np.array([1.0, 3.0, 2.0]), ((0,), (0,), ())),
        Judged(well, np.array([2.5, 0.5]), ((), ())),
    ]
    curve = operating_curve(judged, {"high": None, "balanced": 2.0, "low": 3.5})
    by_level = {point.level: point for point in curve.points if point.level}
    assert curve.lesions_by_size == (1, 0, 1, 0)
    assert curve.lesions_by_contrast == (1, 0, 0, 1)
    assert by_level["high"].false_lesions_per_scan == 2.0
    assert by_level["balanced"].false_lesions_per_scan == 1.0
    assert by_level["balanced"].found_by_size == (1, 0, 0, 0)
    assert by_level["low"].found_by_contrast == (0, 0, 0, 0)


def test_rows_hold_every_feature_of_every_candidate(rows: list[VolumeRow]) -> None:
    found = [one for row in rows for one in row.candidates.values()]
    assert {len(line) for one in found for line in one.features} == {len(FEATURES)}
    assert all(len(one.features) == len(one.voxels) == len(one.inside) == len(one.finds) for one in found)
