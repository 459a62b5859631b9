"""First phase of medzsad-mini: the tower learns to tell lesions from tissue, in images and in words."""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from medzsad.methods.losses import contrast_loss, dice_loss, focal_loss, label_loss
from medzsad.metrics.ranking import array_ranking
from medzsad.training.randomness import generator_for
from medzsad.training.state import load_checkpoint, save_checkpoint
from recipes.medzsad_mini.auxiliary import AuxiliarySet
from recipes.medzsad_mini.batches import Batch, auxiliary_batch, draw_batch
from recipes.medzsad_mini.captions import Vocabulary
from recipes.medzsad_mini.config import MiniConfig
from recipes.medzsad_mini.model import MODEL_CONFIG, SPEC, arithmetic, build_clip
from recipes.medzsad_mini.optimization import make_optimizers, set_rates, train_step
from recipes.medzsad_mini.states import prompted_states, spoken_states, text_features
from recipes.medzsad_mini.teacher import read_stem, teacher_file

_log = logging.getLogger(__name__)

# Masks and maps are compared at this fraction of the image size: finer than patches, cheap.
_REDUCTION = 2
# First numbers of random streams that must not meet.
_TRAINING, _MEASURING = 1, 2
_REPORT_EVERY = 50
_FROZEN_STAGES = 2


class Alignment(nn.Module):
    """The tower and the temperatures of its maps and of its image logits."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.clip: open_clip.CLIP = build_clip(vocabulary_size)
        nn.init.normal_(self.clip.visual.to_joint, std=0.02)
        self.pixel_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.image_scale = nn.Parameter(torch.tensor(math.log(5.0)))

    def maps(self, patches: list[Tensor], states: Tensor, size: int) -> list[Tensor]:
        """(b, 2, size, size) probabilities of normal and abnormal per layer, from states (b, 2, D)."""
        result = []
        direction = _direction(states)
        for projection, tokens in zip(self.clip.visual.to_joint, patches, strict=True):
            features = normalize(tokens @ projection, dim=-1)
            margins = self.pixel_scale.exp() * torch.einsum("bnd,bd->bn", features, direction)
            grid = math.isqrt(tokens.shape[1])
            margins = margins.reshape(len(tokens), 1, grid, grid)
            abnormal = interpolate(margins, size=(size, size), mode="bilinear", align_corners=True).sigmoid()
            result.append(torch.cat((1 - abnormal, abnormal), dim=1))
        return result

    def label_logits(self, cls: Tensor, states: Tensor) -> Tensor:
        """(b, 2) logits of normal and abnormal images."""
        margin = self.image_scale.exp() * (normalize(cls, dim=-1) * _direction(states)).sum(dim=-1)
        return torch.stack((torch.zeros_like(margin), margin), dim=1)


def _direction(states: Tensor) -> Tensor:
    """(b, D) unit vectors from normal to abnormal.

    The two texts come to lie close together while the tower is still unsure; what they say lies in their difference.
    """
    unit = normalize(states, dim=-1)
    return normalize(unit[:, 1] - unit[:, 0], dim=-1)


def align(
    config: MiniConfig, vocabulary: Vocabulary, train: AuxiliarySet, held_out: AuxiliarySet, out: Path
) -> Alignment:
    """The tower after the first phase: a running average of its weights. Goes on from a checkpoint in `out`."""
    model, shadow = _start(config, vocabulary, train)
    optimizers = make_optimizers(model, config)
    checkpoint = out / "alignment.pt"
    first = _resume(checkpoint, model, shadow, optimizers)
    started = time.monotonic()
    for step in range(first, config.steps):
        stage = config.stage_at(step)
        set_rates(optimizers, config, step)
        source = generator_for(config.seed, _TRAINING, step)
        batch = draw_batch(
            source,
            train,
            generated=stage.generated,
            industrial=stage.industrial,
            size=stage.size,
            anatomies=config.anatomies,
        )
        losses = _losses(model, batch, vocabulary, source, config)
        train_step(model, shadow, optimizers, losses["total"], config, step)
        done = step + 1
        if done % _REPORT_EVERY == 0:
            parts = " ".join(f"{name} {float(value.detach()):.3f}" for name, value in losses.items())
            pace = (done - first) / (time.monotonic() - started)
            _log.info("step %d of %d, %.2f a second, size %d: %s", done, config.steps, pace, stage.size, parts)
        if done % config.validate_every == 0:
            _report(shadow, vocabulary, held_out, stage.size, config.anatomies)
        if done % config.save_every == 0 or done == config.steps:
            _save(checkpoint, model, shadow, optimizers, done)
    return shadow.eval()


def _start(config: MiniConfig, vocabulary: Vocabulary, train: AuxiliarySet) -> tuple[Alignment, Alignment]:
    torch.manual_seed(config.seed)
    model, shadow = Alignment(len(vocabulary.ids)), Alignment(len(vocabulary.ids))
    if config.teacher:
        stem = read_stem(teacher_file()).to(memory_format=torch.channels_last)
        model.clip.visual.stem = stem
        # What edges and textures look like is known from photographs.
        for part in (stem.conv_stem, *stem.stages[:_FROZEN_STAGES]):
            part.requires_grad_(False)
    shadow.load_state_dict(model.state_dict())
    return model, shadow.requires_grad_(False)


def _losses(
    model: Alignment, batch: Batch, vocabulary: Vocabulary, source: torch.Generator, config: MiniConfig
) -> dict[str, Tensor]:
    size = batch.images.shape[-1] // _REDUCTION
    masks = (interpolate(batch.masks[:, None], size=(size, size), mode="area")[:, 0] > 0.5).float()
    with arithmetic(config.precision):
        cls, patches = model.clip.visual.features(batch.images, SPEC.layers)
    # From here on in float32: differences between close texts would drown in bfloat16's rounding.
    cls, patches = cls.float(), [tokens.float() for tokens in patches]
    states = _mixed_states(model.clip, batch.names, vocabulary, source)
    maps = model.maps(patches, states, size)
    label = label_loss(model.label_logits(cls, states), batch.labels)
    captions = text_features(model.clip, vocabulary, list(batch.captions))
    unit = normalize(states, dim=-1)
    losses = {
        "focal": torch.stack([focal_loss(p, masks) for p in maps]).sum(),
        "dice": torch.stack([dice_loss(p[:, 1], masks) for p in maps]).sum(),
        "label": config.label_weight * label,
        "caption": config.caption_weight
        * contrast_loss(cls[: len(batch.captions)], captions, model.clip.logit_scale.exp().clamp(max=50)),
        "separation": config.separation_weight * (unit[:, 0] * unit[:, 1]).sum(dim=-1).relu().mean(),
    }
    return {**losses, "total": torch.stack(list(losses.values())).sum()}


def _mixed_states(
    clip: open_clip.CLIP, names: tuple[str, ...], vocabulary: Vocabulary, source: torch.Generator
) -> Tensor:
    """(b, 2, D) states: every other image is compared with a sentence, the others with prompts as Bayes-PFL makes."""
    states = torch.zeros(len(names), 2, MODEL_CONFIG["embed_dim"])
    states[::2] = spoken_states(clip, names[::2], vocabulary, source)
    states[1::2] = prompted_states(clip, names[1::2], vocabulary, source)
    return states


def _report(model: Alignment, vocabulary: Vocabulary, held_out: AuxiliarySet, size: int, anatomies: int) -> None:
    for name, batches in (("generated", _fresh(held_out, size, anatomies)), ("auxiliary", _kept(held_out, size))):
        quality = measure(model, vocabulary, batches)
        _log.info("held-out %s: pixel AP %.3f, image AUROC %.3f", name, quality.pixel_ap, quality.image_auroc)


def _fresh(held_out: AuxiliarySet, size: int, anatomies: int) -> Iterator[Batch]:
    for index in range(8):
        source = generator_for(0, _MEASURING, index)
        yield draw_batch(source, held_out, generated=16, industrial=0, size=size, anatomies=anatomies)


def _kept(held_out: AuxiliarySet, size: int) -> Iterator[Batch]:
    for first in range(0, len(held_out.names), 16):
        yield auxiliary_batch(held_out, first, 16, size)


@dataclass(frozen=True, slots=True)
class Quality:
    """Metrics of one set of images.

    Attributes:
        pixel_ap: Average precision of the pixels' scores.
        image_auroc: Area under the ROC curve of the images' scores; NaN if all have the same label.
    """

    pixel_ap: float
    image_auroc: float


@torch.no_grad()
def measure(model: Alignment, vocabulary: Vocabulary, batches: Iterator[Batch]) -> Quality:
    """Quality of the mean map over the layers, and of the image logits."""
    maps, masks, scores, labels = [], [], [], []
    for batch in batches:
        size = batch.images.shape[-1] // _REDUCTION
        with arithmetic("auto"):
            cls, patches = model.clip.visual.features(batch.images, SPEC.layers)
        states = spoken_states(model.clip, batch.names, vocabulary, None)
        found = torch.stack(model.maps([tokens.float() for tokens in patches], states, size)).mean(dim=0)[:, 1]
        logits = model.label_logits(cls.float(), states)
        maps.append(found.numpy())
        masks.append(interpolate(batch.masks[:, None], size=(size, size), mode="area")[:, 0].numpy() > 0.5)
        scores.append((logits[:, 1] - logits[:, 0]).numpy())
        labels.append(batch.labels.numpy() > 0)
    return Quality(
        array_ranking(np.concatenate(maps), np.concatenate(masks)).average_precision,
        array_ranking(np.concatenate(scores), np.concatenate(labels)).auroc,
    )


def _save(path: Path, model: Alignment, shadow: Alignment, optimizers: list[torch.optim.Optimizer], step: int) -> None:
    state: dict[str, Any] = {
        "model": model.state_dict(),
        "shadow": shadow.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "step": step,
    }
    save_checkpoint(path, state)


def _resume(path: Path, model: Alignment, shadow: Alignment, optimizers: list[torch.optim.Optimizer]) -> int:
    """The step to go on with."""
    state = load_checkpoint(path)
    if state is None:
        return 0
    model.load_state_dict(state["model"])
    shadow.load_state_dict(state["shadow"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    _log.info("going on at step %d", state["step"])
    return int(state["step"])
