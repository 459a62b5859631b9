"""Slices through generated heads: any plane and thickness, any kind of scan, with or without skull and lesions."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medzsad.generator.anatomy import BRAIN, LABEL, LABELS, Anatomy, make_anatomy
from medzsad.generator.contrasts import BRIGHT_CHANCE, CONTRAST_WEIGHTS, CONTRASTS, draw_signals
from medzsad.generator.fields import Dice, smooth_noise
from medzsad.generator.head_lesions import (
    IS_BRAIN,
    HeadLesions,
    caption_kind,
    draw_head_lesions,
    lesion_field,
    sample_volume,
)

_SUBPLANES = 2
# How far a tissue takes up edema: gray matter less than white.
_UPTAKE = torch.tensor(
    [{"gray": 0.55, "deep_gray": 0.9, "cerebellum": 0.9}.get(n, 1.0) if n in BRAIN else 0.0 for n in LABELS]
)
_IS_FLUID = torch.tensor([float(name == "fluid") for name in LABELS])
_VISIBLE = 0.05
# Share of healthy scans that are averages, like templates, and of how many heads.
_AVERAGES, _AVERAGED = 0.15, 4


@dataclass(frozen=True, slots=True)
class HeadSlices:
    """Slices of generated heads before a scanner's noise and window.

    Attributes:
        images: (n, h, w), about 0 to 1.
        masks: (n, h, w) float32, 1 inside a visible lesion.
        kinds: (n,) int64 index into `lesions.KINDS`; -1 without lesion.
    """

    images: Tensor
    masks: Tensor
    kinds: Tensor


def draw_heads(dice: Dice, count: int, size: int, lesion_share: float, anatomies: int) -> HeadSlices:
    """Slices of heads drawn at random; a share of them is given lesions, which not every slice meets.

    Args:
        dice: Random numbers.
        count: Slices.
        size: Their side in pixels.
        lesion_share: Share of the heads with lesions.
        anatomies: How many different heads there are; signals, planes and lesions differ every time. Each is made once
            in a process, which takes about a second and a half, and then holds 14 MB.
    """
    made = [_one_head(dice, size, lesion_share, anatomies) for _ in range(count)]
    images, masks, kinds = zip(*made, strict=True)
    return HeadSlices(torch.stack(images), torch.stack(masks), torch.tensor(kinds))


def _one_head(dice: Dice, size: int, lesion_share: float, anatomies: int) -> tuple[Tensor, Tensor, int]:
    anatomy = _any_anatomy(dice, anatomies)
    contrast = int(dice.choice(1, CONTRAST_WEIGHTS)[0])
    signals = draw_signals(dice, contrast)
    lesions = None
    if dice.number() < lesion_share:
        lesions = draw_head_lesions(dice, anatomy, float(BRIGHT_CHANCE[contrast]))
    points = _plane_points(dice, size, lesions)
    heads = [anatomy]
    if lesions is None and dice.number() < _AVERAGES:
        heads += [_any_anatomy(dice, anatomies) for _ in range(_AVERAGED - 1)]
    scene = _Scene(dice, heads, signals, CONTRASTS[contrast], lesions)
    image, mask, healthy = scene.render(points)
    if lesions is None:
        return image, mask, -1
    area = float(mask.sum())
    change = float(((image - healthy).abs() * mask).sum()) / max(area, 1.0)
    if area < 3 or change < _VISIBLE:
        return healthy, torch.zeros_like(mask), -1
    return image, mask, caption_kind(lesions.kind)


def _any_anatomy(dice: Dice, anatomies: int) -> Anatomy:
    return make_anatomy(int(torch.randint(anatomies, (1,), generator=dice.source)))


def _plane_points(dice: Dice, size: int, lesions: HeadLesions | None) -> Tensor:
    """(sub-planes, size, size, 3) points in millimeters of a slice as it is shown: nose or vertex up."""
    plane = int(dice.choice(1, (0.6, 0.22, 0.18))[0])  # axial, sagittal, coronal
    normal = (2, 0, 1)[plane]
    right, up = ((0, 1), (1, 2), (0, 2))[plane]
    low, high = ((-75, 74), (-62, 62), (-85, 80))[plane]
    position = dice.number(low, high)
    if lesions is not None and dice.number() < 0.8:
        which = int(torch.randint(len(lesions.centers_mm), (1,), generator=dice.source))
        position = float(lesions.centers_mm[which, normal]) + 0.5 * float(lesions.radii_mm[which, normal]) * float(
            dice.normal(1)[0]
        )
    view_mm = dice.number(175, 265) * (dice.number(0.4, 0.8) if dice.number() < 0.08 else 1.0)
    line = (torch.arange(size) + 0.5) / size - 0.5
    rows, columns = torch.meshgrid(-line, line, indexing="ij")
    angle = torch.tensor(
        dice.number(-0.22, 0.22) + (int(dice.number(0, 4)) * torch.pi / 2 if dice.number() < 0.08 else 0)
    )
    stretch = dice.number(0.92, 1.08)
    across, along = (
        columns * torch.cos(angle) - rows * torch.sin(angle),
        columns * torch.sin(angle) + rows * torch.cos(angle),
    )
    flip = -1.0 if dice.number() < 0.5 else 1.0
    points = torch.zeros(_SUBPLANES, size, size, 3)
    middle = {0: 0.0, 1: 6.0, 2: 4.0 if plane == 0 else dice.number(-35, 0)}
    points[..., right] = flip * across * view_mm * stretch + middle[right] + dice.number(-8, 8)
    points[..., up] = along * view_mm / stretch + middle[up] + dice.number(-8, 8)
    thick_mm = dice.number(0.5, 7.0)
    offsets = (torch.arange(_SUBPLANES) / max(_SUBPLANES - 1, 1) - 0.5) * 0.6 * thick_mm
    tilt_x, tilt_y = (dice.number(-0.25, 0.25) if dice.number() < 0.6 else 0.0 for _ in range(2))
    points[..., normal] = position + offsets[:, None, None] + view_mm * (tilt_x * columns + tilt_y * rows)
    return points


class _Scene:
    """One head under one scanner, or the average of several: what its points look like."""

    def __init__(
        self, dice: Dice, heads: list[Anatomy], signals: Tensor, contrast: str, lesions: HeadLesions | None
    ) -> None:
        self.dice, self.contrast, self.lesions = dice, contrast, lesions
        self.heads, self.tables = heads, torch.stack((signals, _UPTAKE, IS_BRAIN.float(), _IS_FLUID))
        self.white = float(signals[LABEL["white"]])
        self.bystander = draw_head_lesions(dice, heads[0], 0.6) if dice.number() < 0.35 else None

    def render(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The slice, the mask of its lesions, and the slice without them; each (h, w)."""
        pushed = self._pushed(points)
        values = torch.stack([sample_volume(head, self.tables, pushed) for head in self.heads]).mean(dim=0)
        signal, uptake, brain, fluid, depth, ventricle = values
        signal = self._textured(signal)
        if self.bystander is not None:
            signal = self._with_bystander(signal, points, depth, ventricle, brain, fluid)
        changed, alpha = signal, torch.zeros_like(signal)
        if self.lesions is not None:
            changed, alpha = self._with_lesions(signal, points, uptake, depth, ventricle)
        keep = self._kept(depth.mean(0), brain.mean(0), fluid.mean(0))
        coil = 1 + self.dice.number(0, 0.5) * torch.exp(-depth.mean(0).clamp(min=0) / 18)
        gain = keep * coil if self.contrast != "ct" else keep
        limit = 1.0 if self.contrast == "ct" else 3.0
        image, healthy = (x.mean(0).clamp(0, limit) * gain for x in (changed, signal))
        return image, ((alpha.mean(0) * keep) > 0.42).float(), healthy

    def _pushed(self, points: Tensor) -> Tensor:
        """Where the tissue at the points would lie in a head without the mass."""
        lesions = self.lesions
        if lesions is None or lesions.kind not in {"tumor", "ring", "solid"} or self.dice.number() < 0.6:
            return points
        away = points - lesions.centers_mm[0]
        reach = 1.2 * float(lesions.radii_mm[0].mean())
        push = 0.45 * torch.exp(-0.5 * (away.norm(dim=-1, keepdim=True) / reach) ** 2)
        return lesions.centers_mm[0] + away * (1 - push)

    def _textured(self, signal: Tensor) -> Tensor:
        size = signal.shape[-1]
        grain = smooth_noise(self.dice, 1, 1, size // int(self.dice.number(2, 9)), size)[0, 0]
        return signal * (1 + self.dice.number(0, 0.06) * grain)

    def _with_bystander(
        self, signal: Tensor, points: Tensor, depth: Tensor, ventricle: Tensor, brain: Tensor, fluid: Tensor
    ) -> Tensor:
        """A lesion-like change outside the brain or in its fluid, where it is healthy: flow, mucosa, fat, a coil."""
        assert self.bystander is not None
        found = replace(self.bystander, kind="solid", radii_mm=self.bystander.radii_mm * 1.5)
        shift = torch.tensor([0.0, self.dice.number(0, 60), self.dice.number(-60, 0)])
        alpha, _, mottled = lesion_field(found, points - shift, depth, ventricle)
        outside = (depth < -1).float() + 0.8 * fluid * (depth >= -1)
        change = found.strength * (1 + found.mottled * mottled)
        return signal + alpha * outside.clamp(max=1) * (1 - brain) * change * (signal > 0.04)

    def _with_lesions(
        self, signal: Tensor, points: Tensor, uptake: Tensor, depth: Tensor, ventricle: Tensor
    ) -> tuple[Tensor, Tensor]:
        lesions = self.lesions
        assert lesions is not None
        alpha, radius, mottled = lesion_field(lesions, points, depth, ventricle)
        inside = (depth > 0.8).float()
        uneven = 1 + lesions.mottled * mottled
        core = torch.sigmoid((lesions.core_size - radius) * 12)
        if lesions.kind in {"solid", "ring", "crescent", "foreign"}:
            level = self.white + lesions.strength * uneven * (0.5 if lesions.kind == "foreign" else 1.0)
            if lesions.kind == "foreign":
                level = level + 0.15 * mottled
            level = level + core * lesions.core * lesions.strength
            alpha = alpha * inside
            return signal + (level.clamp(min=0.02) - signal) * alpha, alpha
        weight = alpha * uptake
        changed = signal + weight * lesions.strength * uneven
        if lesions.core:
            middle = core * alpha * inside
            changed = changed + (abs(self.white + lesions.strength * (1 + lesions.core)) - changed) * middle
            weight = torch.maximum(weight, middle)
        return changed.clamp(min=0), weight

    def _kept(self, depth: Tensor, brain: Tensor, fluid: Tensor) -> Tensor:
        """1 where the picture shows the head, 0 where a program has cut the skull away."""
        if self.dice.number() > (0.1 if self.contrast == "ct" else 0.36):
            return torch.ones_like(depth)
        size = depth.shape[-1]
        uneven = self.dice.number(0, 2.5) * smooth_noise(self.dice, 1, 1, 9, size)[0, 0]
        wall = (depth > self.dice.number(-3.0, 3.5) + uneven).float()
        if self.dice.number() < 0.35:  # fluid between the parts of the brain goes, too
            wall = wall * ((brain + (fluid * (depth > 12))) > 0.5).float()
        if self.dice.number() < 0.2:  # remains of what lay outside
            blob = smooth_noise(self.dice, 1, 1, 6, size)[0, 0] > 1.2
            wall = torch.maximum(wall, (blob & (depth > -25)).float() * self.dice.number(0.3, 1.0))
        return wall
