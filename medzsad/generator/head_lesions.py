"""Lesions of generated heads, as fields over points in three dimensions."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from medzsad.generator.anatomy import BRAIN, CENTER_MM, LABELS, SHAPE, VOXEL_MM, Anatomy
from medzsad.generator.fields import Dice
from medzsad.generator.lesions import KINDS

IS_BRAIN = torch.tensor([name in BRAIN for name in LABELS])
# Kinds of head lesions, their shares, and the kind of `lesions.KINDS` that captions call them by.
HEAD_KINDS = {
    "tumor": (0.24, "edema"),
    "ring": (0.13, "ring"),
    "solid": (0.13, "bright"),
    "many": (0.16, "bright"),
    "confluent": (0.06, "diffuse"),
    "crescent": (0.06, "replaced"),
    "hypointense": (0.10, "dark"),
    "cortical": (0.08, "diffuse"),
    "foreign": (0.04, "texture"),
}
_COARSE = 3
_HALF_MM = torch.tensor([(n * VOXEL_MM) / 2 for n in SHAPE])
_MIDDLE_MM = torch.tensor(CENTER_MM)


def sample_volume(anatomy: Anatomy, tables: Tensor, points_mm: Tensor) -> Tensor:
    """(t + 2, ...) trilinear values at points (..., 3): of each table by label, then depth and ventricle distance.

    Only the part of the head that the points lie in is looked at. Beyond the field the tables' value of air holds.

    Args:
        anatomy: The head.
        tables: (t, labels) values.
        points_mm: (..., 3).
    """
    index = (points_mm - _MIDDLE_MM + _HALF_MM) / VOXEL_MM - 0.5
    flat = index.reshape(-1, 3)
    low = (flat.amin(dim=0).floor().long() - 1).clamp(min=0)
    high = torch.minimum(flat.amax(dim=0).ceil().long() + 2, torch.tensor(SHAPE))
    low = torch.minimum(low, torch.tensor(SHAPE) - 2)
    high = torch.maximum(high, low + 2)
    part = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    labels = anatomy.labels[part]
    fields = tables[:, labels.reshape(-1).int()].reshape(len(tables), *labels.shape)
    fields = torch.cat((fields, anatomy.depth_mm[part][None].float(), anatomy.ventricle_mm[part][None].float()))
    where = ((flat - low + 0.5) * (2 / (high - low)) - 1).flip(-1)  # grid_sample wants z, y, x
    found = grid_sample(
        fields[None], where.reshape(1, 1, 1, -1, 3), mode="bilinear", padding_mode="border", align_corners=False
    )
    inside = ((flat > -0.5) & (flat < torch.tensor(SHAPE) - 0.5)).all(dim=1)
    outside = torch.cat((tables[:, 0], torch.tensor((-50.0, 100.0))))
    found = torch.where(inside, found.reshape(len(fields), -1), outside[:, None])
    return found.reshape(len(fields), *points_mm.shape[:-1])


@dataclass(frozen=True, slots=True)
class HeadLesions:
    """The lesions of one head.

    Attributes:
        kind: Name in HEAD_KINDS.
        centers_mm: (n, 3).
        radii_mm: (n, 3) half axes.
        turns: (n, 3, 3) rotations.
        noise: (2, 12, 12, 12) fields that make outlines ragged and interiors mottled.
        ragged: How far outlines deviate.
        soft: Steepness of the rim.
        strength: Signed change of the signal.
        core: Signed change in the middle, relative to `strength`.
        core_size: Radius of that middle, relative to the lesion's.
        mottled: Strength of the interior's unevenness.
    """

    kind: str
    centers_mm: Tensor
    radii_mm: Tensor
    turns: Tensor
    noise: Tensor
    ragged: float
    soft: float
    strength: float
    core: float
    core_size: float
    mottled: float


def _log(dice: Dice, low: float, high: float) -> float:
    return float(dice.logarithmic(1, low=low, high=high)[0])


def draw_head_lesions(dice: Dice, anatomy: Anatomy, bright_chance: float) -> HeadLesions:
    """Lesions for one head.

    Args:
        dice: Random numbers.
        anatomy: The head.
        bright_chance: How often lesions are brighter than what surrounds them.
    """
    names = list(HEAD_KINDS)
    kind = names[int(dice.choice(1, tuple(share for share, _ in HEAD_KINDS.values()))[0])]
    count, low, high = {"many": (1 + int(_log(dice, 2, 40)), 1.2, 6.0), "cortical": (1, 8.0, 30.0)}.get(
        kind, (1 if dice.number(0, 1) < 0.8 else 1 + int(dice.number(1, 4)), 4.0, 42.0)
    )
    centers = _centers(dice, anatomy, kind, count)
    base = dice.logarithmic(count, 1, low=low, high=high)
    radii = base * dice.logarithmic(count, 3, low=0.65, high=1.5)
    up = kind != "hypointense" and dice.number(0, 1) < max(bright_chance, 0.15 if kind == "many" else 0.0)
    strength = _log(dice, 0.1, 0.55) * (1.0 if up else -1.0)
    return HeadLesions(
        kind,
        centers,
        radii,
        _turns(dice, count),
        dice.normal(2, 12, 12, 12),
        dice.number(0.08, 0.4),
        _log(dice, 3.0, 18.0),
        strength,
        dice.number(-1.6, 0.6) if kind in {"tumor", "ring", "solid"} and dice.number(0, 1) < 0.6 else 0.0,
        dice.number(0.25, 0.65) if kind != "ring" else dice.number(0.6, 0.85),
        dice.number(0.0, 0.35),
    )


def _centers(dice: Dice, anatomy: Anatomy, kind: str, count: int) -> Tensor:
    depth, ventricle = (x[::_COARSE, ::_COARSE, ::_COARSE] for x in (anatomy.depth_mm, anatomy.ventricle_mm))
    allowed = IS_BRAIN[anatomy.labels[::_COARSE, ::_COARSE, ::_COARSE].int()]
    if kind in {"many", "confluent"}:
        allowed = allowed & (depth > 6) & (ventricle < (30 if kind == "many" else 12))
    elif kind == "crescent":
        allowed = (depth > 0) & (depth < 6)
    elif kind == "cortical":
        allowed = allowed & (depth < 14)
    elif kind == "solid" and dice.number(0, 1) < 0.3:
        allowed = (depth > 0) & (depth < 8)  # on the dura
    places = allowed.nonzero()
    picks = places[torch.randint(len(places), (count,), generator=dice.source)].float()
    index = (picks + dice.uniform(count, 3)) * _COARSE - 0.5
    sides = torch.tensor([float(n - 1) / 2 for n in SHAPE])
    return (index - sides) * VOXEL_MM + _MIDDLE_MM


def _turns(dice: Dice, count: int) -> Tensor:
    found: Tensor = torch.linalg.qr(dice.normal(count, 3, 3)).Q
    return found


def lesion_field(lesions: HeadLesions, points_mm: Tensor, depth_mm: Tensor, ventricle_mm: Tensor) -> tuple[Tensor, ...]:
    """How much of a lesion there is at points (sub-planes, h, w, 3), from 0 to 1, its radius there, and its mottling.

    The radius is below 1 inside. The brain's limits are not regarded here.
    """
    # Sub-planes lie close together, and the noise is smooth: the first stands for all.
    flat = (points_mm[:1] / 70.0).reshape(1, 1, 1, -1, 3)
    coarse = grid_sample(lesions.noise[None], flat, mode="bilinear", padding_mode="reflection", align_corners=False)
    fine = grid_sample(lesions.noise[None], flat * 2.7, mode="bilinear", padding_mode="reflection", align_corners=False)
    shape, plane = points_mm.shape[:-1], (1, *points_mm.shape[1:-1])
    rough = (coarse[0, 0] + 0.6 * fine[0, 0]).reshape(plane)
    mottled = (coarse[0, 1] + fine[0, 1]).reshape(plane)
    nearest = torch.full(shape, 1e3)
    for center, radii, turn in zip(lesions.centers_mm, lesions.radii_mm, lesions.turns, strict=True):
        nearest = torch.minimum(nearest, (((points_mm - center) @ turn) / radii).norm(dim=-1))
    radius = nearest * torch.exp(lesions.ragged * rough)
    if lesions.kind == "confluent":
        reach = float(lesions.radii_mm.mean()) * 0.45
        radius = (ventricle_mm / reach) * torch.exp(0.6 * rough) + 0.05
    if lesions.kind == "crescent":
        cap = (points_mm - lesions.centers_mm[0]).norm(dim=-1) / (20 + 2 * float(lesions.radii_mm.max()))
        thick = 3 + 0.35 * float(lesions.radii_mm.mean())
        radius = torch.maximum(cap, depth_mm / (thick * (1 - cap.clamp(max=1) ** 2).clamp(min=0.05)))
        radius = torch.where(depth_mm < 0.5, torch.full_like(radius, 9.0), radius * torch.exp(0.15 * rough))
    return torch.sigmoid((1 - radius) * lesions.soft), radius, mottled


def caption_kind(kind: str) -> int:
    """Index into `lesions.KINDS` of a head lesion's kind."""
    return KINDS.index(HEAD_KINDS[kind][1])
