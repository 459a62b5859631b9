"""One scan to one result: slices, scores, the scan's own grid, threshold, lesions."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medzsad.config import Axis, RunConfig
from medzsad.context.score import ContextScore, ScoredPlane, score_in_context
from medzsad.context.settings import context_of, with_context
from medzsad.errors import ReasonCode, RefusedError
from medzsad.methods.detector import Detector
from medzsad.methods.ensemble import Ensemble, Model, comparable_score
from medzsad.methods.noise import SharedNoise
from medzsad.run.remarks import notes_on, nothing_scored, warnings_on
from medzsad.run.rule import lesions_by_rule, rule_for
from medzsad.scan.records import Scan
from medzsad.scoring.device import batch_that_fits, resolve_device, resolve_precision
from medzsad.scoring.engine import ScoreVolume, score_stack
from medzsad.slices.stack import SliceStack, stack_slices
from medzsad.volume.decision import Rule
from medzsad.volume.records import CaseResult, Outcome, SliceScore
from medzsad.weights.load import load_detector as _load_detector

_log = logging.getLogger(__name__)


def load_detector(
    weights: str | Path = "medzsad-mini",
    *,
    clip_weights: Path | str | None = None,
    guide_weights: Path | str | None = None,
    samples: int | None = None,
    device: str = "auto",
    adapt: bool = False,
) -> Detector:
    """A detector ready to score, for `detect`.

    Args:
        weights: Name of installed weights (`medzsad weights list`) or path of a weights file.
        clip_weights: File with the CLIP tower, for weights that do not bring their own.
        guide_weights: File of DINOv2 ViT-B/14 with registers, which then guides the features ("Crane+"); None for none.
        samples: Prompt samples per slice; None takes the number stored with the weights.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        adapt: Whether prompts adapt to a scan while its slices are scored, which PILOT-style ones can.

    Raises:
        WeightsError: The weights are missing, damaged or do not fit the tower.
        ConfigError: The device is unknown, or the weights take no guide or cannot adapt.
    """
    return _load_detector(
        weights,
        clip_weights=clip_weights,
        guide_weights=guide_weights,
        samples=samples,
        device=resolve_device(device),
        adapt=adapt,
    )


def load_model(config: RunConfig) -> Model:
    """The detector that the options name, or the ensemble of several.

    Raises:
        WeightsError: Weights are missing, damaged or do not fit the tower.
        ConfigError: The device is unknown, or weights cannot be members of an ensemble.
    """
    loaded = [
        load_detector(
            one,
            clip_weights=config.clip_weights,
            guide_weights=config.guide_weights,
            samples=config.samples,
            device=config.device,
            adapt=config.adapt,
        )
        for one in config.weights
    ]
    return loaded[0] if len(loaded) == 1 else Ensemble(loaded)


def detect_scan(scan: Scan, detector: Model, config: RunConfig) -> CaseResult:
    """The result for a scan in memory under a checked configuration."""
    scan = with_modality(scan, config)
    # First, so that a run with no usable threshold or word ends before any time is spent.
    detector.word(config.class_name)
    rule = rule_for(scan, detector, config)
    return decided(score_scan(scan, detector, config), rule, config)


@dataclass(frozen=True, slots=True)
class ScoredScan:
    """A scan with its scores, before anything is decided.

    Attributes:
        scan: That was scored.
        stack: Its slices.
        slices: One entry per slice along the slicing axis.
        score: (i, j, k) float32 in [0, 1], in the scan's grid.
        outside: (i, j, k) bool, the air around the body; None if it was not looked for or not found.
        spread: Gives (i, j, k) standard deviations over prompt samples, or None.
        notes: What the report is to say of how it was scored.
    """

    scan: Scan
    stack: SliceStack
    slices: tuple[SliceScore, ...]
    score: NDArray[np.float32] = field(repr=False)
    outside: NDArray[np.bool_] | None = field(repr=False)
    spread: Callable[[], NDArray[np.float32] | None] = field(repr=False)
    notes: tuple[str, ...]


def score_scan(scan: Scan, detector: Model, config: RunConfig) -> ScoredScan:
    """The scores of a scan in its own grid, with their context.

    Raises:
        RefusedError: NOTHING_SCORED, no slice shows tissue.
    """
    if isinstance(detector, Ensemble):
        return _score_by_all(scan, detector, config)
    stack = _stack(scan, detector, config)
    if not stack.tissue.any():
        raise RefusedError(ReasonCode.NOTHING_SCORED, nothing_scored(scan, stack))
    scores = _scores(stack, detector, config)
    slices = _slice_scores(stack, scores)
    in_context = _in_context(scan, stack, scores, detector, config)
    # Only lesions are told their spread; without any, a volume less is held.
    return ScoredScan(
        scan,
        stack,
        slices,
        in_context.score,
        in_context.outside,
        lambda: None if scores.spread is None else stack.restore(scores.spread),
        notes_on(stack, scores) + in_context.notes,
    )


def _score_by_all(scan: Scan, ensemble: Ensemble, config: RunConfig) -> ScoredScan:
    """The mean of the members' comparable scores; their spread is the standard deviation over the members."""
    first, notes = None, []
    mean = squares = np.zeros(0, np.float32)
    slices: list[tuple[SliceScore, ...]] = []
    for number, member in enumerate(ensemble.members, start=1):
        word = ensemble.word_of(member, config.class_name)
        scored = score_scan(scan, member, config.model_copy(update={"class_name": word or None}))
        score = comparable_score(scored.score, member.card.normal_scores)
        slices.append(scored.slices)
        if first is None:
            first, notes, mean, squares = scored, list(scored.notes), score, np.zeros_like(score)
            continue
        notes += [note for note in scored.notes if note not in notes]
        step = score - mean
        mean += step / number
        squares += step * (score - mean)
    assert first is not None
    spread = np.sqrt(np.maximum(squares / len(ensemble.members), 0.0))
    notes.append(f"The comparable scores of {ensemble.card.name} were averaged; their spread is that over the weights.")
    return ScoredScan(
        scan, first.stack, _mean_slices(slices, mean, first), mean, first.outside, lambda: spread, tuple(notes)
    )


def _mean_slices(
    slices: Sequence[tuple[SliceScore, ...]], score: NDArray[np.float32], first: ScoredScan
) -> tuple[SliceScore, ...]:
    """The slices of the first member, with the mean of the image scores, and the highest averaged score of each."""
    means = [float(np.mean([one.image_score for one in same])) for same in zip(*slices, strict=True)]
    own = tuple(replace(one, image_score=mean) for one, mean in zip(first.slices, means, strict=True))
    return with_highest(own, score, first.stack.plan.axis)


def with_highest(slices: tuple[SliceScore, ...], score: NDArray[np.float32], slice_axis: int) -> tuple[SliceScore, ...]:
    """The slices along an axis with the highest score of each in a volume (i, j, k)."""
    highest = score.max(axis=tuple(axis for axis in range(3) if axis != slice_axis))
    return tuple(replace(one, max_score=float(highest[one.index])) for one in slices)


def decided(scored: ScoredScan, rule: Rule, config: RunConfig) -> CaseResult:
    """The result that a rule makes of the scores of a scan."""
    scan, stack, score = scored.scan, scored.stack, scored.score
    made = lesions_by_rule(
        rule,
        score,
        scored.spread,
        scan,
        stack.window,
        slice_axis=stack.plan.axis,
        min_volume_mm3=config.min_volume_mm3,
    )
    return CaseResult(
        name=scan.name,
        outcome=Outcome.LESION if made.lesions else Outcome.NO_LESION,
        scan=scan,
        score=score,
        mask=made.mask,
        spread=made.spread,
        lesions=made.lesions,
        slices=scored.slices,
        slice_axis=stack.plan.axis,
        threshold=rule.threshold,
        threshold_provenance=rule.provenance,
        decision=made.taken,
        window=stack.window.record(),
        notes=scan.notes + scored.notes + made.notes,
        warnings=warnings_on(scan, stack, config) + rule.warnings,
    )


def with_modality(scan: Scan, config: RunConfig) -> Scan:
    """The scan with the modality that the user has given, if any, and a note on it."""
    if config.modality is None:
        return scan
    note = f"The modality {config.modality} was given by the user."
    return replace(scan, modality=config.modality, notes=(*scan.notes, note))


def settled(config: RunConfig, detector: Model) -> RunConfig:
    """The configuration with nothing left to the device or the weights that changes a result.

    That is the arithmetic, which decides the last digits, and the context of the weights.
    """
    precision = resolve_precision(config.precision, detector.device)
    return with_context(config, detector).model_copy(update={"precision": precision})


def _stack(scan: Scan, detector: Detector, config: RunConfig) -> SliceStack:
    return stack_slices(
        scan,
        size=detector.spec.image_size,
        axis=config.axis,
        window=config.window,
        resize=config.resize,
    )


def _scores(stack: SliceStack, detector: Detector, config: RunConfig) -> ScoreVolume:
    device = detector.device
    return score_stack(
        detector,
        stack,
        class_name=detector.word(config.class_name),
        noise=SharedNoise(config.seed),
        device=device,
        precision=resolve_precision(config.precision, device),
        batch_size=config.batch_size or batch_that_fits(detector.spec.image_size, device),
        step=config.slice_step,
    )


def _in_context(
    scan: Scan, stack: SliceStack, scores: ScoreVolume, detector: Detector, config: RunConfig
) -> ContextScore:
    def score_plane(plane: Axis) -> ScoredPlane:
        along = config.model_copy(update={"axis": plane})
        other = _stack(scan, detector, along)
        return other, _scores(other, detector, along).score

    context = context_of(config, detector.card)
    return score_in_context(scan, (stack, scores.score), context, score_plane, config.smooth_mm)


def _slice_scores(stack: SliceStack, scores: ScoreVolume) -> tuple[SliceScore, ...]:
    entries = [
        SliceScore(
            index=int(index),
            scored=bool(scores.scored[position]),
            image_score=float(scores.image_score[position]),
            max_score=float(scores.score[position].max()),
        )
        for position, index in enumerate(stack.indices)
    ]
    return tuple(sorted(entries, key=lambda entry: entry.index))
