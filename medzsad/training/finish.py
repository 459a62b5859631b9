"""The end of a training: the threshold is chosen, and the weights file written."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medzsad.methods.base import PromptModel
from medzsad.methods.detector import Detector
from medzsad.slices.transforms import clip_normalize
from medzsad.training.calibrate import calibrate
from medzsad.training.features import FeatureSource
from medzsad.training.prepare import Prepared
from medzsad.training.provenance import finished_card
from medzsad.weights.card import WeightsCard
from medzsad.weights.store import save_weights

WEIGHTS_FILE = "weights.safetensors"
_BATCH = 8


def write_weights(
    prepared: Prepared, model: PromptModel, card: WeightsCard, history: Sequence[Mapping[str, Any]], path: Path
) -> None:
    """Writes the model, which is frozen, with its threshold.

    Args:
        prepared: Its tower and data.
        model: On the device.
        card: With the options of the model.
        history: One record per epoch.
        path: The weights file.

    Raises:
        ConfigError: There is no normal image to choose the threshold on.
        ScoringError: The model returned non-finite scores.
    """
    config, tower = prepared.config, prepared.tower
    model.eval().requires_grad_(False)
    # Scores are calibrated in float32, the reference.
    detector = Detector(dataclasses.replace(tower, arithmetic=nullcontext), model, prepared.method, card).eval()
    # Test images of another benchmark choose no threshold.
    sound = () if config.legacy_validation else _sound(prepared.held)
    found = calibrate(
        detector, sound, false_pixels=config.false_pixels, phantoms=config.phantoms, class_name=config.class_name
    )
    save_weights(path, model, finished_card(card, history, found), tower.clip if prepared.model_config else None)


def _sound(source: FeatureSource) -> Iterator[tuple[Tensor, Sequence[str]]]:
    places = [place for place, record in enumerate(source.records) if not record.label]
    for start in range(0, len(places), _BATCH):
        chosen = places[start : start + _BATCH]
        images = torch.stack([clip_normalize(source.picture(place)[0] / 255) for place in chosen])
        yield images, [source.records[place].class_name for place in chosen]
