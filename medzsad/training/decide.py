"""The decision of weights, from scans with known lesions and healthy ones: half of them to fit, half to calibrate."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medzsad.config import RunConfig
from medzsad.errors import ConfigError
from medzsad.methods.detector import Detector
from medzsad.training.candidate_rows import THRESHOLDS, CandidateRows, LabeledVolume, VolumeRow, measure_volume
from medzsad.training.logistic import fit_logistic, fit_platt
from medzsad.training.operating import Judged, false_per_volume, operating_curve
from medzsad.volume.candidates import FEATURES
from medzsad.volume.cutoffs import AIMS, cutoff_for, level_cutoffs
from medzsad.volume.decision import above_evidence
from medzsad.weights.card import DecisionCard, DecisionLevel

_PENALTY = 1.0
# Shares of the healthy scans called `lesion` at which masks are compared, to choose the voxel threshold. At that of one
# level alone the choice hangs on the few lesions that are found there.
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)
_FEWEST = 4  # healthy scans, and scans with lesions: two in each half
_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class _Regression:
    """Evidence from features at one voxel threshold; rounded as a card stores it."""

    threshold: float
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    intercept: float

    def judge(self, row: VolumeRow) -> Judged:
        found = row.candidates[self.threshold]
        features = np.array(found.features, dtype=float).reshape(-1, len(FEATURES))
        evidence = (features - self.mean) / self.scale @ self.coefficients + self.intercept
        return Judged(row, np.round(evidence, 4), found.finds)


def fit_decision(
    detector: Detector,
    volumes: Iterable[LabeledVolume],
    *,
    data: str,
    config: RunConfig | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> DecisionCard:
    """The decision that labeled volumes lead to; the same input gives the same card.

    Args:
        detector: As it will be used.
        volumes: Scans with and without lesions, all volumes or all pictures; one is held in memory at a time.
        data: What they are, for the provenance, such as "generated heads".
        config: Options that change scores; by default those of a plain run.
        thresholds: Voxel thresholds of which the best is chosen.

    Raises:
        ConfigError: There are too few volumes, both kinds of them, or no candidate at any threshold.
    """
    config = config or RunConfig()
    return decision_from_rows([measure_volume(detector, volume, config, thresholds) for volume in volumes], data)


def decision_from_rows(rows: Sequence[VolumeRow], data: str) -> DecisionCard:
    """The decision that measured volumes lead to.

    One half (every other healthy one, every other with lesions) chooses the voxel threshold, by the mean Dice of its
    masks over cut-offs at which 5 to 50 % of its healthy scans are called lesion, and fits the regression. The other
    half chooses the cut-offs, and everything that is told about them is measured on it.

    Args:
        rows: In a fixed order, from `measure_volume` with the same thresholds.
        data: What the volumes are, for the provenance.

    Raises:
        ConfigError: See `fit_decision`.
    """
    fitting, calibrating = _halves(rows)
    regressions = [_regress(fitting, threshold) for threshold in fitting[0].candidates]
    scored = [(_mean_dice(fitting, one), one) for one in regressions if one is not None]
    if not scored:
        raise ConfigError("No volume has a candidate at any threshold, so nothing can be decided. Lower them.")
    # Of equals the highest threshold, whose candidates are the smallest.
    dice, best = max(scored, key=lambda pair: (pair[0], pair[1].threshold))
    judged = [best.judge(row) for row in calibrating]
    highest = [one.highest for one in judged if one.healthy]
    cutoffs = level_cutoffs(highest, above_evidence)
    evidence = np.concatenate([one.evidence for one in judged])
    true = np.concatenate([one.true for one in judged])
    slope, intercept = fit_platt(evidence, true) if len(true) else (0.0, 0.0)
    return DecisionCard(
        features=FEATURES,
        mean=_plain(best.mean),
        scale=_plain(best.scale),
        coefficients=_plain(best.coefficients),
        intercept=best.intercept,
        voxel_threshold=best.threshold,
        levels={level: DecisionLevel(evidence=found.value, share=found.share) for level, found in cutoffs.items()},
        false_per_volume=false_per_volume(highest),
        probability=(round(slope, _DECIMALS), round(intercept, _DECIMALS)),
        operating=operating_curve(judged, {level: found.value for level, found in cutoffs.items()}),
        healthy_scans=len(highest),
        lesion_scans=len(judged) - len(highest),
        provenance=_provenance(fitting, calibrating, best.threshold, dice, data),
    )


def _halves(rows: Sequence[VolumeRow]) -> tuple[list[VolumeRow], list[VolumeRow]]:
    if len(kinds := {row.kind for row in rows}) > 1:
        raise ConfigError(f"There are {' and '.join(sorted(kinds))}; fit a decision for each kind by itself.")
    healthy, sick = ([row for row in rows if (row.mask_voxels == 0) is wanted] for wanted in (True, False))
    if min(len(healthy), len(sick)) < _FEWEST:
        raise ConfigError(
            f"A decision needs at least {_FEWEST} healthy volumes and {_FEWEST} with lesions, got {len(healthy)} and "
            f"{len(sick)}."
        )
    return healthy[::2] + sick[::2], healthy[1::2] + sick[1::2]


def _regress(rows: Sequence[VolumeRow], threshold: float) -> _Regression | None:
    """The regression at one threshold; None where no volume has a candidate.

    No coefficient is negative: a candidate that is larger, brighter or steadier than another is never less of a lesion
    for it. A feature that would count against a lesion is left out, the worst one first.
    """
    found = [row.candidates[threshold] for row in rows]
    features = np.array([line for one in found for line in one.features], dtype=float)
    if not len(features):
        return None
    true = np.array([bool(finds) for one in found for finds in one.finds])
    mean = np.asarray(np.round(features.mean(axis=0), _DECIMALS))
    spread = features.std(axis=0)
    scale = np.asarray(np.round(np.where(spread > 1e-3, spread, 1.0), _DECIMALS), dtype=np.float64)
    standard, weight = (features - mean) / scale, _weights(found, true)
    kept = np.ones(len(FEATURES), bool)
    while True:
        coefficients = np.zeros(len(FEATURES))
        coefficients[kept], intercept = fit_logistic(standard[:, kept], true.astype(float), weight, _PENALTY)
        if not kept.any() or coefficients.min() >= 0.0:
            break
        kept[coefficients.argmin()] = False
    return _Regression(threshold, mean, scale, np.round(coefficients, _DECIMALS), round(intercept, _DECIMALS))


def _weights(found: Sequence[CandidateRows], true: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) weights of the candidates: volumes count alike, true and false ones count alike in all, and within a volume
    a candidate counts by the root of its size, or hundreds of specks would outvote the one that matters.
    """
    roots = [np.sqrt(np.array(one.voxels, dtype=float)) for one in found]
    weight = np.concatenate([root / root.sum() for root in roots if len(root)])
    for kind in (true, ~true):
        weight[kind] *= len(found) / 2 / max(float(weight[kind].sum()), 1e-12)
    return np.asarray(weight)


def _mean_dice(rows: Sequence[VolumeRow], regression: _Regression) -> float:
    """Mean Dice of the masks of those with lesions, over cut-offs at which 5 to 50 % of the healthy ones have one."""
    judged = [regression.judge(row) for row in rows]
    highest = [one.highest for one in judged if one.healthy]
    dice = []
    for share in _SHARES:
        cutoff = cutoff_for(highest, share, above_evidence).value
        for one in judged:
            if one.healthy:
                continue
            found = one.row.candidates[regression.threshold]
            kept = one.evidence >= (-np.inf if cutoff is None else cutoff)
            marked = int(np.array(found.voxels, dtype=int)[kept].sum())
            inside = int(np.array(found.inside, dtype=int)[kept].sum())
            dice.append(2 * inside / (marked + one.row.mask_voxels))
    return float(np.mean(dice))


def _provenance(
    fitting: Sequence[VolumeRow], calibrating: Sequence[VolumeRow], threshold: float, dice: float, data: str
) -> str:
    counts = [
        (sum(row.mask_voxels == 0 for row in half), sum(row.mask_voxels > 0 for row in half))
        for half in (fitting, calibrating)
    ]
    aims = ", ".join(f"{100 * aim:g}" for aim in AIMS.values())
    return (
        f"Fitted on {data}: {counts[0][0]} healthy and {counts[0][1]} with lesions chose the voxel threshold "
        f"{threshold:g} (mean Dice {dice:.2f} with 5 to 50 % of healthy ones called lesion) and the regression; "
        f"{counts[1][0]} other healthy ones chose the cut-offs, for at most {aims} % of them called lesion."
    )


def _plain(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
