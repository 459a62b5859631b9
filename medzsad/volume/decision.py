"""Which candidates are lesions: evidence from features, a cut-off from healthy scans.

The evidence of a candidate is the logit of a logistic regression on its features: a dot product. Its zero means
nothing; a cut-off does, which is chosen so that few healthy scans have a candidate that reaches it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medzsad.errors import WeightsError
from medzsad.volume.candidates import FEATURES, Candidates
from medzsad.volume.records import DecisionTaken, Lesion
from medzsad.weights.card import DecisionCard

# Evidence is rounded, so that a cut-off just above the evidence of a scan stays above it on every machine.
_DECIMALS = 4


def evidence_of(features: NDArray[np.float64], card: DecisionCard) -> NDArray[np.float64]:
    """(n,) evidence of candidates, rounded to 4 decimals.

    Args:
        features: (n, len(FEATURES)).
        card: The decision of the weights.

    Raises:
        WeightsError: The decision was fitted on a feature that this version does not measure.
    """
    if unknown := set(card.features) - set(FEATURES):
        raise WeightsError(
            f"The decision of the weights uses {', '.join(sorted(unknown))}, which this version of medzsad does not "
            f"measure (it knows {', '.join(FEATURES)}). Update medzsad, or decide by --threshold alone."
        )
    columns = features[:, [FEATURES.index(name) for name in card.features]]
    standardized = (columns - np.array(card.mean)) / np.array(card.scale)
    return np.asarray(np.round(standardized @ np.array(card.coefficients) + card.intercept, _DECIMALS))


def above_evidence(value: float) -> float:
    """The next larger evidence."""
    return round(value + 10.0**-_DECIMALS, _DECIMALS)


def above_score(value: float) -> float:
    """The next larger score in float32; 1 where there is none, which a saturated score reaches all the same."""
    return float(min(np.nextafter(np.float32(value), np.float32(2.0)), np.float32(1.0)))


def probability_of(evidence: float, card: DecisionCard) -> float:
    """The probability that a candidate of the calibration scans with this evidence was a lesion."""
    slope, intercept = card.probability
    return 1.0 / (1.0 + math.exp(-float(np.clip(slope * evidence + intercept, -50.0, 50.0))))


def healthy_share(evidence: float, card: DecisionCard) -> float:
    """Share of the healthy scans of the calibration with a candidate of at least this evidence, by the card's table.

    Between two rows the share of the weaker one counts, which is never too small; above the last row it is 0.
    """
    share = card.false_per_volume[0][1] if card.false_per_volume else 0.0
    if card.false_per_volume and evidence > card.false_per_volume[-1][0]:
        return 0.0
    for at, value in card.false_per_volume:
        if at <= evidence:
            share = value
    return share


@dataclass(frozen=True, slots=True)
class Rule:
    """How the components of a thresholded score become lesions.

    Attributes:
        threshold: Score from which a voxel belongs to a component.
        provenance: Who chose it.
        taken: Level and cut-off; None where every component is a lesion.
        card: Gives evidence and probability; None where nothing is decided by evidence.
        share_of: From evidence, or highest score without a card, to the share of healthy scans with a mark at least as
            strong; None without healthy scans.
        notes: What the report is to say.
        warnings: What makes the decision doubtful.
    """

    threshold: float
    provenance: str
    taken: DecisionTaken | None = None
    card: DecisionCard | None = None
    share_of: Callable[[float], float] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decided:
    """The candidates that are lesions.

    Attributes:
        reached: (i, j, k), where the score reached the threshold, without the candidates that were dropped.
        evidence: (lesions,) of those left, by falling size.
        taken: With the number that was dropped.
    """

    reached: NDArray[np.bool_]
    evidence: NDArray[np.float64]
    taken: DecisionTaken

    @property
    def notes(self) -> tuple[str, ...]:
        """A remark on weaker candidates, if there are any."""
        count, level = self.taken.dropped, self.taken.sensitivity
        if not count:
            return ()
        were = "1 weaker candidate was" if count == 1 else f"{count} weaker candidates were"
        return (f"{were} dropped at sensitivity {level}.",)


def decide(reached: NDArray[np.bool_], candidates: Candidates, card: DecisionCard, taken: DecisionTaken) -> Decided:
    """The mask without candidates whose evidence is below the cut-off.

    Args:
        reached: (i, j, k), where the score reached the threshold.
        candidates: Its components.
        card: Gives the evidence.
        taken: Level and cut-off.
    """
    evidence = evidence_of(candidates.features, card)
    kept = np.ones(len(evidence), bool) if taken.cutoff is None else evidence >= taken.cutoff
    left = reached
    if not kept.all():
        left = np.zeros_like(reached)
        left[candidates.box] = np.concatenate([[False], kept])[candidates.labels]
    return Decided(left, evidence[kept], replace(taken, dropped=int((~kept).sum())))


def told_by_evidence(lesions: tuple[Lesion, ...], evidence: NDArray[np.float64], rule: Rule) -> tuple[Lesion, ...]:
    """The lesions with their probability, and the share of healthy scans with a mark at least as strong.

    Args:
        lesions: By falling size; of `evidence`, those too small for a mask may be missing at the end.
        evidence: Of the candidates that were kept, by falling size.
        rule: With a card.
    """
    assert rule.card is not None
    assert rule.share_of is not None
    return tuple(
        replace(
            lesion,
            probability=probability_of(float(value), rule.card),
            healthy_share=rule.share_of(float(value)),
        )
        for lesion, value in zip(lesions, evidence, strict=False)
    )


def told_by_score(lesions: tuple[Lesion, ...], rule: Rule) -> tuple[Lesion, ...]:
    """The lesions with the share of healthy scans that hold a score at least as high; as they are without such."""
    share_of = rule.share_of
    if share_of is None:
        return lesions
    return tuple(replace(lesion, healthy_share=share_of(lesion.max_score)) for lesion in lesions)
