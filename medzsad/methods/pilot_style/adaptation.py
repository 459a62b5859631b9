"""Prompts that go on learning from the images they score, without labels (METHODS H, adaptation)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from medzsad.clip.vision import ImageFeatures
from medzsad.methods.base import Options
from medzsad.methods.losses import pixel_dice_loss, pixel_focal_loss
from medzsad.methods.object_prompts import MAP_WEIGHT
from medzsad.methods.prompts import cosine_logits, image_logits

_TOP_SHARE = 0.05
# A patch is sure from these probabilities on; an image from these of its most abnormal patches.
_SURE_ABNORMAL, _SURE_NORMAL, _IMAGE_NORMAL = 0.75, 0.25, 0.35
_PULL = 0.1


class AdaptationOptions(Options):
    """How prompts adapt to the images that they score.

    Attributes:
        adapt: Whether they do; scores then depend on which images came before.
        adapt_rate: Step size of Adam.
        gated: Whether only patches and images with a sure score teach; otherwise all do.
        both_branches: Whether a pseudo-label asks the phrases beside the prompts.
    """

    adapt: bool = False
    adapt_rate: float = Field(default=2e-4, gt=0)
    gated: bool = True
    both_branches: bool = True


class Texts(Protocol):
    """What an image is compared with: (1, 2, D) unit text features."""

    @property
    def fused(self) -> Tensor:
        """With the prompts."""
        ...

    @property
    def anchor(self) -> Tensor:
        """The phrases alone."""
        ...


@dataclass(frozen=True, slots=True)
class PseudoLabels:
    """What scores say about patches and images where no truth is known.

    Attributes:
        patches: (b, N) float, 1 for abnormal.
        sure_patches: (b, N) bool, those that are to teach.
        images: (b,) float, 1 for abnormal.
        sure_images: (b,) bool.
    """

    patches: Tensor
    sure_patches: Tensor
    images: Tensor
    sure_images: Tensor


def pseudo_labels(abnormal: Tensor, gated: bool = True) -> PseudoLabels:
    """Labels from probabilities of abnormal patches (b, N).

    An image is as abnormal as the mean of its highest 5 % of patches. With a gate only sure images, and in them only
    sure patches, have a label.
    """
    count = max(1, int(_TOP_SHARE * abnormal.shape[1]))
    top = abnormal.topk(count, dim=1).values.mean(dim=1)
    if not gated:
        sure = torch.ones_like(abnormal, dtype=torch.bool)
        return PseudoLabels((abnormal > 0.5).float(), sure, (top > 0.5).float(), sure[:, 0])
    images = (top > _SURE_ABNORMAL) | (top < _IMAGE_NORMAL)
    patches = (abnormal > _SURE_ABNORMAL) | (abnormal < _SURE_NORMAL)
    return PseudoLabels(
        (abnormal > _SURE_ABNORMAL).float(), patches & images[:, None], (top > _SURE_ABNORMAL).float(), images
    )


class Adaptation:
    """The state of an adaptation: parameters that move, where they came from, and their optimizer.

    Args:
        parameters: What adapts, changed in place until `undo`.
        options: How.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], options: AdaptationOptions) -> None:
        self._parameters, self._options = list(parameters), options
        self._steps = 0
        with torch.inference_mode(False):
            self._start = [parameter.detach().clone() for parameter in self._parameters]
            self._optimizer = torch.optim.Adam(self._parameters, lr=options.adapt_rate)

    def step(self, image: ImageFeatures, texts: Callable[[ImageFeatures], Texts]) -> bool:
        """Whether one image, which has been scored, was sure enough to move the parameters.

        Args:
            image: Features of one image.
            texts: Gives what an image is compared with, from the parameters as they are.
        """
        # What inference mode has made cannot be learned from.
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(image.cls.device.type, enabled=False):
            image = ImageFeatures(
                image.cls.clone().float(), tuple(layer.clone().float() for layer in image.patches), image.grid
            )
            for parameter in self._parameters:
                parameter.requires_grad_(True)
            try:
                loss = self._loss(image, texts(image))
                if loss is not None:
                    loss.backward()  # type: ignore[no-untyped-call]
                    self._optimizer.step()
                    self._steps += 1
            finally:
                self._optimizer.zero_grad(set_to_none=True)
                for parameter in self._parameters:
                    parameter.requires_grad_(False)
        return loss is not None

    def _loss(self, image: ImageFeatures, texts: Texts) -> Tensor | None:
        options = self._options
        with torch.no_grad():
            abnormal = _probabilities(image, texts.fused)
            if options.both_branches:
                abnormal = (abnormal + _probabilities(image, texts.anchor)) / 2
            found = pseudo_labels(abnormal, options.gated)
        if not bool(found.sure_images.any()):
            return None
        moved = [(now - first).square().sum() for now, first in zip(self._parameters, self._start, strict=True)]
        loss = (
            cross_entropy(image_logits(image.cls, texts.fused), found.images.long()) + _PULL * torch.stack(moved).sum()
        )
        sure = found.sure_patches[0]
        if not bool(sure.any()):
            return loss
        for patches in image.patches:
            # The sure patches as the pixels of a picture of one row.
            planes = cosine_logits(patches, texts.fused)[0, sure].softmax(dim=-1).T[None, :, None]
            loss = loss + MAP_WEIGHT * _pixel_loss(planes, found.patches[:, None, sure])
        return loss

    def undo(self) -> int:
        """The number of steps that were taken, after which the parameters are what they were at first."""
        with torch.inference_mode(False), torch.no_grad():
            for parameter, first in zip(self._parameters, self._start, strict=True):
                parameter.copy_(first)
        return self._steps


def _probabilities(image: ImageFeatures, text: Tensor) -> Tensor:
    """(1, N) mean over layers of how probably patches are abnormal."""
    layers = [cosine_logits(patches, text).softmax(dim=-1)[..., 1] for patches in image.patches]
    return torch.stack(layers).mean(dim=0)


def _pixel_loss(planes: Tensor, masks: Tensor) -> Tensor:
    """AnomalyCLIP's loss of probabilities (1, 2, H, W) for masks (1, H, W)."""
    both = pixel_dice_loss(planes[:, 1], masks) + pixel_dice_loss(planes[:, 0], 1 - masks)
    return pixel_focal_loss(planes, masks) + both
