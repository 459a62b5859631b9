"""Tables of image positions, resized to another grid."""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from medzsad.clip.spec import PositionResize


def resize_positions(positions: Tensor, grid: int, how: PositionResize) -> Tensor:
    """A position table (1 + n², C) resized to (1 + grid², C); the class token's row stays as it is."""
    old = math.isqrt(len(positions) - 1)
    if old == grid:
        return positions
    patches = positions[1:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    mode = "bilinear" if how == "bilinear" else "bicubic"
    patches = interpolate(
        patches, size=(grid, grid), mode=mode, align_corners=False, antialias=how == "bicubic_antialias"
    )
    return torch.cat((positions[:1].float(), patches.flatten(2).squeeze(0).T))
