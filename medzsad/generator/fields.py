"""Random numbers and smooth random fields for the generator of training images, a whole batch at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate


@dataclass(frozen=True, slots=True)
class Dice:
    """Random draws from one generator; every method draws for a batch.

    Attributes:
        source: Where all randomness comes from.
    """

    source: torch.Generator

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform numbers in [low, high)."""
        return torch.rand(*shape, generator=self.source) * (high - low) + low

    def number(self, low: float = 0.0, high: float = 1.0) -> float:
        """One uniform number in [low, high)."""
        return float(self.uniform(1, low=low, high=high)[0])

    def logarithmic(self, *shape: int, low: float, high: float) -> Tensor:
        """Numbers in [low, high) whose logarithm is uniform."""
        return low * (high / low) ** torch.rand(*shape, generator=self.source)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(*shape, generator=self.source)

    def chance(self, count: int, probability: float) -> Tensor:
        """(count, 1, 1) float: 1 with the given probability, else 0."""
        return (torch.rand(count, 1, 1, generator=self.source) < probability).float()

    def sign(self, count: int, positive: float = 0.5) -> Tensor:
        """(count, 1, 1) float: +1 with the given probability, else -1."""
        return self.chance(count, positive) * 2 - 1

    def choice(self, count: int, weights: tuple[float, ...]) -> Tensor:
        """(count,) int64 indices, drawn with the given weights."""
        return torch.multinomial(torch.tensor(weights), count, replacement=True, generator=self.source)


def smooth_noise(dice: Dice, count: int, channels: int, cells: int, size: int) -> Tensor:
    """(count, channels, size, size) field of about unit variance that varies over size/cells pixels."""
    coarse = dice.normal(count, channels, cells + 2, cells + 2)
    if cells * 4 < size:
        # Bicubic only as far as the eye can see the difference; bilinear is a third of the cost.
        coarse = interpolate(coarse, scale_factor=4, mode="bicubic", align_corners=False)
    field = interpolate(coarse, size=(size + 2 * (size // cells),) * 2, mode="bilinear", align_corners=False)
    edge = size // cells
    return field[..., edge : edge + size, edge : edge + size]


def pixel_grid(size: int) -> tuple[Tensor, Tensor]:
    """Columns x and rows y of the pixel centers in [-1, 1], each (1, size, size)."""
    line = (torch.arange(size) + 0.5) * (2 / size) - 1
    return line[None, None, :].expand(1, size, size), line[None, :, None].expand(1, size, size)


def sample_at(field: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(n, k, h, w) values of a field (n, k, c, c) at positions x, y (n, h, w) in [-1, 1]; reflected beyond."""
    where = torch.stack((x, y), dim=-1)
    return grid_sample(field, where, mode="bilinear", padding_mode="reflection", align_corners=False)


def lerp(image: Tensor, value: Tensor, weight: Tensor) -> Tensor:
    """`image` where the weight is 0, `value` where it is 1."""
    return image + (value - image) * weight


def ridge(field: Tensor, width: Tensor) -> Tensor:
    """1 along the zero lines of a field, falling to 0 within `width` of its value: thin folded curves."""
    return torch.exp(-((field / width) ** 2))
