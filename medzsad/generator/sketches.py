"""Pictures like slices of bodies, tissues, layers and objects in general, when no organ in particular is meant.

A slice is a label map (the argmax of smooth random fields, mostly mirrored left-right, so that asymmetry means
something) with random brightness per label, inside a body with rims, symmetric inner structures, folds and vessels.
"""

import torch
from torch import Tensor

from medzsad.generator.bodies import Frame, body_frame, is_family
from medzsad.generator.fields import Dice, lerp, sample_at, smooth_noise
from medzsad.generator.lesions import WithLesions, add_lesions
from medzsad.generator.structures import inner_structures

_LABELS = 5


def draw_sketches(dice: Dice, family: Tensor, size: int, lesion_share: float) -> WithLesions:
    """Slices with lesions in a share of them, of the given families (n,), indices into `bodies.FAMILIES`."""
    frame = body_frame(dice, len(family), size, family)
    tissue = _tissue(dice, frame, family)
    tissue = inner_structures(dice, frame, family, tissue)
    image, inside = _rims_and_background(dice, frame, family, tissue)
    return add_lesions(dice, image, inside, frame.x, frame.y, lesion_share)


def _tissue(dice: Dice, frame: Frame, family: Tensor) -> Tensor:
    count, size = frame.x.shape[0], frame.x.shape[-1]
    zoom = dice.logarithmic(count, 1, 1, low=0.3, high=1.2)
    fields = sample_at(smooth_noise(dice, count, _LABELS, 6, 32), frame.mirrored * zoom, frame.v * zoom)
    sharpness = dice.logarithmic(count, 1, 1, 1, low=4, high=50)
    shares = torch.softmax(fields * sharpness + 2 * dice.normal(count, _LABELS, 1, 1), dim=1)
    contrast = dice.logarithmic(count, 1, low=0.01, high=0.3)
    means = dice.uniform(count, 1, low=0.25, high=0.7) + contrast * dice.normal(count, _LABELS)
    tissue = torch.einsum("nkhw,nk->nhw", shares, means)
    layered = _layers(dice, frame)
    tissue = lerp(tissue, layered, is_family(family, "layers"))
    strength = lerp(
        torch.full((count, 1), 0.02), torch.full((count, 1), 0.08), is_family(family, "surface", "object")[..., 0]
    )
    amplitude = strength * dice.logarithmic(count, _LABELS, low=0.15, high=2.5)
    fine, middle = (
        smooth_noise(dice, count, 1, size // 3, size)[:, 0],
        smooth_noise(dice, count, 1, size // 9, size)[:, 0],
    )
    grain = lerp(fine, middle, dice.uniform(count, 1, 1))
    tissue = tissue + grain * torch.einsum("nkhw,nk->nhw", shares, amplitude)
    return tissue + _stripes(dice, frame) * is_family(family, "surface", "object") * dice.chance(count, 0.5)


def _layers(dice: Dice, frame: Frame) -> Tensor:
    count, size = frame.x.shape[0], frame.x.shape[-1]
    nodes = 32
    steps = dice.normal(count, nodes)
    keep = (dice.uniform(count, nodes) < 0.5).float()
    for node in range(1, nodes):  # runs of equal brightness are layers of unequal thickness
        steps[:, node] = torch.where(keep[:, node] > 0, steps[:, node - 1], steps[:, node])
    values = (0.35 + 0.22 * steps).clamp(0, 1)
    bend = dice.uniform(count, 1, 1, low=0.0, high=0.25) * smooth_noise(dice, count, 1, 3, size)[:, 0]
    depth = (frame.v + bend[:, size // 2, None, :]) * dice.uniform(count, 1, 1, low=0.6, high=1.6)
    table = values[:, None, :, None].expand(-1, 1, nodes, 2)
    return sample_at(table, torch.zeros_like(depth), depth)[:, 0]


def _stripes(dice: Dice, frame: Frame) -> Tensor:
    count, size = frame.x.shape[0], frame.x.shape[-1]
    angle = dice.uniform(count, 1, 1, low=0, high=3.15)
    waves = dice.logarithmic(count, 1, 1, low=6, high=60)
    phase = waves * (frame.x * torch.cos(angle) + frame.y * torch.sin(angle))
    bent = dice.logarithmic(count, 1, 1, low=0.1, high=2.0) * smooth_noise(dice, count, 1, 5, size)[:, 0]
    return dice.uniform(count, 1, 1, low=0.02, high=0.15) * torch.sin(phase + bent)


def _rims_and_background(dice: Dice, frame: Frame, family: Tensor, tissue: Tensor) -> tuple[Tensor, Tensor]:
    """The body with up to three rims on its background, and where lesions may lie (0..1)."""
    count, size = frame.x.shape[0], frame.x.shape[-1]
    rimmed = torch.maximum(
        is_family(family, "head") * dice.chance(count, 0.92), is_family(family, "body") * dice.chance(count, 0.6)
    )
    uneven = 0.015 * smooth_noise(dice, count, 1, 8, size)[:, 0]
    edges = dice.uniform(count, 4, low=0.01, high=0.07).cumsum(dim=1).flip(1)
    radius, image = frame.radius + uneven, tissue
    sharp = dice.logarithmic(count, 1, 1, low=40, high=200)
    for layer in range(3):
        inner, outer = (1 - edges[:, layer])[:, None, None], (1 - edges[:, layer + 1])[:, None, None]
        band = torch.sigmoid((radius - inner) * sharp) * torch.sigmoid((outer - radius) * sharp)
        dark_first = dice.sign(count, 0.35 + 0.2 * layer) * dice.uniform(count, 1, 1, low=0.15, high=0.6)
        image = lerp(image, 0.45 + dark_first, band * rimmed * dice.chance(count, 0.7))
    outside = torch.sigmoid((frame.radius - 1) * dice.logarithmic(count, 1, 1, low=40, high=150))
    dark = torch.maximum(dice.chance(count, 0.85), is_family(family, "head"))
    ground = lerp(dice.uniform(count, 1, 1, low=0, high=1), dice.uniform(count, 1, 1, low=0, high=0.06), dark)
    image = lerp(image.clamp(-0.1, 1.3), ground, outside)
    limit = lerp(torch.full((count, 1, 1), 0.98), (1 - edges[:, :1])[..., None], rimmed)
    return image, torch.sigmoid((limit - frame.radius) * 50)
