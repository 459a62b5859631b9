"""What a training step of Bayes-PFL minimizes (METHODS A.4); index 0 is normal, index 1 abnormal."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from medzsad.clip.tower import Tower
from medzsad.clip.vision import ImageFeatures
from medzsad.methods.base import Draws
from medzsad.methods.bayes_pfl.flow import FlowSample
from medzsad.methods.bayes_pfl.model import BayesPFL, BayesPFLOptions, BayesPFLTrainOptions, PromptSample
from medzsad.methods.losses import dice_loss, flow_kl, focal_loss, label_loss, orthogonality_loss
from medzsad.methods.objective import Stage, Truth

_RATES = {"prompts": 1e-3, "temperatures": 1e-2, "flows": 1e-3, "networks": 1e-4}
_HEADS = ("text_head.", "image_head.", "summary.")
_PARTS = ("classification", "focal", "dice", "kl_context", "kl_normal", "kl_abnormal", "orthogonal")


def prompt_groups(model: BayesPFL) -> list[dict[str, Any]]:
    """Every parameter, in the groups "prompts" and "flows" (1e-3), "temperatures" (1e-2) and "networks" (1e-4).

    Those of the second stage are among them, though the first gives them no gradient (METHODS A.5).
    """
    named: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        named.setdefault(_group_of(name), []).append(parameter)
    return [{"name": name, "params": named[name], "lr": rate, "base_lr": rate} for name, rate in _RATES.items()]


def head_groups(model: BayesPFL) -> list[dict[str, Any]]:
    """Text head, image head and patch summary, in one group "heads" (1e-4)."""
    heads = [parameter for name, parameter in model.named_parameters() if name.startswith(_HEADS)]
    return [{"name": "heads", "params": heads, "lr": 1e-4, "base_lr": 1e-4}]


def _group_of(name: str) -> str:
    if name.startswith("log_scale_"):
        return "temperatures"
    if name.startswith("prompt_"):
        return "prompts"
    if name.startswith(("context_flow.", "normal_flow.", "abnormal_flow.")) and ".encoder." not in name:
        return "flows"
    return "networks"


class BayesPFLObjective:
    """Stage 1 learns the prompts, stage 2 the image score.

    Args:
        options: Weights of the parts, and whose weighting of the divergences.
    """

    stages = (
        Stage("prompts", _PARTS, prompt_groups, "pixel_ap", "warm_up_cosine"),
        Stage("image score", _PARTS[:1], head_groups, "image_ap", "constant"),
    )

    def __init__(self, options: BayesPFLTrainOptions) -> None:
        self.options = options

    def losses(
        self,
        model: BayesPFL,
        tower: Tower,
        features: ImageFeatures,
        class_names: Sequence[str],
        truth: Truth,
        draws: Draws,
        stage: Stage,
        source: torch.Generator,
    ) -> dict[str, Tensor]:
        """The parts of one step; all but the divergences and the orthogonality see one prompt of the bank."""
        pair = int(torch.randint(model.sizes["bank"], (), generator=source))
        first = stage is self.stages[0]
        with torch.set_grad_enabled(first):  # stage 2 learns nothing of the text side but its last mapping
            sample = model.sample_prompts(features, draws)
            text = model.encode_prompts(tower, sample, class_names)
        return bayes_pfl_losses(model, text, sample, features, truth, pair, 1 if first else 2, self.options)

    def used_with(self, stage: Stage) -> BayesPFLOptions:
        """The image head of the stage."""
        return BayesPFLOptions(stage=1 if stage is self.stages[0] else 2)


def bayes_pfl_losses(
    model: BayesPFL,
    text: Tensor,
    sample: PromptSample,
    features: ImageFeatures,
    truth: Truth,
    pair: int,
    stage: Literal[1, 2],
    options: BayesPFLTrainOptions,
) -> dict[str, Tensor]:
    """The weighted parts of the loss, by name; their sum is to be minimized.

    Stage 1 has "classification", "focal" and "dice" (both summed over layers), "kl_context", "kl_normal",
    "kl_abnormal" and "orthogonal"; stage 2 has "classification" alone. Images without a pixel label take no part in
    focal and Dice; if no image has one, both are 0 and can be differentiated.

    Args:
        model: In training.
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
    logits = model.image_logits(features, drawn, stage)[:, 0]
    if stage == 2:
        return {"classification": label_loss(logits.float(), truth.labels)}
    maps = [layer[:, 0] for layer in model.pixel_logits(features, drawn)]
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
