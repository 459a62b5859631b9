"""Weights and their tower, made into a detector."""

import dataclasses
import logging
from pathlib import Path

import torch

from medzsad.clip.tower import Tower, tower_from_state
from medzsad.errors import ConfigError, WeightsError
from medzsad.methods.base import Method
from medzsad.methods.detector import Detector
from medzsad.weights.card import WeightsCard
from medzsad.weights.guide import check_guidable, load_guide, tell_of_guide
from medzsad.weights.store import DEFAULT_WEIGHTS, read_weights, resolve_weights, tower_state
from medzsad.weights.tower import load_tower

_log = logging.getLogger(__name__)


def load_detector(
    weights: str | Path = DEFAULT_WEIGHTS,
    *,
    clip_weights: Path | str | None = None,
    guide_weights: Path | str | None = None,
    samples: int | None = None,
    device: torch.device | str = "cpu",
    adapt: bool = False,
) -> Detector:
    """A detector, ready to score, in float32 on `device`.

    Args:
        weights: Name of weights (`medzsad weights list`) or a weights file.
        clip_weights: File or open_clip name of the CLIP tower, for weights that do not bring their own.
        guide_weights: File of DINOv2 ViT-B/14 with registers, which then guides the features ("Crane+"); None for none.
        samples: Prompt samples per image; None takes the number stored with the weights.
        device: Where it runs.
        adapt: Whether prompts adapt to the scan that they score, as those of the PILOT-style method can.

    Raises:
        ConfigError: `samples` is impossible, the weights bring the tower that is named, or they take no guide or
            cannot adapt.
        WeightsError: The weights, the tower or the guide are missing, damaged or do not fit each other.
    """
    found = read_weights(resolve_weights(weights))
    card = found.card
    _check_samples(samples, bool(found.model.draw_shapes(1)), card)
    if guide_weights is not None:
        check_guidable(found.method, card)
    if card.clip_config:
        if clip_weights is not None:
            raise ConfigError(f"The weights {card.name} bring their own CLIP tower; leave out clip_weights.")
        tower = Tower(tower_from_state(card.clip_config, card.spec, tower_state(found)), card.spec)
    else:
        clip, sha256 = load_tower(clip_weights or card.clip_name, card.spec)
        tower = Tower(clip, card.spec)
        check_fit(tower, found.model.tower_widths, card)
        _compare_towers(card, sha256)
        card = card.model_copy(update={"clip_sha256": sha256})
    tell_of_guide(card, guided=guide_weights is not None)
    if guide_weights is not None:
        backbone, sha256 = load_guide(guide_weights, card.spec.image_size)
        tower = dataclasses.replace(tower, backbone=backbone)
        card = card.model_copy(update={"guide_sha256": sha256})
    card = card.model_copy(update={"samples": samples or card.samples})
    if adapt:
        card = _adapting(card, found.method)
    return Detector(tower, found.model, found.method, card).frozen().to(device)


def _adapting(card: WeightsCard, method: Method) -> WeightsCard:
    if "adapt" not in method.options.model_fields:
        raise ConfigError(
            f"The weights {card.name} are of the method {method.title}, which cannot adapt; leave out adapt."
        )
    return card.model_copy(update={"options": {**card.options, "adapt": True}})


def _check_samples(samples: int | None, sampled: bool, card: WeightsCard) -> None:
    if samples is not None and samples < 1:
        raise ConfigError(f"At least one prompt sample is needed, got {samples}.")
    if samples is not None and not sampled:
        raise ConfigError(f"The weights {card.name} are of a method that samples no prompts; leave out samples.")


def check_fit(tower: Tower, needed: tuple[int | None, int | None, int | None], card: WeightsCard) -> None:
    """Raises a WeightsError if a tower does not have the widths (joint, text, patch tokens) that weights need."""
    if not tower.fits(needed):
        raise WeightsError(
            f"The weights {card.name} need the CLIP tower {card.clip_name} (joint, text and patch width {needed}), "
            f"the given tower has {tower.widths}. Name the right file with --clip-weights."
        )


def _compare_towers(card: WeightsCard, sha256: str) -> None:
    if card.clip_sha256 and sha256 != card.clip_sha256:
        _log.warning(
            "The CLIP tower has sha256 %s; %s was made with %s. Scores are as published only if the numbers are the "
            "same.",
            sha256[:12],
            card.name,
            card.clip_sha256[:12],
        )
