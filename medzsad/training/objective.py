"""What a training step of Bayes-PFL minimizes (METHODS A.4); index 0 is normal, index 1 abnormal."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from medzsad.clip.vision import ImageFeatures
from medzsad.methods.bayes_pfl import BayesPFL, PromptSample
from medzsad.methods.flow import FlowSample
from medzsad.training.losses import dice_loss, flow_kl, focal_loss, label_loss, orthogonality_loss


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known about the images of a batch.

    Attributes:
        labels: (b,) int64, 1 with a defect.
        masks: (b, H, W) float, 1 in a defect; anything where `has_mask` is false.
        has_mask: (b,) bool, whether an image has a pixel label.
    """

    labels: Tensor
    masks: Tensor
    has_mask: Tensor


@dataclass(frozen=True, slots=True)
class ObjectiveOptions:
    """How the parts are weighted.

    Attributes:
        legacy_kl: Count the log-determinants of the two state distributions once per batch, as the authors' program
            does, in place of once per image, as the formula asks (METHODS A.4).
        kl_weight: Weight of each of the three divergences.
        focal_gamma: How strongly the focal loss discounts sure pixels.
    """

    legacy_kl: bool = False
    kl_weight: float = 0.01
    focal_gamma: float = 2.0


def bayes_pfl_losses(
    prompts: BayesPFL,
    text: Tensor,
    sample: PromptSample,
    features: ImageFeatures,
    truth: Truth,
    pair: int,
    stage: Literal[1, 2],
    options: ObjectiveOptions,
) -> dict[str, Tensor]:
    """The weighted parts of the loss, by name; their sum is to be minimized.

    Stage 1 has "classification", "focal" and "dice" (both summed over layers), "kl_context", "kl_normal",
    "kl_abnormal" and "orthogonal"; stage 2 has "classification" alone. Images without a pixel label take no part in
    focal and Dice; if no image has one, both are 0 and can be differentiated.

    Args:
        prompts: Module to train.
        text: (b, B, 2, D) unit text features of one sample per image.
        sample: What they were encoded from.
        features: Of the frozen tower.
        truth: Labels and masks; the maps are compared at the size of the masks.
        pair: Prompt of the bank that all parts but the divergences and the orthogonality see.
        stage: 1 for the prompts, 2 for the image score.
        options: Weights.
    """
    # A prompt's maps and scores do not depend on the other prompts of the bank.
    drawn = text[:, pair : pair + 1]
    logits = prompts.image_logits(features, drawn, stage)[:, 0]
    if stage == 2:
        return {"classification": label_loss(logits.float(), truth.labels)}
    maps = [layer[:, 0] for layer in prompts.pixel_logits(features, drawn)]
    with torch.autocast(text.device.type, enabled=False):  # small differences of large sums
        focal, dice = _map_losses(maps, features.grid, truth, options.focal_gamma)
        images = len(truth.labels) if options.legacy_kl else 0
        return {
            "classification": label_loss(logits.float(), truth.labels),
            "focal": focal,
            "dice": dice,
            "kl_context": options.kl_weight * _divergence(sample.context, 0),
            "kl_normal": options.kl_weight * _divergence(sample.normal, images),
            "kl_abnormal": options.kl_weight * _divergence(sample.abnormal, images),
            "orthogonal": orthogonality_loss(text[:, :, 0], text[:, :, 1]),
        }


def _map_losses(maps: list[Tensor], grid: tuple[int, int], truth: Truth, gamma: float) -> tuple[Tensor, Tensor]:
    """Focal and Dice loss, summed over layers, of logits (b, 2, N)."""
    masks = truth.masks[truth.has_mask].float()
    focal, dice = [], []
    for logits in maps:
        patches = logits[truth.has_mask].float().reshape(len(masks), 2, *grid)
        # The logits are upsampled, not the probabilities.
        pixels = interpolate(patches, size=masks.shape[-2:], mode="bilinear", align_corners=True).softmax(dim=1)
        focal.append(focal_loss(pixels, masks, gamma))
        dice.append(dice_loss(pixels[:, 1], masks))
    return torch.stack(focal).sum(), torch.stack(dice).sum()


def _divergence(flow: FlowSample, images: int) -> Tensor:
    return flow_kl(flow.start, flow.mean, flow.log_variance, flow.end, flow.log_determinant, images=images)
