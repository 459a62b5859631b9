"""Generated ultrasound pictures and optical coherence tomograms: layers under speckle."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from medzsad.generator.blobs import Blobs, draw_blobs
from medzsad.generator.fields import Dice, lerp, pixel_grid, sample_at, smooth_noise

_NODES = 28


def _speckle(dice: Dice, images: Tensor, strength: Tensor, wide: int) -> Tensor:
    """Multiplicative noise of a coherent beam, smeared sideways."""
    noise = avg_pool2d(
        dice.normal(2, *images.shape).flatten(0, 1)[:, None], (1, wide), stride=1, padding=(0, wide // 2)
    )
    real, imaginary = (wide**0.5 * noise[:, 0, : images.shape[1], : images.shape[2]]).unflatten(0, (2, -1))
    amplitude = torch.sqrt(real**2 + imaginary**2 + 1e-6) / 1.25
    return images * lerp(torch.ones_like(amplitude), amplitude, strength)


def _layered_tissue(dice: Dice, count: int, size: int) -> Tensor:
    """(n, h, w) healthy tissue before speckle."""
    x, y = pixel_grid(size)
    bend = 0.08 * smooth_noise(dice, count, 1, 4, size)[:, 0]
    steps = dice.uniform(count, 12, low=0.15, high=0.75)
    table = steps[:, None, :, None].expand(-1, 1, 12, 2)
    tissue = sample_at(table, torch.zeros_like(bend), (y + bend).expand(count, -1, -1))[:, 0]
    tissue = tissue + dice.uniform(count, 1, 1, low=0.02, high=0.15) * smooth_noise(dice, count, 1, 16, size)[:, 0]
    fibers = torch.exp(-((smooth_noise(dice, count, 1, 20, size)[:, 0] / 0.15) ** 2))
    tissue = tissue + dice.chance(count, 0.6) * dice.uniform(count, 1, 1, low=0.05, high=0.35) * fibers
    # Healthy dark things: vessels, ducts, shadows of ribs.
    vessel = draw_blobs(dice, count, size, low=0.03, high=0.12, ragged=0.1)
    tissue = tissue * (1 - 0.7 * dice.chance(count, 0.35) * vessel.filled(12.0))
    rib = draw_blobs(dice, count, size, low=0.05, high=0.2, ragged=0.1, stretch=3)
    below = torch.sigmoid((y - rib.y) * 25) * torch.exp(-(((x - rib.x) / (0.8 * rib.size)) ** 4))
    return tissue * (1 - 0.75 * dice.chance(count, 0.2) * below)


def draw_ultrasound(dice: Dice, count: int, size: int, lesion_share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Images (n, h, w) in [0, 1], masks (n, h, w), and whether there is a lesion (n,)."""
    x, y = pixel_grid(size)
    tissue = _layered_tissue(dice, count, size)
    lesion = draw_blobs(dice, count, size, low=0.1, high=0.5, ragged=0.35, stretch=2.2, spread=0.55)
    present = dice.chance(count, lesion_share)
    inside = lesion.filled(dice.logarithmic(count, 1, 1, low=5, high=30)) * present
    dark = dice.chance(count, 0.88)
    level = lerp(dice.uniform(count, 1, 1, low=0.7, high=1.0), dice.uniform(count, 1, 1, low=0.0, high=0.22), dark)
    mottled = 1 + 0.3 * smooth_noise(dice, count, 1, 14, size)[:, 0]
    tissue = lerp(tissue, level * mottled, inside)
    behind = torch.sigmoid((y - lesion.y - 0.7 * lesion.size) * 20) * torch.exp(
        -(((x - lesion.x) / (0.8 * lesion.size)) ** 4)
    )
    change = dice.sign(count, 0.5) * dice.uniform(count, 1, 1, low=0.0, high=0.5)
    tissue = tissue * (1 + change * behind * present * (1 - inside))
    depth = torch.exp(-dice.uniform(count, 1, 1, low=0, high=0.7) * (y + 1))
    images = _speckle(dice, (tissue * depth).clamp(min=0), dice.uniform(count, 1, 1, low=0.3, high=0.9), 3)
    images = images ** dice.uniform(count, 1, 1, low=0.6, high=1.1)
    # Sector probes leave the corners black.
    angle = torch.atan2(x, y + 1.0 + dice.uniform(count, 1, 1, low=0.3, high=1.5))
    sector = (angle.abs() < dice.uniform(count, 1, 1, low=0.35, high=0.7)).float()
    images = images * lerp(torch.ones_like(images), sector, dice.chance(count, 0.3))
    masks = (inside > 0.45).float() * (images > 0).float()
    return images.clamp(0, 1), masks, present[:, 0, 0] > 0


def _fluid(dice: Dice, x: Tensor, bump: Blobs, raised: Tensor, depth: Tensor, kind: Tensor) -> Tensor:
    """(n, h, w) pockets under or in the layers, cysts, or clots below them."""
    count, size = len(depth), depth.shape[-1]
    fluid = draw_blobs(dice, count, size, low=0.04, high=0.25, ragged=0.25, stretch=3)
    shape = torch.exp(-(((x - bump.x) / (bump.size * 0.9)) ** 2) * 2)
    place = (depth - dice.uniform(count, 1, 1, low=0.3, high=0.95)) / dice.uniform(count, 1, 1, low=0.08, high=0.35)
    pocket = torch.sigmoid((shape - place.abs()) * 12) * (shape > 0.15)
    cysts = torch.sigmoid((smooth_noise(dice, count, 1, 11, size)[:, 0] - 0.7) * 8) * raised * (depth > 0.1)
    cysts = cysts * (depth < 0.8)
    return torch.where(kind < 0.4, pocket, torch.where(kind < 0.65, cysts, fluid.filled(10) * (depth > 0.7)))


def draw_tomogram(dice: Dice, count: int, size: int, lesion_share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Retinal layers in cross section; shapes as of `draw_ultrasound`."""
    x, y = pixel_grid(size)
    top = dice.uniform(count, 1, 1, low=-0.5, high=0.1)
    curve = 0.06 * smooth_noise(dice, count, 1, 3, size)[:, :1, size // 2, None, :][:, 0]
    pit_x = dice.uniform(count, 1, 1, low=-0.4, high=0.4)
    pit = dice.chance(count, 0.5) * 0.12 * torch.exp(-(((x - pit_x) / 0.2) ** 2))
    slope = dice.uniform(count, 1, 1, low=-0.15, high=0.15) * x
    thick = dice.uniform(count, 1, 1, low=0.3, high=0.6)
    bump = draw_blobs(dice, count, size, low=0.12, high=0.45, ragged=0.1, spread=0.6)
    raised = torch.exp(-(((x - bump.x) / bump.size) ** 2))
    present = dice.chance(count, lesion_share)
    kind = dice.uniform(count, 1, 1)
    swollen = present * (kind < 0.65) * raised * dice.uniform(count, 1, 1, low=0.05, high=0.3)
    depth = (y - top - curve - slope - pit * 0.5 + swollen) / (thick + swollen + pit * -0.5)
    values = dice.uniform(count, _NODES, low=0.15, high=0.95)
    values[:, 0], values[:, -4:] = 0.9, 0.95
    table = values[:, None, :, None].expand(-1, 1, _NODES, 2)
    band = sample_at(table, torch.zeros_like(depth), depth.clamp(0, 1) * 2 - 1)[:, 0]
    choroid = 0.45 * torch.exp(-(depth - 1).clamp(min=0) * dice.uniform(count, 1, 1, low=1, high=4))
    choroid = choroid * (1 + 0.4 * smooth_noise(dice, count, 1, 24, size)[:, 0])
    ground = dice.uniform(count, 1, 1, low=0.02, high=0.15)
    images = torch.where(depth < 0, ground, torch.where(depth > 1, choroid + ground, band))
    chosen = _fluid(dice, x, bump, raised, depth, kind)
    region = chosen * present * (depth > 0.03)
    level = torch.where(kind < 0.65, dice.uniform(count, 1, 1, low=0.02, high=0.2), torch.full_like(kind, 0.7))
    images = lerp(images, level, region)
    images = _speckle(dice, images, dice.uniform(count, 1, 1, low=0.25, high=0.8), 3)
    shadow = torch.exp(-(((x - dice.uniform(count, 1, 1, low=-1, high=1)) / 0.06) ** 2)) * (depth > 0.05)
    images = images * (1 - 0.6 * dice.chance(count, 0.3) * shadow)
    return images.clamp(0, 1), (region > 0.5).float(), present[:, 0, 0] > 0
