"""What lies inside healthy generated bodies: folds, paired organs, vessels, seams, busy regions, shells, shading.

All of it may be conspicuous and none of it is a lesion. What tells the two apart is that healthy things come in pairs,
lie on the line of symmetry, or belong to a region that is busy all over. Half of the bodies are plain: if all were
full of conspicuous healthy things, a conspicuous lesion in a plain one would count for little.
"""

import torch
from torch import Tensor

from medzsad.generator.bodies import Frame, is_family
from medzsad.generator.fields import Dice, lerp, ridge, sample_at, smooth_noise


def inner_structures(dice: Dice, frame: Frame, family: Tensor, tissue: Tensor) -> Tensor:
    """Tissue (n, h, w) with healthy structures in it."""
    head, bodies = is_family(family, "head"), is_family(family, "head", "body", "object")
    noise = sample_at(smooth_noise(dice, len(tissue), 3, 12, 48), frame.mirrored * 0.9, frame.v * 0.9)
    # Plain bodies have no more than pairs at their center and a seam.
    rich = dice.chance(len(tissue), 0.5)
    full = _folded(dice, frame, head, tissue, noise[:, 0])
    full = _busy(dice, frame, bodies, full)
    tissue = lerp(tissue, full, rich)
    tissue = _paired(dice, frame, bodies, tissue, noise[:, 1], rich)
    tissue = _shells(dice, frame, head, bodies * rich, tissue, noise[:, 1])
    tissue = _central(dice, frame, head, tissue, noise[:, 1])
    tissue = lerp(tissue, _with_vessels(dice, tissue, noise[:, 1], noise[:, 2]), rich)
    return _with_seam(dice, frame, head, tissue)


def _folded(dice: Dice, frame: Frame, head: Tensor, tissue: Tensor, noise: Tensor) -> Tensor:
    """Folds as of a brain's surface: dark or bright curves that grow toward the rim."""
    count = len(tissue)
    weight = torch.sigmoid((frame.radius - dice.uniform(count, 1, 1, low=0.4, high=0.75)) * 12)
    folds = ridge(noise, dice.uniform(count, 1, 1, low=0.12, high=0.4)) * weight
    present = lerp(dice.chance(count, 0.25), dice.chance(count, 0.75), head)
    return tissue + folds * present * dice.sign(count, 0.25) * dice.uniform(count, 1, 1, low=0.04, high=0.3)


def _busy(dice: Dice, frame: Frame, bodies: Tensor, tissue: Tensor) -> Tensor:
    """One side of the body full of strong contrasts, mirrored where the body is: bone and air, bowel, vertebrae."""
    count = len(tissue)
    zoom = dice.logarithmic(count, 1, 1, low=0.35, high=1.0)
    fields = sample_at(smooth_noise(dice, count, 5, 8, 48), frame.mirrored * zoom, frame.v * zoom)
    shares = torch.softmax(fields[:, :4] * dice.logarithmic(count, 1, 1, 1, low=5, high=40), dim=1)
    content = torch.einsum("nkhw,nk->nhw", shares, dice.uniform(count, 4, low=0.0, high=1.1))
    side = dice.sign(count) * frame.v + 0.25 * fields[:, 4]
    where = torch.sigmoid(
        (side - dice.uniform(count, 1, 1, low=-0.2, high=0.7)) * dice.logarithmic(count, 1, 1, low=4, high=30)
    )
    return lerp(tissue, content, where * bodies * dice.chance(count, 0.3))


def _paired(dice: Dice, frame: Frame, bodies: Tensor, tissue: Tensor, noise: Tensor, rich: Tensor) -> Tensor:
    """Soft ellipses at mirrored places, not always quite equal; two at the center, as ventricles are."""
    count = len(tissue)
    for index, chance in enumerate((0.8, 0.5, 0.5, 0.4, 0.4, 0.3)):
        pair = _pair(dice, frame, noise, central=index < 2)
        value = tissue.mean(dim=(1, 2), keepdim=True) + dice.sign(count, 0.45) * dice.uniform(
            count, 1, 1, low=0.05, high=0.45
        )
        # A single blob away from the middle is what a lesion looks like: sound ones come in pairs.
        allowed = frame.symmetric * rich if index > 1 else torch.ones(count, 1, 1)
        # Cuts are never quite square to the body: one side may show less of a pair.
        weaker = lerp(torch.ones(count, 1, 1), dice.uniform(count, 1, 1, low=0.7, high=1.0), dice.chance(count, 0.3))
        strength = lerp(torch.ones_like(frame.u), weaker, torch.sigmoid(frame.u * 30))
        tissue = lerp(tissue, value, pair * strength * bodies * allowed * dice.chance(count, chance))
    return tissue


def _pair(dice: Dice, frame: Frame, noise: Tensor, *, central: bool) -> Tensor:
    count = len(noise)
    if central:
        u0, v0 = dice.uniform(count, 1, 1, low=0.0, high=0.2), dice.uniform(count, 1, 1, low=-0.45, high=0.45)
        a, b = dice.uniform(count, 1, 1, low=0.03, high=0.14), dice.logarithmic(count, 1, 1, low=0.05, high=0.4)
    else:
        u0, v0 = dice.uniform(count, 1, 1, low=0.0, high=0.75), dice.uniform(count, 1, 1, low=-0.85, high=0.85)
        a, b = (dice.logarithmic(count, 1, 1, low=0.03, high=0.3) for _ in range(2))
    distance = _distance(dice, frame, u0, v0, a, b) + 0.25 * noise
    return torch.sigmoid((1 - distance) * dice.logarithmic(count, 1, 1, low=3, high=20))


def _distance(dice: Dice, frame: Frame, u0: Tensor, v0: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Distance from (u0, v0), mirrored where the body is, in units of the half axes of a turned ellipse."""
    angle = dice.uniform(len(u0), 1, 1, low=-0.6, high=0.6)
    du, dv = frame.mirrored - u0, frame.v - v0
    along, across = du * torch.cos(angle) + dv * torch.sin(angle), dv * torch.cos(angle) - du * torch.sin(angle)
    return torch.sqrt((along / a) ** 2 + (across / b) ** 2 + 1e-6)


def _shells(dice: Dice, frame: Frame, head: Tensor, bodies: Tensor, tissue: Tensor, noise: Tensor) -> Tensor:
    """Conspicuous round pairs with a wall and content of their own, often near the rim: eyes, kidneys, sinuses."""
    count = len(tissue)
    u0 = dice.uniform(count, 1, 1, low=0.05, high=0.65)
    v0 = dice.sign(count) * dice.uniform(count, 1, 1, low=0.0, high=0.85)
    a = dice.logarithmic(count, 1, 1, low=0.03, high=0.28)
    distance = _distance(dice, frame, u0, v0, a, a * dice.logarithmic(count, 1, 1, low=0.7, high=1.6)) + 0.1 * noise
    sharp = dice.logarithmic(count, 1, 1, low=8, high=40)
    chance = lerp(dice.chance(count, 0.2), dice.chance(count, 0.35), head)
    present = chance * bodies * frame.symmetric
    for radius in (1.0, 0.75, 0.35):
        value = dice.uniform(count, 1, 1, low=0.0, high=1.1)
        layer = torch.sigmoid((radius - distance) * sharp) * dice.chance(count, 0.75)
        tissue = lerp(tissue, value, layer * present)
    return tissue


def _central(dice: Dice, frame: Frame, head: Tensor, tissue: Tensor, noise: Tensor) -> Tensor:
    """Heads whose middle is darker or brighter all over, as where a slice grazes the top of the brain."""
    count = len(tissue)
    a, b = dice.uniform(count, 1, 1, low=0.15, high=0.6), dice.uniform(count, 1, 1, low=0.25, high=0.8)
    distance = _distance(dice, frame, torch.zeros_like(a), dice.uniform(count, 1, 1, low=-0.3, high=0.3), a, b)
    middle = torch.sigmoid((1 - distance - 0.3 * noise) * dice.logarithmic(count, 1, 1, low=2, high=12))
    change = dice.sign(count, 0.35) * dice.uniform(count, 1, 1, low=0.1, high=0.5)
    return tissue + change * middle * head * dice.chance(count, 0.2)


def _with_vessels(dice: Dice, tissue: Tensor, coarse: Tensor, fine: Tensor) -> Tensor:
    count = len(tissue)
    vessels = ridge(fine, dice.uniform(count, 1, 1, low=0.04, high=0.12)) * torch.sigmoid(coarse * 8 - 3)
    strength = dice.sign(count, 0.65) * dice.uniform(count, 1, 1, low=0.1, high=0.5)
    return tissue + vessels * dice.chance(count, 0.4) * strength


def _with_seam(dice: Dice, frame: Frame, head: Tensor, tissue: Tensor) -> Tensor:
    """A bright or dark seam along the line of symmetry."""
    count = len(tissue)
    seam = torch.exp(-((frame.u / 0.015) ** 2)) * (frame.radius > dice.uniform(count, 1, 1, low=0.2, high=0.9))
    strength = dice.sign(count, 0.4) * dice.uniform(count, 1, 1, low=0.05, high=0.3)
    return tissue + seam * head * dice.chance(count, 0.5) * strength
