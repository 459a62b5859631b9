"""Attention of the last vision block where the features of another backbone, a guide, say which patches are alike.

The features are given; `medzsad.clip.dino` makes those of DINOv2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor
from torch.nn.functional import interpolate, normalize

_SHARPNESS = 3.0


@dataclass(frozen=True, slots=True)
class Guide:
    """Features of a second backbone for a batch of images (METHODS D.2).

    Attributes:
        features: (b, C, h, w), of any width and grid.
        threshold: How many times the mean cosine two places have to be alike to see each other; the authors take 1.2
            with DINO and 1.08 with SAM.
        mean_of_batch: Whether that mean is taken over all images, as in the authors' training; else an image's features
            depend on it alone.
    """

    features: Tensor
    threshold: float = 1.2
    mean_of_batch: bool = False

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.features.shape[2], self.features.shape[3]

    def weights(self) -> Tensor:
        """(b, h * w, h * w) attention of each place to all, its rows summing to 1.

        Where all places of an image are nearly the same, such as in an empty slice, the authors' program gives NaN.
        Here a place always sees itself, which changes nothing where theirs gives numbers.
        """
        unit = normalize(self.features.float().flatten(2), dim=1)
        alike = unit.transpose(1, 2) @ unit
        mean = alike.mean() if self.mean_of_batch else alike.mean(dim=(1, 2), keepdim=True)
        sharpened = _SHARPNESS * (alike - self.threshold * mean)
        itself = torch.eye(alike.shape[1], dtype=torch.bool, device=alike.device)
        return sharpened.masked_fill((sharpened < 0) & ~itself, -float("inf")).softmax(dim=-1)


def guided_layers(
    visual: VisionTransformer, attended: Tensor, layers: Sequence[Tensor], guide: Guide
) -> tuple[Tensor, ...]:
    """Tokens (b, h * w, C) on the guide's grid before the last norm: guided ones, then those of each layer.

    Args:
        visual: The vision tower.
        attended: (b, 1 + N, C), the stream behind the last block's attention, before its MLP.
        layers: (b, 1 + N, C) each.
        guide: For the same images.
    """
    block, grid = visual.transformer.resblocks[-1], visual.grid_size
    values = resized(block.attn.values(block.ln_1(attended))[:, 1:], grid, guide.grid)
    guided = block.attn.weighted(guide.weights().to(values), values)
    return guided, *(resized(tokens[:, 1:], grid, guide.grid) for tokens in layers)


def resized(tokens: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Tokens (b, N, C) of one grid on another, bilinearly, corners not aligned; the same ones where it is the same."""
    if grid == size:
        return tokens
    planes = tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)
    return interpolate(planes, size=size, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)
