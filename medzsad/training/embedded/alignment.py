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

from medzsad.training.checkpoints import load_checkpoint, save_checkpoint
from medzsad.training.embedded.auxiliary import AuxiliarySet
from medzsad.training.embedded.batches import Batch, auxiliary_batch, draw_batch
from medzsad.training.embedded.captions import ABNORMAL_STATES, NORMAL_STATES, Vocabulary, pick
from medzsad.training.embedded.config import MiniConfig
from medzsad.training.embedded.model import FEATURE_LAYERS, MODEL_CONFIG, build_clip, text_features, vision_features
from medzsad.training.losses import contrast_loss, dice_loss, focal_loss, label_loss
from medzsad.training.validation import Quality, auroc, average_precision

_log = logging.getLogger(__name__)

# Masks and maps are compared at this fraction of the image size: finer than patches, cheap.
_REDUCTION = 3
_SCALE_RATE = 1e-2


class Alignment(nn.Module):
    """The tower with one linear map per feature layer into the joint space, and its temperatures."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.clip: open_clip.CLIP = build_clip(vocabulary_size)
        width, joint = MODEL_CONFIG["vision_cfg"]["width"], MODEL_CONFIG["embed_dim"]
        linears = [nn.Linear(width, joint, bias=False) for _ in FEATURE_LAYERS]
        for linear in linears:
            nn.init.normal_(linear.weight, std=0.02)
        self.to_joint = nn.ModuleList(linears)
        self.pixel_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.image_scale = nn.Parameter(torch.tensor(math.log(5.0)))

    def maps(self, patches: list[Tensor], states: Tensor, size: int) -> list[Tensor]:
        """(b, 2, size, size) probabilities of normal and abnormal per layer, from states (b, 2, D)."""
        result = []
        direction = _direction(states)
        for linear, tokens in zip(self.to_joint, patches, strict=True):
            features = normalize(linear(tokens), dim=-1)
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
    return normalize(states[:, 1] - states[:, 0], dim=-1)


@dataclass(slots=True)
class _Progress:
    step: int = 0
    seconds: float = 0.0
    images: int = 0
    validated: float = 0.0


def align(
    config: MiniConfig, vocabulary: Vocabulary, train: AuxiliarySet, held_out: AuxiliarySet, out: Path
) -> Alignment:
    """The tower after the first phase: a running average of its weights. Goes on from a checkpoint in `out`."""
    torch.manual_seed(config.seed)
    source = torch.Generator().manual_seed(config.seed)
    model = Alignment(len(vocabulary.ids))
    shadow = Alignment(len(vocabulary.ids))
    shadow.load_state_dict(model.state_dict())
    optimizers = _optimizers(model, config)
    progress = _Progress()
    checkpoint = out / "alignment.pt"
    _resume(checkpoint, model, shadow, optimizers, source, progress)
    budget = config.alignment_minutes * 60
    saved = progress.seconds
    while progress.seconds < budget:
        started = time.monotonic()
        stage = next(s for s in config.stages if progress.seconds < budget * s.until)
        _set_rates(optimizers, config, progress.seconds / budget)
        batch = draw_batch(source, train, generated=stage.generated, industrial=stage.industrial, size=stage.size)
        drawn = time.monotonic()
        losses = _losses(model, batch, vocabulary, source, config)
        _step(model, shadow, optimizers, losses["total"], config, progress.step)
        progress.step += 1
        progress.images += len(batch.labels)
        progress.seconds += time.monotonic() - started
        if progress.step % 50 == 0:
            parts = " ".join(f"{name} {float(value.detach()):.3f}" for name, value in losses.items())
            _log.info(
                "step %d, %.0f s, %d images, size %d, drawing %.0f %%: %s", progress.step, progress.seconds,
                progress.images, stage.size, 100 * (drawn - started) / (time.monotonic() - started), parts,
            )  # fmt: skip
        if progress.seconds - progress.validated > config.validate_every:
            progress.validated = progress.seconds
            _report(shadow, vocabulary, held_out, stage.size)
        if progress.seconds - saved > config.save_every:
            saved = progress.seconds
            _save(checkpoint, model, shadow, optimizers, source, progress)
    _save(checkpoint, model, shadow, optimizers, source, progress)
    return shadow.eval()


def _losses(
    model: Alignment, batch: Batch, vocabulary: Vocabulary, source: torch.Generator, config: MiniConfig
) -> dict[str, Tensor]:
    size = batch.images.shape[-1] // _REDUCTION
    masks = (interpolate(batch.masks[:, None], size=(size, size), mode="area")[:, 0] > 0.5).float()
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
        cls, patches = vision_features(model.clip, batch.images)
    # From here on in float32: differences between close texts would drown in bfloat16's rounding.
    cls, patches = cls.float(), [tokens.float() for tokens in patches]
    states = state_features(model.clip, batch.names, vocabulary, source)
    maps = model.maps(patches, states, size)
    label = label_loss(model.label_logits(cls, states), batch.labels)
    rows, ends = vocabulary.compact(list(batch.captions))
    captions = text_features(model.clip, rows, ends)
    generated = cls[: len(batch.captions)]
    losses = {
        "focal": sum((focal_loss(p, masks) for p in maps), torch.zeros(())),
        "dice": sum((dice_loss(p[:, 1], masks) for p in maps), torch.zeros(())),
        "label": label,
        "caption": contrast_loss(generated, captions, model.clip.logit_scale.exp().clamp(max=50)),
    }
    total = losses["focal"] + losses["dice"] + config.label_weight * label + config.caption_weight * losses["caption"]
    return {**losses, "total": total}


def state_features(
    clip: open_clip.CLIP, names: tuple[str, ...], vocabulary: Vocabulary, source: torch.Generator | None
) -> Tensor:
    """(b, 2, D) features of a normal and an abnormal state of each name; the first words without a source."""
    pairs = [
        (NORMAL_STATES[0], ABNORMAL_STATES[0])
        if source is None
        else (pick(NORMAL_STATES, source), pick(ABNORMAL_STATES, source))
        for _ in names
    ]
    texts = [f"{state} {name}" for pair, name in zip(pairs, names, strict=True) for state in pair]
    rows, ends = vocabulary.compact(texts)
    return text_features(clip, rows, ends).reshape(len(names), 2, -1)


def _optimizers(model: Alignment, config: MiniConfig) -> list[torch.optim.Optimizer]:
    blocks = [p for name, p in model.named_parameters() if name.startswith("clip.visual.transformer.") and p.ndim == 2]
    matrices = {id(p) for p in blocks}
    scales = [p for name, p in model.named_parameters() if name.endswith("_scale")]
    apart = matrices | {id(p) for p in scales}
    others = [p for p in model.parameters() if id(p) not in apart]
    first: torch.optim.Optimizer
    if config.muon:
        first = torch.optim.Muon(
            blocks, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
    else:
        first = torch.optim.AdamW(blocks, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98))
    second = torch.optim.AdamW(others, lr=config.other_learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
    # Temperatures at the rate that METHODS A.5 gives them.
    third = torch.optim.Adam(scales, lr=_SCALE_RATE)
    return [first, second, third]


def _set_rates(optimizers: list[torch.optim.Optimizer], config: MiniConfig, done: float) -> None:
    warm = min(1.0, done / config.warm_up + 0.01)
    share = warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
    rates = (config.learning_rate, config.other_learning_rate, _SCALE_RATE)
    for optimizer, rate in zip(optimizers, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * share


def _step(
    model: Alignment,
    shadow: Alignment,
    optimizers: list[torch.optim.Optimizer],
    loss: Tensor,
    config: MiniConfig,
    step: int,
) -> None:
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), config.clip_gradient)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    decay = min(config.average, (step + 1) / (step + 10))
    with torch.no_grad():
        torch._foreach_lerp_(list(shadow.parameters()), list(model.parameters()), 1 - decay)


def _report(model: Alignment, vocabulary: Vocabulary, held_out: AuxiliarySet, size: int) -> None:
    for name, batches in (("generated", _fresh(held_out, size)), ("auxiliary", _kept(held_out, size))):
        quality = measure(model, vocabulary, batches)
        _log.info("held-out %s: pixel AP %.3f, image AUROC %.3f", name, quality.pixel_ap, quality.image_auroc)


def _fresh(held_out: AuxiliarySet, size: int) -> Iterator[Batch]:
    source = torch.Generator().manual_seed(2**40)
    for _ in range(8):
        yield draw_batch(source, held_out, generated=16, industrial=0, size=size)


def _kept(held_out: AuxiliarySet, size: int) -> Iterator[Batch]:
    for first in range(0, len(held_out.names), 16):
        yield auxiliary_batch(held_out, first, 16, size)


@torch.no_grad()
def measure(model: Alignment, vocabulary: Vocabulary, batches: Iterator[Batch]) -> Quality:
    """Quality of the mean map over the layers, and of the image logits."""
    maps, masks, scores, labels = [], [], [], []
    model.eval()
    for batch in batches:
        size = batch.images.shape[-1] // _REDUCTION
        with torch.autocast("cpu", torch.bfloat16):
            cls, patches = vision_features(model.clip, batch.images)
        states = state_features(model.clip, batch.names, vocabulary, None)
        found = torch.stack(model.maps([tokens.float() for tokens in patches], states, size)).mean(dim=0)[:, 1]
        logits = model.label_logits(cls.float(), states)
        maps.append(found.numpy())
        masks.append(interpolate(batch.masks[:, None], size=(size, size), mode="area")[:, 0].numpy() > 0.5)
        scores.append((logits[:, 1] - logits[:, 0]).numpy())
        labels.append(batch.labels.numpy() > 0)
    return Quality(
        average_precision(np.concatenate(maps), np.concatenate(masks)),
        auroc(np.concatenate(scores), np.concatenate(labels)),
    )


def _save(
    path: Path, model: Alignment, shadow: Alignment, optimizers: list[torch.optim.Optimizer],
    source: torch.Generator, progress: _Progress,
) -> None:  # fmt: skip
    state: dict[str, Any] = {
        "model": model.state_dict(),
        "shadow": shadow.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "source": source.get_state(),
        "torch": torch.get_rng_state(),
        "progress": [progress.step, progress.seconds, progress.images, progress.validated],
    }
    save_checkpoint(path, state)


def _resume(
    path: Path, model: Alignment, shadow: Alignment, optimizers: list[torch.optim.Optimizer],
    source: torch.Generator, progress: _Progress,
) -> None:  # fmt: skip
    state = load_checkpoint(path)
    if state is None:
        return
    model.load_state_dict(state["model"])
    shadow.load_state_dict(state["shadow"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    source.set_state(state["source"])
    torch.set_rng_state(state["torch"])
    progress.step, progress.seconds, progress.images, progress.validated = state["progress"]
    _log.info("going on at step %d after %.0f s", progress.step, progress.seconds)
