"""One scan to one result: slices, scores, the scan's own grid, threshold, lesions."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medzsad.config import RunConfig, make_config
from medzsad.errors import ConfigError, RefusedError
from medzsad.methods.base import Detector
from medzsad.methods.load import load_detector as _load_detector
from medzsad.methods.noise import SharedNoise
from medzsad.scan.archive import temporary_unpack_dir
from medzsad.scan.discover import discover
from medzsad.scan.names import shown_name
from medzsad.scan.reader import checked_scan, read_scan
from medzsad.scan.records import ReadLimits, Scan
from medzsad.scoring.device import batch_that_fits, resolve_device, resolve_precision
from medzsad.scoring.engine import ScoreVolume, score_stack, smooth
from medzsad.slices.stack import SliceStack, stack_slices
from medzsad.slices.window import CT_WINDOWS, looks_like_hounsfield
from medzsad.volume.lesions import find_lesions
from medzsad.volume.records import CaseResult, Outcome, SliceScore
from medzsad.volume.threshold import apply_threshold, resolve_threshold

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


def read_limits(config: RunConfig) -> ReadLimits:
    """What reading may cost and tolerate under `config`."""
    return ReadLimits(
        max_voxels=config.max_voxels,
        max_archive_bytes=config.max_archive_bytes,
        min_slices=config.min_slices,
        allow_irregular=config.allow_irregular,
        allow_labels=config.allow_labels,
    )


def detect(scan: Scan | Path | str, *, detector: Detector | None = None, **options: Any) -> CaseResult:
    """The result for one scan: score and mask in its own grid, and the lesions.

    Args:
        scan: A Scan in memory, or the path of one series (a folder or archive) or one file.
        detector: From `load_detector`; loaded from the options if left out.
        **options: Keys of `medzsad.config.RunConfig`, the same as the flags of `medzsad run`.

    Raises:
        ConfigError: An option is unknown or out of range, or the path holds more than one series.
        RefusedError: The scan cannot be scored rightly; its `code` says why.
        WeightsError: The weights are missing or damaged.

    Example:
        >>> result = medzsad.detect("examples/scans/head_with_lesion")  # doctest: +SKIP
        >>> [lesion.centroid_lps_mm for lesion in result.lesions]  # doctest: +SKIP
    """
    config = make_config(options)
    _check_options(options, detector is not None)
    if detector is None:
        detector = load_detector(
            config.weights, clip_weights=config.clip_weights, samples=config.samples, device=config.device
        )
    if isinstance(scan, Scan):
        return detect_scan(checked_scan(scan, scan.name), detector, config)
    with temporary_unpack_dir() as unpack_dir:
        return detect_scan(_only_scan(Path(scan), config, unpack_dir), detector, config)


def _check_options(options: dict[str, Any], has_detector: bool) -> None:
    if options.get("all_frames"):
        raise ConfigError("detect() scores one scan; choose a frame with frame=..., or use `medzsad run --all-frames`.")
    unused = sorted({"weights", "clip_weights", "samples", "device"} & set(options))
    if has_detector and unused:
        raise ConfigError(
            f"The detector is given, so {', '.join(unused)} would do nothing; give them to load_detector."
        )


def _only_scan(path: Path, config: RunConfig, unpack_dir: Path) -> Scan:
    limits = read_limits(config)
    found = discover([path], limits=limits, series=config.series, frame=config.frame, unpack_dir=unpack_dir)
    if len(found) != 1:
        names = ", ".join(candidate.name for candidate in found) or "none"
        raise ConfigError(
            f"{shown_name(path)} holds {len(found)} series or files ({names}). Name one with series=..., "
            "or use `medzsad run`."
        )
    if found[0].code is not None:
        raise RefusedError(found[0].code, found[0].reason)
    return read_scan(found[0], limits)


def detect_scan(scan: Scan, detector: Detector, config: RunConfig) -> CaseResult:
    """The result for a scan in memory under a checked configuration."""
    if config.modality is not None:
        note = f"The modality {config.modality} was given by the user."
        scan = replace(scan, modality=config.modality, notes=(*scan.notes, note))
    # First, so that a run with no usable threshold ends before any time is spent.
    threshold, provenance = resolve_threshold(
        config.threshold, detector.info.threshold, detector.info.threshold_provenance
    )
    stack = _stack(scan, detector, config)
    scores = _scores(stack, detector, config)
    score = stack.restore(smooth(stack, scores.score, config.smooth_mm))
    np.clip(score, 0.0, 1.0, out=score)
    candidate = apply_threshold(score, threshold)
    # Only lesions are told their spread; without any, a volume less is held.
    spread = stack.restore(scores.spread) if scores.spread is not None and candidate.any() else None
    mask, lesions = find_lesions(
        candidate,
        score,
        spread,
        scan,
        slice_axis=stack.plan.axis,
        min_volume_mm3=config.min_volume_mm3,
    )
    return CaseResult(
        name=scan.name,
        outcome=Outcome.LESION if lesions else Outcome.NO_LESION,
        scan=scan,
        score=score,
        mask=mask,
        spread=spread,
        lesions=lesions,
        slices=_slice_scores(stack, scores),
        slice_axis=stack.plan.axis,
        threshold=threshold,
        threshold_provenance=provenance,
        window=stack.window.record(),
        notes=scan.notes + _remarks(scan, stack, scores),
    )


def settled(config: RunConfig, detector: Detector) -> RunConfig:
    """The configuration with `auto` replaced by the arithmetic that it comes to, which decides the last digits."""
    return config.model_copy(update={"precision": resolve_precision(config.precision, _device_of(detector))})


def _stack(scan: Scan, detector: Detector, config: RunConfig) -> SliceStack:
    return stack_slices(
        scan,
        size=detector.spec.image_size,
        axis=config.axis,
        window=config.window,
        resize=config.resize,
    )


def _scores(stack: SliceStack, detector: Detector, config: RunConfig) -> ScoreVolume:
    device = _device_of(detector)
    return score_stack(
        detector,
        stack,
        class_name=config.class_name or detector.info.class_name,
        noise=SharedNoise(config.seed),
        device=device,
        precision=resolve_precision(config.precision, device),
        batch_size=config.batch_size or batch_that_fits(detector.spec.image_size, device),
        step=config.slice_step,
    )


def _device_of(detector: Detector) -> torch.device:
    return next(p.device for p in detector.parameters())


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


def _remarks(scan: Scan, stack: SliceStack, scores: ScoreVolume) -> tuple[str, ...]:
    remarks = []
    if looks_like_hounsfield(scan):
        remarks.append(
            "The values look like Hounsfield units but the file names no modality; percentiles were used. "
            "Give --modality CT for a CT window."
        )
    if stack.window.name in CT_WINDOWS and scan.modality != "CT":
        remarks.append(
            f"The CT window {stack.window.name} was applied to modality '{scan.modality or 'unknown'}', whose values "
            "are not Hounsfield units."
        )
    if scan.modality == "CT" and float(scan.voxels.min()) > -200.0:
        remarks.append(
            f"A CT without any value below -200 HU (smallest {scan.voxels.min():.0f}) may lack its rescale intercept."
        )
    if not stack.tissue.any():
        remarks.append("No slice holds tissue under the chosen window; nothing was scored.")
    between = int((stack.tissue & ~scores.scored).sum())
    if between:
        remarks.append(
            f"{between} of {int(stack.tissue.sum())} slices with tissue were not scored but interpolated between their "
            "neighbours."
        )
    return tuple(remarks)
