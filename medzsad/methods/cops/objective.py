"""What a training step of CoPS minimizes (METHODS B.6)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, max_pool2d

from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.methods.base import Draws
from medzsad.methods.cops.model import (
    CoPS,
    CoPSOptions,
    CoPSTrainOptions,
    image_logits,
    patch_logits,
    prototype_distances,
    smoothed_patches,
)
from medzsad.methods.losses import map_losses
from medzsad.methods.objective import Stage, Truth, all_parameters

_PATCH_WEIGHT = 4.0
_PARTS = ("image", "patch", "gather", "scatter", "kl", "reconstruction")


class CoPSObjective:
    """One stage learns everything (METHODS B.6)."""

    stages = (Stage("prompts", _PARTS, all_parameters, "pixel_ap", "constant"),)

    def __init__(self, options: CoPSTrainOptions) -> None:
        self.options = options

    def losses(
        self,
        model: CoPS,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        truth: Truth,
        draws: Draws,
        stage: Stage,
        source: torch.Generator,
    ) -> dict[str, Tensor]:
        """The parts of one step; only gather and scatter train what makes the prototypes."""
        if model.encoder is None:
            raise ValueError("prepare_training() has not been called.")
        cls = features.cls.float()
        mean, log_variance = model.encoder(cls)
        shifts = model.decoder(mean + torch.exp(0.5 * log_variance) * draws["category"][:, 0])
        patches = smoothed_patches(features, self.options.neighbors)
        prototypes = model.prototypes(patches)
        text = model.text_features(tower, prototypes.detach(), shifts[:, None])
        gather, scatter = _distance_losses(prototype_distances(patches, prototypes), features.grid, truth)
        kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=1).mean()
        return {
            "image": cross_entropy(image_logits(features, text), truth.labels),
            "patch": _PATCH_WEIGHT * _patch_loss(patch_logits(patches, text), features.grid, truth),
            "gather": gather,
            "scatter": scatter,
            "kl": kl,
            "reconstruction": self.options.reconstruction_weight * self._reconstruction(shifts, cls),
        }

    def _reconstruction(self, shifts: Tensor, cls: Tensor) -> Tensor:
        if self.options.legacy_reconstruction:
            return ((cls[None] - shifts[:, None]) ** 2).mean()
        return ((cls - shifts) ** 2).sum(dim=1).mean()

    def used_with(self, stage: Stage) -> CoPSOptions:
        """The authors' options for medical images, with the neighborhood of the training."""
        return CoPSOptions(neighbors=self.options.neighbors)


def _patch_loss(logits: Tensor, grid: tuple[int, int], truth: Truth) -> Tensor:
    """Focal and both Dice losses of the map at the size of the masks, over the images with a pixel label."""
    known = truth.has_mask
    focal, abnormal, normal = map_losses(logits[known], grid, truth.masks[known].float(), "nearest")
    return focal + (abnormal + normal)


def _distance_losses(distances: tuple[Tensor, Tensor], grid: tuple[int, int], truth: Truth) -> tuple[Tensor, Tensor]:
    """Mean distance of normal patches to normal prototypes, and of abnormal ones to abnormal; 0 where there are none.

    A patch is abnormal if any of its pixels is.
    """
    side = truth.masks.shape[-1] // grid[1]
    labels = max_pool2d(truth.masks.float()[:, None], side).flatten(1) > 0.5
    known = truth.has_mask[:, None].expand_as(labels)
    parts = []
    for distance, chosen in zip(distances, (known & ~labels, known & labels), strict=True):
        parts.append((distance * chosen).sum() / chosen.sum().clamp(min=1))
    return parts[0], parts[1]
