"""Ragged round regions in the plane: what lesions, organs, shadows and highlights of generated pictures are made of."""

from dataclasses import dataclass

import torch
from torch import Tensor

from medzsad.generator.fields import Dice, pixel_grid, smooth_noise


@dataclass(frozen=True, slots=True)
class Blobs:
    """One region per picture.

    Attributes:
        radius: (n, h, w) distance from the center in units of the outline's: below 1 is inside.
        x: (n, 1, 1) column of the center in [-1, 1].
        y: (n, 1, 1) row of the center in [-1, 1].
        size: (n, 1, 1) mean half axis in half sides of the picture.
    """

    radius: Tensor
    x: Tensor
    y: Tensor
    size: Tensor

    def filled(self, steepness: Tensor | float) -> Tensor:
        """(n, h, w) 1 inside, 0 outside, with a rim as steep as asked for."""
        return torch.sigmoid((1 - self.radius) * steepness)


def draw_blobs(
    dice: Dice,
    count: int,
    side: int,
    *,
    low: float,
    high: float,
    ragged: float = 0.3,
    stretch: float = 2.0,
    spread: float = 0.75,
) -> Blobs:
    """Regions at random places.

    Args:
        dice: Random numbers.
        count: Pictures.
        side: Of the pictures, in pixels.
        low: Smallest half axis, in half sides of the picture.
        high: Largest half axis.
        ragged: Greatest unevenness of the outlines.
        stretch: Greatest ratio of the two axes.
        spread: How far from the middle the centers may lie.
    """
    x, y = pixel_grid(side)
    center_x, center_y = (dice.uniform(count, 1, 1, low=-spread, high=spread) for _ in range(2))
    size = dice.logarithmic(count, 1, 1, low=low, high=high)
    longer = dice.logarithmic(count, 1, 1, low=1.0, high=stretch).sqrt()
    angle = dice.uniform(count, 1, 1, low=0, high=3.15)
    dx, dy = x - center_x, y - center_y
    along = (dx * torch.cos(angle) + dy * torch.sin(angle)) / longer
    across = (dy * torch.cos(angle) - dx * torch.sin(angle)) * longer
    rough = smooth_noise(dice, count, 1, 5, side)[:, 0] + 0.5 * smooth_noise(dice, count, 1, 13, side)[:, 0]
    radius = torch.sqrt(along**2 + across**2 + 1e-8) / size
    radius = radius * torch.exp(dice.uniform(count, 1, 1, low=0, high=ragged) * rough)
    return Blobs(radius, center_x, center_y, size)
