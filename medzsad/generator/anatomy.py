"""Heads in three dimensions: label maps of generated anatomy, made of ellipsoids, smooth noise and distances.

Coordinates are millimeters from the middle of the brain: x to one side, y to the front, z upward. All sizes and places
come from general knowledge of anatomy and random numbers; nothing is taken from a patient.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch.nn.functional import interpolate

LABELS = (
    "air", "skin", "fat", "muscle", "bone", "marrow", "fluid", "gray", "white", "deep_gray", "pallidum", "stem",
    "cerebellum", "vitreous", "lens", "mucosa", "vein", "artery", "choroid", "pineal", "pituitary", "dura", "tongue",
    "teeth", "cap",
)  # fmt: skip
LABEL = {name: number for number, name in enumerate(LABELS)}
BRAIN = ("gray", "white", "deep_gray", "pallidum", "stem", "cerebellum", "cap")

VOXEL_MM = 1.6
SHAPE = (124, 152, 148)  # x, y, z
# The field lies lower than the brain: face and neck are in it.
CENTER_MM = (0.0, 6.0, -22.0)

Grid = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Anatomy:
    """One head.

    Attributes:
        labels: (x, y, z) uint8, index into LABELS, voxels of VOXEL_MM.
        depth_mm: (x, y, z) float16, distance inside the cranial cavity from its wall; negative outside.
        ventricle_mm: (x, y, z) float16, distance from the ventricles, 0 inside them.
    """

    labels: torch.Tensor
    depth_mm: torch.Tensor
    ventricle_mm: torch.Tensor


class _Builder:
    """Coordinates with a smooth random warp, and what is painted so far."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng([31415, seed])
        self.source = torch.Generator().manual_seed(seed + 2**40)
        axes = [
            (np.arange(n, dtype=np.float32) - (n - 1) / 2) * VOXEL_MM + c for n, c in zip(SHAPE, CENTER_MM, strict=True)
        ]
        x, y, z = np.meshgrid(*axes, indexing="ij")
        size = self.random.uniform(0.92, 1.08) * self.random.uniform(0.95, 1.05, 3)
        self.x = x / np.float32(size[0]) + 3 * self.noise(4)
        self.y = y / np.float32(size[1]) + 3 * self.noise(4)
        self.z = z / np.float32(size[2]) + 3 * self.noise(4)
        # Both sides share their noise up to a little: that is what symmetry is.
        self.side = np.sign(self.x)
        self.mx = np.abs(self.x + 1.2 * self.noise(5))
        self.labels = np.zeros(SHAPE, np.uint8)

    def noise(self, cells: int) -> Grid:
        """A smooth field of about unit variance with so many cells along an axis."""
        coarse = torch.randn(1, 1, cells + 2, cells + 2, cells + 2, generator=self.source)
        fine = interpolate(coarse, scale_factor=3, mode="trilinear", align_corners=False)
        field = interpolate(fine, size=SHAPE, mode="trilinear", align_corners=False)[0, 0]
        return np.asarray(field.numpy() * np.float32(1.5))

    def paired(self, cells: int) -> Grid:
        """A field that is almost the same on both sides."""
        half = torch.randn(1, 1, cells // 2 + 2, cells + 2, cells + 2, generator=self.source)
        # Warped coordinates decide where the mirror lies; the plain grid is near enough for noise.
        both = torch.cat((half.flip(2), half), dim=2)
        fine = interpolate(both, scale_factor=3, mode="trilinear", align_corners=False)
        field = interpolate(fine, size=SHAPE, mode="trilinear", align_corners=False)[0, 0].numpy()
        return np.asarray(np.float32(1.5) * field + np.float32(0.5) * self.noise(cells))

    def ellipsoid(self, center: tuple[float, ...], radii: tuple[float, ...], *, pair: bool = False) -> Grid:
        """Signed distance in about millimeters, negative inside; of both sides if it is one of a pair."""
        random = self.random.uniform(0.92, 1.08, 3)
        rx, ry, rz = (np.float32(r * s) for r, s in zip(radii, random, strict=True))
        dx, dy, dz = (self.mx if pair else self.x) - center[0], self.y - center[1], self.z - center[2]
        k0 = np.sqrt((dx / rx) ** 2 + (dy / ry) ** 2 + (dz / rz) ** 2)
        k1 = np.sqrt((dx / rx**2) ** 2 + (dy / ry**2) ** 2 + (dz / rz**2) ** 2)
        return np.asarray(k0 * (k0 - 1) / np.maximum(k1, 1e-4), np.float32)

    def paint(self, where: NDArray[np.bool_], label: str) -> None:
        self.labels[where] = LABEL[label]


def _union(*parts: Grid, blend: float = 6.0) -> Grid:
    """Smooth minimum of signed distances."""
    result = parts[0]
    for part in parts[1:]:
        h = np.clip(0.5 + 0.5 * (part - result) / blend, 0, 1)
        result = part + (result - part) * h - blend * h * (1 - h)
    return result


@lru_cache(maxsize=64)
def make_anatomy(seed: int) -> Anatomy:
    """The head of a seed; takes about two seconds."""
    build = _Builder(seed)
    cerebrum = _union(
        build.ellipsoid((0, 0, 12), (66, 84, 56)),
        build.ellipsoid((0, -2, 2), (62, 76, 44)),
        build.ellipsoid((42, 14, -24), (23, 36, 19), pair=True),
    )
    cerebellum = build.ellipsoid((23, -52, -38), (27, 25, 20), pair=True)
    stem = _union(build.ellipsoid((0, -24, -36), (15, 14, 34)), build.ellipsoid((0, -34, -100), (6.5, 6.5, 60)))
    brain = np.minimum(np.minimum(cerebrum, cerebellum), stem)
    fluid_mm = build.random.uniform(1.5, 7.0)
    cavity = _union(cerebrum, cerebellum, build.ellipsoid((0, -30, -55), (22, 20, 26)), blend=14.0) - fluid_mm
    _paint_head(build, cavity)
    _paint_face(build)
    _paint_cavity(build, cavity)
    ventricles = _paint_brain(build, brain, cerebrum, cerebellum, stem, cavity)
    _paint_vessels(build, cavity)
    near = np.minimum(distance_transform_edt(~ventricles) * VOXEL_MM, 100.0)
    return Anatomy(
        torch.from_numpy(build.labels),
        torch.from_numpy(np.clip(-cavity, -100, 100).astype(np.float16)),
        torch.from_numpy(near.astype(np.float16)),
    )


def _paint_head(build: _Builder, cavity: Grid) -> None:
    """Skin, fat, muscle, skull with marrow, jaw and neck, from outside to inside."""
    random = build.random
    skull_mm, fat_mm = random.uniform(4, 9), random.uniform(1.5, 9)
    scalp_mm = fat_mm + random.uniform(3, 6)
    face = build.ellipsoid((0, 52, -62), (58, 44, 62))
    neck = _union(build.ellipsoid((0, -18, -110), (56, 58, 90)), build.ellipsoid((0, 20, -100), (48, 50, 50)))
    nose = build.ellipsoid((0, 98, -52), (13, 15, 22))
    head = _union(cavity - skull_mm - scalp_mm, face, neck, nose, blend=18.0)
    build.paint(head < 0, "skin")
    build.paint(head < -1.8, "fat")
    uneven = build.noise(9)
    build.paint(head < -1.8 - fat_mm - 2 * uneven, "muscle")
    # Muscles of face and neck lie in fat.
    strands = np.abs(build.noise(14)) < random.uniform(0.1, 0.45)
    build.paint((head < -4) & strands & (build.z < -20), "fat")
    skull = cavity - skull_mm - 1.2 * build.paired(6)
    build.paint(skull < 0, "bone")
    diploe = (skull < -skull_mm * 0.3) & (cavity > skull_mm * 0.25)
    build.paint(diploe & (random.random() < 0.8), "marrow")
    spine = np.minimum(build.ellipsoid((0, -6, -118), (13, 12, 70)), build.ellipsoid((0, -34, -112), (20, 18, 62)))
    build.paint(spine < 0, "bone")
    build.paint(spine < -2.5, "marrow")
    canal = build.ellipsoid((0, -34, -105), (10, 10, 64))
    build.paint(canal < 0, "fluid")
    jaw = np.abs(build.ellipsoid((0, 46, -96), (42, 46, 20))) - 4
    build.paint((jaw < 0) & (head < -6) & (build.y > 15), "bone")
    build.paint((jaw < -2) & (head < -6) & (build.y > 15), "marrow")


def _paint_face(build: _Builder) -> None:
    """Eyes in their fat, sinuses with mucosa, mouth."""
    random = build.random
    orbit = build.ellipsoid((30, 62, -28), (19, 26, 18), pair=True)
    build.paint((orbit < 2) & (orbit > 0), "bone")
    build.paint(orbit < 0, "fat")
    for x, z in ((30, -17), (30, -40), (41, -28), (20, -28)):
        build.paint(build.ellipsoid((x, 58, z), (3.0, 17, 2.5), pair=True) < 0, "muscle")
    build.paint(build.ellipsoid((24, 48, -27), (2.5, 18, 2.5), pair=True) < 0, "white")
    eye_y = random.uniform(70, 76)
    eye = build.ellipsoid((31, eye_y, -28), (12, 12, 12), pair=True)
    build.paint(eye < 1.2, "muscle")
    build.paint(eye < 0, "vitreous")
    build.paint(build.ellipsoid((31, eye_y + 9, -28), (4.5, 2.2, 4.5), pair=True) < 0, "lens")
    cells = build.noise(26)
    cavities = (
        ((27, 62, -64), (14, 15, 17), 0.0),
        ((8, 60, -40), (7, 21, 13), 0.6),
        ((7, 28, -36), (9, 12, 9), 0.0),
        ((10, 82, -2), (14, 6, 12), 0.2),
        ((50, -24, -42), (11, 12, 15), 1.0),
        ((8, 74, -60), (8, 26, 17), 0.4),
        ((0, 22, -72), (11, 9, 26), 0.0),
    )
    for center, radii, comb in cavities:
        sinus = build.ellipsoid(center, radii, pair=True)
        lining = random.choice([0.0, 0.8, 1.5, 4.0, 30.0], p=[0.25, 0.3, 0.2, 0.17, 0.08])
        build.paint(sinus < 1.5, "bone")
        build.paint(sinus < 0, "mucosa")
        build.paint((sinus < -lining) & (np.abs(cells) > 0.35 * comb), "air")
        if comb:
            build.paint((sinus < 0) & (np.abs(cells) < 0.2 * comb), "bone")
    build.paint(build.ellipsoid((0, 50, -92), (23, 30, 14)) < 0, "tongue")
    teeth = (np.abs(build.ellipsoid((0, 54, -82), (26, 36, 9))) < 3.5) & (build.y > 45)
    build.paint(teeth & (np.abs(np.sin(build.mx * 0.45)) > 0.25), "teeth")
    build.paint(build.ellipsoid((62, -12, -42), (12, 3, 3), pair=True) < 0, "air")


def _paint_cavity(build: _Builder, cavity: Grid) -> None:
    build.paint(cavity < 0, "fluid")
    build.paint((cavity < 0) & (cavity > -1.3), "dura")
    falx = (np.abs(build.x) < 0.9) & (cavity < 0) & (build.z > build.random.uniform(10, 30))
    build.paint(falx, "dura")
    tent = np.abs(build.z + 18 + 0.15 * (build.y + 50)) < 0.9
    build.paint(tent & (cavity < 0) & (build.y < -28), "dura")


def _paint_brain(
    build: _Builder, brain: Grid, cerebrum: Grid, cerebellum: Grid, stem: Grid, cavity: Grid
) -> NDArray[np.bool_]:
    """Folded cortex, nuclei, cerebellum and stem; hands back where the ventricles are."""
    random = build.random
    inside = (cerebrum < 0) & (cavity < -1.3) & ~((np.abs(build.x) < 1.3) & (build.z > 8))
    # Sulci are the zero sheets of noise, warped by coarser noise; old brains have wide ones.
    folds = build.paired(int(random.integers(16, 24))) + 0.35 * build.noise(30)
    width = random.uniform(0.1, 0.42)
    reach = random.uniform(12, 24) * (1 + 0.25 * build.noise(6))
    sulci = (np.abs(folds) < width * np.clip(1 + cerebrum / reach, 0, 1) ** 0.5) & (cerebrum > -reach)
    sylvian = (np.abs(build.z + 9 - 0.22 * build.y) < random.uniform(0.8, 2.2)) & (build.mx > 34) & (build.y < 30)
    sulci |= sylvian & (build.y > -38)
    tissue = inside & ~sulci
    ribbon_mm = random.uniform(2.8, 4.6)
    to_fluid = distance_transform_edt(tissue) * VOXEL_MM
    build.paint(tissue, "white")
    build.paint(tissue & (to_fluid < ribbon_mm + 0.5 * build.noise(12)), "gray")
    nuclei = (
        ((12, -16, 8), (8, 14, 8), "deep_gray"),
        ((14, 16, 10), (6, 14, 9), "deep_gray"),
        ((27, 3, 3), (6, 18, 11), "deep_gray"),
        ((20, 0, 1), (4, 10, 6), "pallidum"),
        ((40, 5, 2), (3, 22, 14), "gray"),
    )
    for center, radii, label in nuclei:
        build.paint(tissue & (build.ellipsoid(center, radii, pair=True) + build.noise(16) < 0), label)
    _paint_hindbrain(build, cerebellum, stem, cavity)
    return _paint_ventricles(build, brain)


def _paint_hindbrain(build: _Builder, cerebellum: Grid, stem: Grid, cavity: Grid) -> None:
    random = build.random
    inside = (cerebellum < 0) & (cavity < -1.0) & ~((build.mx < 1.0) & (build.y < -62))
    depth = np.clip(-cerebellum, 0, 30)
    leaves = np.sin(
        (build.z * 0.8 + 0.6 * build.y + 2.5 * build.noise(7)) * np.float32(2 * np.pi / random.uniform(5, 8))
    )
    build.paint(inside, "cerebellum")
    build.paint(inside & (depth > 6) & (leaves > 0.2), "white")
    build.paint(inside & (depth > 13), "white")
    build.paint(inside & (depth < random.uniform(3, 9)) & (leaves < -0.85), "fluid")
    build.paint((stem < 0) & ((cavity < -1.0) | (build.z < -60)), "stem")


def _paint_ventricles(build: _Builder, brain: Grid) -> NDArray[np.bool_]:
    random = build.random
    wide = random.uniform(0.6, 1.9)
    uneven = random.uniform(0.75, 1.25)
    parts = (
        ((9, 22, 13), (6, 19, 9)),
        ((12, -8, 20), (7, 30, 7)),
        ((23, -40, 11), (8, 22, 9)),
        ((33, -15, -17), (3.4, 20, 4.5)),
    )
    lateral = build.ellipsoid(parts[0][0], parts[0][1], pair=True)
    for center, radii in parts[1:]:
        lateral = _union(lateral, build.ellipsoid(center, radii, pair=True), blend=4.0)
    grown = np.where(build.side > 0, wide, wide * uneven)
    lateral = lateral - (grown - 1) * 4.5 + 0.6 * build.noise(14)
    third = build.ellipsoid((0, -5, 4), (1.2 + 1.6 * wide, 14, 10))
    fourth = build.ellipsoid((0, -43, -36), (6, 6, 10))
    ventricles = ((lateral < 0) & (build.mx > random.uniform(0.6, 2.2))) | (third < 0) | (fourth < 0)
    ventricles &= brain < 0
    cap = (lateral < random.uniform(0.5, 2.6)) & np.isin(build.labels, [LABEL["white"], LABEL["deep_gray"]])
    build.paint(cap, "cap")
    build.paint(ventricles, "fluid")
    build.paint((build.ellipsoid((23, -40, 9), (3.2, 8, 3.2), pair=True) < 0) & ventricles, "choroid")
    build.paint((build.ellipsoid((10, 0, 18), (1.8, 16, 1.8), pair=True) < 0) & ventricles, "choroid")
    build.paint(build.ellipsoid((0, -28, 8), (3.2, 4.5, 3.2)) < 0, "pineal")
    build.paint(build.ellipsoid((0, 26, -27), (5.5, 4.5, 4)) < 0, "pituitary")
    return np.asarray(ventricles)


def _paint_vessels(build: _Builder, cavity: Grid) -> None:
    """Venous sinuses along the inner wall, arteries at the base, and small vessels in the fluid."""
    random = build.random
    wall = (cavity < 0) & (cavity > -random.uniform(4, 8))
    build.paint(wall & (np.abs(build.x) < random.uniform(2.5, 5)) & (build.z > -10) & (build.y < 75), "vein")
    build.paint(wall & (np.abs(build.z + 20) < 4) & (build.y < -30) & (build.mx > 8), "vein")
    build.paint(build.ellipsoid((0, -6, -36), (2, 2, 14)) < 0, "artery")
    build.paint(build.ellipsoid((13, 14, -26), (2.6, 2.6, 18), pair=True) < 0, "artery")
    build.paint(build.ellipsoid((26, 12, -16), (16, 2, 2), pair=True) < 0, "artery")
    strands = (np.abs(build.noise(22)) < 0.12) & (np.abs(build.noise(22)) < 0.15)
    build.paint(strands & (build.labels == LABEL["fluid"]) & (cavity < -1), random.choice(["vein", "artery"]))
