"""How the scores of a case become lesions: by the decision of the weights, a site's calibration, or a threshold."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzsad.config import RunConfig, Sensitivity
from medzsad.context.settings import with_context
from medzsad.errors import ConfigError
from medzsad.methods.ensemble import Model
from medzsad.run.key import score_options
from medzsad.run.site_file import Kind, SiteCalibration, read_site
from medzsad.scan.records import Scan
from medzsad.scoring.device import resolve_precision
from medzsad.slices.window import Window
from medzsad.volume.candidates import Gray, is_picture, measure_candidates
from medzsad.volume.cutoffs import share_at_least
from medzsad.volume.decision import Rule, decide, healthy_share, told_by_evidence, told_by_score
from medzsad.volume.lesions import find_lesions
from medzsad.volume.records import DecisionTaken, Lesion
from medzsad.volume.threshold import apply_threshold, resolve_threshold
from medzsad.weights.card import DecisionCard

DEFAULT_SENSITIVITY: Sensitivity = "balanced"


def rule_for(scan: Scan, detector: Model, config: RunConfig) -> Rule:
    """How the components of the scan's score become lesions.

    Raises:
        ConfigError: There is no threshold, or the options do not fit the weights or the calibration.
    """
    site = checked_site(detector, config)
    card, kind = decision_for(scan, detector), kind_of(scan)
    level = config.sensitivity or DEFAULT_SENSITIVITY
    if site is not None and site.kind != kind:
        # The same file serves a folder of volumes and pictures; half of it must not end the run.
        rule = _rule_of_weights(card, kind, level, detector, config)
        doubt = (
            f"The calibration is of {site.kind} and says nothing about {kind}, so the weights alone decided here. "
            f"Calibrate {kind} by themselves."
        )
        return replace(rule, warnings=(*rule.warnings, doubt))
    if site is None:
        return _rule_of_weights(card, kind, level, detector, config)
    return _rule_of_site(site, card, level)


def checked_site(detector: Model, config: RunConfig) -> SiteCalibration | None:
    """The calibration that the options name; None if they name none.

    Raises:
        ConfigError: It cannot be read or is of other weights or options; or a sensitivity is asked for where nothing
            decides per lesion.
    """
    if config.calibration is None:
        if config.sensitivity is not None and detector.card.decision is None:
            raise ConfigError(
                f"The weights {detector.card.name} hold no decision, so sensitivity = {config.sensitivity} would do "
                "nothing. Leave it out, set --threshold, or calibrate with normal scans of your own: `medzsad "
                "calibrate HEALTHY_SCANS -o site.json`, then `medzsad run --calibration site.json`."
            )
        return None
    site = read_site(Path(config.calibration))
    card = detector.card
    if site.weights != (card.sha256, card.clip_sha256, card.guide_sha256):
        raise ConfigError(
            f"The calibration {config.calibration} was made with other weights (sha256 {site.weights_sha256[:12]}) "
            f"than {card.name} (sha256 {card.sha256[:12]}), or with another tower or guide. Calibrate again with these."
        )
    here = comparable_options(detector, config)
    if different := [key for key in sorted({*here, *site.options}) if here.get(key) != site.options.get(key)]:
        told = "; ".join(f"{key} was {site.options.get(key)} and is {here.get(key)}" for key in different)
        raise ConfigError(
            f"The calibration {config.calibration} was made with other options that change scores: {told}. Run with "
            "the same options, or calibrate again with these."
        )
    return site


def comparable_options(detector: Model, config: RunConfig) -> dict[str, Any]:
    """The options that change scores, with what the weights and the device settle."""
    settled = {
        "class_name": detector.word(config.class_name),
        "samples": detector.card.samples,
        "precision": resolve_precision(config.precision, detector.device),
    }
    return score_options(with_context(config, detector)) | settled


def kind_of(scan: Scan) -> Kind:
    """Whether a scan is decided as a volume or as a picture."""
    return "pictures" if is_picture(scan) else "volumes"


def decision_for(scan: Scan, detector: Model) -> DecisionCard | None:
    """The part of the weights' decision for scans of this kind; None where there is none."""
    decisions = detector.card.decision
    if decisions is None:
        return None
    return decisions.pictures if is_picture(scan) else decisions.volumes


def _rule_of_weights(
    card: DecisionCard | None, kind: Kind, level: Sensitivity, detector: Model, config: RunConfig
) -> Rule:
    if card is None or config.threshold is not None:
        stored = detector.card
        threshold, provenance = resolve_threshold(config.threshold, stored.threshold, stored.threshold_provenance)
        missing = f"The weights hold no decision for {kind}, so every component that reaches the threshold is a lesion."
        tell = config.threshold is None and stored.decision is not None
        return Rule(threshold, provenance, notes=(missing,) if tell else ())
    chosen = card.levels[level]
    taken = DecisionTaken(level, "weights", "evidence", chosen.evidence, card.healthy_scans, chosen.share)
    return Rule(
        card.voxel_threshold, card.provenance, taken, card, share_of=lambda evidence: healthy_share(evidence, card)
    )


def _rule_of_site(site: SiteCalibration, card: DecisionCard | None, level: Sensitivity) -> Rule:
    chosen = site.levels[level]
    taken = DecisionTaken(level, "site", site.unit, chosen.cutoff, site.count, chosen.share)
    doubts = (site.warning,) if site.warning else ()
    highest = site.all_highest()

    def share_of(value: float) -> float:
        return share_at_least(highest, value)

    if site.unit == "evidence":
        assert card is not None  # the weights are those of the calibration
        return Rule(card.voxel_threshold, card.provenance, taken, card, share_of, warnings=doubts)
    scans = "1 normal scan" if site.count == 1 else f"{site.count} normal scans"
    provenance = f"chosen on {scans} of the site's own; {chosen.share:.0%} of them reach it"
    threshold = 0.0 if chosen.cutoff is None else chosen.cutoff
    return Rule(threshold, provenance, taken, share_of=share_of, warnings=doubts)


@dataclass(frozen=True, slots=True)
class MadeLesions:
    """What a rule makes of a score.

    Attributes:
        mask: (i, j, k) uint8, 1 inside lesions.
        lesions: By falling size.
        spread: (i, j, k), None where there is none or nothing to tell it of.
        taken: How candidates became lesions.
        notes: What the report is to say.
    """

    mask: NDArray[np.uint8]
    lesions: tuple[Lesion, ...]
    spread: NDArray[np.float32] | None
    taken: DecisionTaken | None
    notes: tuple[str, ...]


def lesions_by_rule(
    rule: Rule,
    score: NDArray[np.float32],
    spread: Callable[[], NDArray[np.float32] | None],
    scan: Scan,
    window: Window,
    *,
    slice_axis: int,
    min_volume_mm3: float = 0.0,
) -> MadeLesions:
    """The mask and the lesions that a rule makes of a score.

    Args:
        rule: From `rule_for`.
        score: (i, j, k) in [0, 1] in the scan's grid.
        spread: Gives (i, j, k) standard deviations over prompt samples, or None; called where something is left only.
        scan: That was scored.
        window: That was applied.
        slice_axis: Array axis (0, 1, 2) along which the scan was sliced.
        min_volume_mm3: See `find_lesions`.
    """
    reached, taken, notes, evidence = apply_threshold(score, rule.threshold), rule.taken, rule.notes, None
    if rule.card is not None and taken is not None:
        gray = Gray.of(scan, window.record())
        spacing = None if is_picture(scan) else scan.spacing_mm
        candidates = measure_candidates(reached, score, gray, spacing_mm=spacing, slice_axis=slice_axis)
        decided = decide(reached, candidates, rule.card, taken)
        reached, taken, evidence, notes = decided.reached, decided.taken, decided.evidence, notes + decided.notes
    found = spread() if reached.any() else None
    mask, lesions = find_lesions(reached, score, found, scan, slice_axis, min_volume_mm3)
    lesions = told_by_score(lesions, rule) if evidence is None else told_by_evidence(lesions, evidence, rule)
    return MadeLesions(mask, lesions, found, taken, notes)
