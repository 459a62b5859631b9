"""Generated pictures as cameras take them of mucosa, skin and the back of the eye; all in color."""

import torch
from torch import Tensor

from medzsad.generator.blobs import Blobs, draw_blobs
from medzsad.generator.fields import Dice, lerp, pixel_grid, ridge, smooth_noise

Drawn = tuple[Tensor, Tensor, Tensor]


def _tinted(dice: Dice, gray: Tensor, dark: tuple[float, ...], bright: tuple[float, ...], spread: float) -> Tensor:
    """(n, 3, h, w) of (n, h, w): between two hues that differ a little from picture to picture."""
    low, high = (
        torch.tensor(c)[None, :, None, None] + spread * dice.normal(len(gray), 3, 1, 1) for c in (dark, bright)
    )
    return low + (high - low) * gray[:, None]


def _shaded(height: Tensor, x: Tensor, y: Tensor, strength: Tensor, light_x: Tensor, light_y: Tensor) -> Tensor:
    """Brightness of a relief under a lamp near the camera."""
    size = height.shape[-1]
    down, across = torch.gradient(height, dim=(1, 2))
    slope_x, slope_y = across * (size * strength), down * (size * strength)
    away = torch.sqrt((x - light_x) ** 2 + (y - light_y) ** 2)
    facing = (1 - slope_x * (x - light_x) - slope_y * (y - light_y)) / torch.sqrt(1 + slope_x**2 + slope_y**2)
    return facing.clamp(0, 1.6) / (1 + 0.6 * away**2)


def _framed(dice: Dice, images: Tensor, masks: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Dark corners or a round frame in some of the pictures."""
    count = len(images)
    round_ = torch.sqrt(x**2 + y**2) > dice.uniform(count, 1, 1, low=0.95, high=1.35)
    cut = torch.maximum(x.abs(), y.abs()) + 0.45 * torch.minimum(x.abs(), y.abs()) > dice.uniform(
        count, 1, 1, low=1.0, high=1.4
    )
    frame = torch.where(dice.chance(count, 0.5) > 0, round_, cut).float() * dice.chance(count, 0.5)
    soft = 1 - dice.uniform(count, 1, 1, low=0, high=0.5) * (x**2 + y**2) / 2
    return images * (soft * (1 - frame))[:, None], masks * (1 - frame)


def _highlights(dice: Dice, count: int, size: int, wet: Tensor) -> Tensor:
    """(n, h, w) white glints of a wet surface."""
    field = smooth_noise(dice, count, 1, 24, size)[:, 0] + 0.7 * smooth_noise(dice, count, 1, 8, size)[:, 0]
    return torch.sigmoid((field - dice.uniform(count, 1, 1, low=2.0, high=3.2)) * 10) * wet


def draw_endoscopy(dice: Dice, count: int, size: int, lesion_share: float) -> Drawn:
    """Images (n, 3, h, w) of mucosa in [0, 1], masks of polyps (n, h, w), and whether there is one (n,)."""
    x, y = pixel_grid(size)
    hollow_x, hollow_y = (dice.uniform(count, 1, 1, low=-0.6, high=0.6) for _ in range(2))
    away = torch.sqrt((x - hollow_x) ** 2 + (y - hollow_y) ** 2)
    rings = torch.sin(
        away * dice.uniform(count, 1, 1, low=4, high=14) + 1.5 * smooth_noise(dice, count, 1, 3, size)[:, 0]
    )
    height = 0.05 * rings * dice.chance(count, 0.7) + 0.05 * smooth_noise(dice, count, 1, 4, size)[:, 0]
    height = height + 0.008 * smooth_noise(dice, count, 1, 18, size)[:, 0]
    polyp = draw_blobs(dice, count, size, low=0.1, high=0.6, ragged=0.2, stretch=1.7, spread=0.65)
    present = dice.chance(count, lesion_share)
    dome = torch.sqrt((1 - polyp.radius**2).clamp(min=0) + 1e-4) * present
    flat = dice.uniform(count, 1, 1, low=0.25, high=1.0)
    height = height + dome * polyp.size * flat * 0.6
    light_x, light_y = (dice.uniform(count, 1, 1, low=-0.3, high=0.3) for _ in range(2))
    brightness = _shaded(height, x, y, dice.uniform(count, 1, 1, low=0.3, high=0.9), light_x, light_y)
    deep = dice.chance(count, 0.5) * torch.exp(-((away / dice.uniform(count, 1, 1, low=0.15, high=0.5)) ** 2))
    brightness = brightness * (1 - 0.85 * deep * (1 - dome.clamp(max=1)))
    vessels = ridge(smooth_noise(dice, count, 1, 12, size)[:, 0], torch.full((count, 1, 1), 0.06))
    inside = (polyp.radius < 1).float() * present
    brightness = brightness * (1 - 0.25 * dice.chance(count, 0.5) * vessels * (1 - inside))
    images = _tinted(dice, (brightness * 0.75).clamp(0, 1.2), (0.10, 0.02, 0.02), (0.95, 0.55, 0.42), 0.05)
    tint = 0.12 * dice.normal(count, 3, 1, 1) * inside[:, None]
    rough = dice.uniform(count, 1, 1, low=0, high=0.08) * smooth_noise(dice, count, 1, size // 6, size)[:, 0] * inside
    images = images * (1 + tint + rough[:, None])
    glints = _highlights(dice, count, size, dice.chance(count, 0.8))
    images = lerp(images, torch.ones_like(images), glints[:, None])
    images, masks = _framed(dice, images, inside, x, y)
    return images.clamp(0, 1), masks, present[:, 0, 0] > 0


def draw_skin(dice: Dice, count: int, size: int, lesion_share: float) -> Drawn:
    """Close pictures of skin with a pigmented lesion or without; shapes as of `draw_endoscopy`."""
    x, y = pixel_grid(size)
    ground = 0.75 + 0.08 * smooth_noise(dice, count, 1, 3, size)[:, 0]
    ground = ground + 0.03 * smooth_noise(dice, count, 1, size // 5, size)[:, 0]
    freckles = torch.sigmoid((smooth_noise(dice, count, 1, 18, size)[:, 0] - 1.6) * 6) * dice.chance(count, 0.3)
    ground = ground - 0.12 * freckles
    mole = draw_blobs(dice, count, size, low=0.2, high=0.9, ragged=0.35, stretch=1.8, spread=0.3)
    present = dice.chance(count, lesion_share)
    inside = mole.filled(dice.logarithmic(count, 1, 1, low=4, high=25)) * present
    net = 0.3 * smooth_noise(dice, count, 1, 9, size)[:, 0] + 0.2 * smooth_noise(dice, count, 1, size // 5, size)[:, 0]
    dark = dice.uniform(count, 1, 1, low=0.15, high=0.65) * (1 + net)
    images = _tinted(dice, ground.clamp(0, 1.2), (0.25, 0.1, 0.08), (0.98, 0.78, 0.70), 0.05)
    hue = torch.tensor((0.75, 1.0, 1.05))[None, :, None, None] + 0.1 * dice.normal(count, 3, 1, 1)
    images = images * (1 - (inside * dark)[:, None].clamp(max=0.95) * hue)
    hairs = ridge(smooth_noise(dice, count, 1, 5, size)[:, 0], torch.full((count, 1, 1), 0.025))
    images = images * (1 - 0.7 * (hairs * dice.chance(count, 0.35))[:, None])
    images, masks = _framed(dice, images, (inside > 0.4).float(), x, y)
    return images.clamp(0, 1), masks, present[:, 0, 0] > 0


def draw_fundus(dice: Dice, count: int, size: int, lesion_share: float) -> Drawn:
    """The back of the eye with vessels and optic disc, and pale or dark spots; shapes as of `draw_endoscopy`."""
    x, y = pixel_grid(size)
    ground = 0.5 + 0.1 * smooth_noise(dice, count, 1, 3, size)[:, 0]
    side = dice.sign(count)
    disc_x, disc_y = side * dice.uniform(count, 1, 1, low=0.35, high=0.6), dice.uniform(count, 1, 1, low=-0.2, high=0.2)
    from_disc = torch.sqrt((x - disc_x) ** 2 + (y - disc_y) ** 2)
    disc = torch.sigmoid((dice.uniform(count, 1, 1, low=0.1, high=0.18) - from_disc) * 60)
    macula = torch.exp(-(((x + 0.1 * side) ** 2 + (y - disc_y) ** 2) / 0.03))
    ground = ground - 0.15 * macula
    warp = 0.25 * smooth_noise(dice, count, 2, 4, size)
    bend = torch.atan2(y - disc_y + warp[:, 0], (x - disc_x) * side * -1 + 0.3 + warp[:, 1])
    vessels = ridge(torch.sin(bend * dice.uniform(count, 1, 1, low=5, high=8)), 0.12 / (0.4 + from_disc))
    ground = ground * (1 - 0.45 * vessels)
    images = _tinted(dice, ground.clamp(0, 1), (0.15, 0.02, 0.0), (1.0, 0.62, 0.30), 0.05)
    images = lerp(images, torch.tensor((1.0, 0.9, 0.65))[None, :, None, None].expand_as(images), 0.85 * disc[:, None])
    present = dice.chance(count, lesion_share)
    region = _spots(dice, count, size) * present * (1 - disc)
    pale = dice.chance(count, 0.7)
    color = lerp(torch.tensor((0.45, 0.03, 0.02)).expand(count, 3), torch.tensor((1.0, 0.92, 0.5)), pale[:, 0])
    images = lerp(images, color[:, :, None, None], (dice.uniform(count, 1, 1, low=0.4, high=1.0) * region)[:, None])
    inside = (torch.sqrt(x**2 + y**2) < dice.uniform(count, 1, 1, low=0.9, high=1.2)).float()
    return (images * inside[:, None]).clamp(0, 1), (region > 0.4).float() * inside, present[:, 0, 0] > 0


def _spots(dice: Dice, count: int, size: int) -> Tensor:
    """Clusters of small spots, or a few single ones."""
    where: Blobs = draw_blobs(dice, count, size, low=0.15, high=0.6, ragged=0.4, spread=0.5)
    fine = smooth_noise(dice, count, 1, size // 7, size)[:, 0]
    cut = dice.uniform(count, 1, 1, low=0.8, high=1.8)
    return torch.sigmoid((fine - cut) * 10) * where.filled(8.0)
