"""One scan to one result: slices, scores, the scan's own grid, threshold, lesions."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medzsad.config import Axis, RunConfig
from medzsad.context.score import ContextScore, ScoredPlane, score_in_context
from medzsad.context.settings import context_of, with_context
from medzsad.errors import ReasonCode, RefusedError
from medzsad.methods.detector import Detector
from medzsad.methods.noise import SharedNoise
from medzsad.run.rule import lesions_by_rule, rule_for
from medzsad.scan.records import Scan
from medzsad.scoring.device import batch_that_fits, resolve_device, resolve_precision
from medzsad.scoring.engine import ScoreVolume, score_stack
from medzsad.slices.stack import MIN_TISSUE_FRACTION, SliceStack, stack_slices
from medzsad.slices.window import CT_WINDOWS, looks_like_hounsfield
from medzsad.volume.decision import Rule
from medzsad.volume.records import CaseResult, Outcome, SliceScore
from medzsad.weights.load import load_detector as _load_detector

_log = logging.getLogger(__name__)


def load_detector(
    weights: str | Path = "medzsad-mini",
    *,
    clip_weights: Path | str | None = None,
    samples: int | None = None,
    device: str = "auto",
) -> Detector:
    """A detector ready to score, for `detect`.

    Args:
        weights: Name of installed weights (`medzsad weights list`) or path of a weights file.
        clip_weights: File with the CLIP tower, for weights that do not bring their own.
        samples: Prompt samples per slice; None takes the number stored with the weights.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        WeightsError: The weights are missing, damaged or do not fit the tower.
        ConfigError: The device is unknown.
    """
    return _load_detector(weights, clip_weights=clip_weights, samples=samples, device=resolve_device(device))


def detect_scan(scan: Scan, detector: Detector, config: RunConfig) -> CaseResult:
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


def score_scan(scan: Scan, detector: Detector, config: RunConfig) -> ScoredScan:
    """The scores of a scan in its own grid, with their context.

    Raises:
        RefusedError: NOTHING_SCORED, no slice shows tissue.
    """
    stack = _stack(scan, detector, config)
    if not stack.tissue.any():
        raise RefusedError(ReasonCode.NOTHING_SCORED, _nothing_scored(scan, stack))
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
        _notes(stack, scores) + in_context.notes,
    )


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
        warnings=_warnings(scan, stack, config) + rule.warnings,
    )


def with_modality(scan: Scan, config: RunConfig) -> Scan:
    """The scan with the modality that the user has given, if any, and a note on it."""
    if config.modality is None:
        return scan
    note = f"The modality {config.modality} was given by the user."
    return replace(scan, modality=config.modality, notes=(*scan.notes, note))


def settled(config: RunConfig, detector: Detector) -> RunConfig:
    """The configuration with nothing left to the device or the weights that changes a result.

    That is the arithmetic, which decides the last digits, and the context of the weights.
    """
    precision = resolve_precision(config.precision, detector.device)
    return with_context(config, detector.card).model_copy(update={"precision": precision})


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


def _nothing_scored(scan: Scan, stack: SliceStack) -> str:
    low, high = float(scan.voxels.min()), float(scan.voxels.max())
    found = f"No slice of {scan.name} could be scored: "
    if scan.missing_slices and len(scan.missing_slices) == len(stack):
        return f"{found}no slice was acquired. Check the series."
    level = stack.window.tissue_level
    if scan.modality == "CT" and high <= level:
        return (
            f"{found}its values lie between {low:.0f} and {high:.0f} HU, and tissue is expected above {level:.0f} HU. "
            "They are probably not Hounsfield units: check the rescale intercept, or score the values as they are with "
            "--window percentiles."
        )
    return (
        f"{found}less than {MIN_TISSUE_FRACTION:.1%} of each lies above {level:.4g}, the value from which on it counts "
        f"as tissue (values: {low:.4g} to {high:.4g}). Check the scan, and its modality with --modality."
    )


def _notes(stack: SliceStack, scores: ScoreVolume) -> tuple[str, ...]:
    between = int((stack.tissue & ~scores.scored).sum())
    if not between:
        return ()
    return (
        f"{between} of {int(stack.tissue.sum())} slices with tissue were not scored but interpolated between their "
        "neighbors.",
    )


def _warnings(scan: Scan, stack: SliceStack, config: RunConfig) -> tuple[str, ...]:
    """What may make the scores meaningless, and what to do about it."""
    found = []
    if looks_like_hounsfield(scan):
        found.append(
            "The values look like Hounsfield units but the file names no modality; percentiles were used. "
            "Give --modality CT for a CT window."
        )
    if stack.window.name in CT_WINDOWS and scan.modality != "CT":
        found.append(
            f"The CT window {stack.window.name} was applied to modality '{scan.modality or 'unknown'}', whose values "
            "are not Hounsfield units. Leave --window out, or give --modality CT if it is a CT."
        )
    if scan.modality == "CT" and float(scan.voxels.min()) > -200.0:
        found.append(
            f"A CT without any value below -200 HU (smallest {scan.voxels.min():.0f}) may lack its rescale intercept. "
            "Check that air is near -1000."
        )
    if not scan.has_physical_space and (config.min_volume_mm3 or config.smooth_mm):
        found.append("The scan has no measured pixel size, so --min-volume-mm3 and --smooth-mm counted its pixels.")
    return tuple(found)
