"""Lesions of many kinds, put into generated slices, with exact masks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from medzsad.generator.fields import Dice, lerp, sample_at, smooth_noise

KINDS = ("bright", "dark", "replaced", "texture", "displaced", "ring", "noise", "edema", "diffuse")
_KIND_WEIGHTS = (0.26, 0.16, 0.08, 0.09, 0.08, 0.08, 0.04, 0.09, 0.12)
# Mean change inside the mask from which a lesion counts as visible.
_VISIBLE = 0.09


@dataclass(frozen=True, slots=True)
class WithLesions:
    """Slices of which a share has lesions.

    Attributes:
        images: (n, h, w), not yet limited to [0, 1].
        masks: (n, h, w) float32, 0 or 1.
        kinds: (n,) int64 index into KINDS; -1 without lesion.
    """

    images: Tensor
    masks: Tensor
    kinds: Tensor


def add_lesions(dice: Dice, images: Tensor, inside: Tensor, x: Tensor, y: Tensor, share: float) -> WithLesions:
    """The images, a share of them with one lesion or several of one kind.

    Args:
        dice: Random numbers.
        images: (n, h, w).
        inside: (n, h, w), 1 where a lesion may lie.
        x: (n, h, w) column positions in [-1, 1].
        y: (n, h, w) row positions in [-1, 1].
        share: Wanted share of images with lesions; invisible ones are taken back.
    """
    count = len(images)
    kinds = dice.choice(count, _KIND_WEIGHTS)
    distance = _blobs(dice, inside, x, y)
    soft = dice.logarithmic(count, 1, 1, low=2.5, high=25)
    soft = torch.where(_of(kinds, "diffuse") > 0, soft.clamp(max=5), soft)
    alpha = torch.sigmoid((1 - distance) * soft) * inside
    changed = _appearance(dice, images, alpha, distance, kinds, x, y)
    masks = (alpha > 0.4).float()
    area = masks.sum(dim=(1, 2))
    visible = ((changed - images).abs() * masks).sum(dim=(1, 2)) / area.clamp(min=1)
    wanted = dice.uniform(count) < share
    present = wanted & (visible > _VISIBLE) & (area >= 6)
    keep = present[:, None, None]
    return WithLesions(
        torch.where(keep, changed, images), masks * keep, torch.where(present, kinds, torch.full_like(kinds, -1))
    )


def _of(kinds: Tensor, *names: str) -> Tensor:
    indices = torch.tensor([KINDS.index(name) for name in names])
    return torch.isin(kinds, indices).float()[:, None, None]


def _centers(dice: Dice, inside: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Random places inside, (n, number) each, x and y in [-1, 1]."""
    coarse = inside[:, ::4, ::4]
    side = coarse.shape[-1]
    weights = (coarse.reshape(len(inside), -1) > 0.8).float() + 1e-6
    picks = torch.multinomial(weights, number, replacement=True, generator=dice.source)
    return ((picks % side) + 0.5) * (2 / side) - 1, ((picks // side) + 0.5) * (2 / side) - 1


def _blobs(dice: Dice, inside: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Distance to the lesion's center in units of its ragged outline: below 1 is inside."""
    count, size = len(inside), inside.shape[-1]
    most = 5
    number = torch.where(dice.uniform(count) < 0.72, torch.ones(count), 1 + torch.floor(dice.uniform(count) * most))
    # Radii in units of half the side: 3.5 % to 21 % of the side, some of them smaller, down to 1.6 pixels.
    radius = dice.logarithmic(count, low=0.07, high=0.42)
    radius = torch.where(dice.uniform(count) < 0.15, dice.uniform(count, low=3.2 / size, high=0.08), radius)
    radius = torch.where(number > 1, radius.clamp(max=0.16), radius)
    rough = smooth_noise(dice, count, 1, 10, size)[:, 0]
    broad = smooth_noise(dice, count, 1, 4, size)[:, 0]
    ragged = (
        dice.uniform(count, 1, 1, low=0.0, high=0.3) * rough + dice.uniform(count, 1, 1, low=0.0, high=0.35) * broad
    )
    center_x, center_y = _centers(dice, inside, most)
    nearest = torch.full_like(inside, 1e3)
    for index in range(most):
        own = (radius * dice.uniform(count, low=0.6, high=1.0))[:, None, None] if index else radius[:, None, None]
        stretch = dice.logarithmic(count, 1, 1, low=1.0, high=2.2)
        stretch = torch.where(dice.uniform(count, 1, 1) < 0.08, stretch * 2.5, stretch)  # thin ones: cracks, scars
        angle = dice.uniform(count, 1, 1, low=0, high=3.15)
        dx, dy = x - center_x[:, index, None, None], y - center_y[:, index, None, None]
        along = (dx * torch.cos(angle) + dy * torch.sin(angle)) / stretch.sqrt()
        across = (dy * torch.cos(angle) - dx * torch.sin(angle)) * stretch.sqrt()
        distance = torch.sqrt(along**2 + across**2 + 1e-8) / own
        used = (number > index)[:, None, None]
        nearest = torch.where(used, torch.minimum(nearest, distance), nearest)
    return nearest * torch.exp(ragged)


def _appearance(
    dice: Dice, images: Tensor, alpha: Tensor, distance: Tensor, kinds: Tensor, x: Tensor, y: Tensor
) -> Tensor:
    count, size = len(images), images.shape[-1]
    strength = dice.logarithmic(count, 1, 1, low=0.2, high=0.7)
    strength = torch.where(_of(kinds, "diffuse") > 0, strength.clamp(max=0.3), strength)
    texture = smooth_noise(dice, count, 1, size // 5, size)[:, 0]
    mottled = 1 + dice.uniform(count, 1, 1, low=0, high=0.3) * texture
    local = (images * alpha).sum(dim=(1, 2), keepdim=True) / alpha.sum(dim=(1, 2), keepdim=True).clamp(min=1e-3)
    up = dice.sign(count, 0.6)
    painted = alpha * mottled * strength
    result = images + painted * (_of(kinds, "bright") - _of(kinds, "dark") + _of(kinds, "diffuse") * up)
    flat = local + up * strength * mottled
    result = lerp(result, flat, alpha * _of(kinds, "replaced"))
    woven = local + texture * dice.uniform(count, 1, 1, low=0.1, high=0.3) + 0.3 * up * strength
    result = lerp(result, woven, alpha * _of(kinds, "texture"))
    result = lerp(result, _moved(dice, images, x, y), alpha * _of(kinds, "displaced"))
    result = result + alpha * _of(kinds, "noise") * dice.normal(*images.shape) * dice.uniform(
        count, 1, 1, low=0.1, high=0.3
    )
    thickness = dice.uniform(count, 1, 1, low=0.12, high=0.3)
    ring = torch.exp(-(((distance - 0.8) / thickness) ** 2)) * alpha
    core = torch.sigmoid((0.65 - distance) * 12) * alpha
    rings = ring * strength * up - core * dice.uniform(count, 1, 1, low=-0.1, high=0.3) * up
    result = result + rings * _of(kinds, "ring")
    # A core of its own within a soft halo; both belong to the lesion.
    halo = alpha * strength * dice.uniform(count, 1, 1, low=0.5, high=0.9)
    center = torch.sigmoid((dice.uniform(count, 1, 1, low=0.3, high=0.6) - distance) * 15) * dice.uniform(
        count, 1, 1, low=-0.5, high=0.4
    )
    return result + (halo + center * alpha) * _of(kinds, "edema") * dice.sign(count, 0.75)


def _moved(dice: Dice, images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The images, shifted and turned: tissue that does not belong where it is."""
    count = len(images)
    angle = dice.uniform(count, 1, 1, low=0.5, high=3.0)
    shift_x, shift_y = (dice.uniform(count, 1, 1, low=0.15, high=0.5) * dice.sign(count) for _ in range(2))
    turned_x = (x * torch.cos(angle) - y * torch.sin(angle)) * 0.7 + shift_x
    turned_y = (x * torch.sin(angle) + y * torch.cos(angle)) * 0.7 + shift_y
    return sample_at(images[:, None], turned_x, turned_y)[:, 0]
