"""Membranes, vessels, venous sinuses, glands, choroid plexus and the bright harmless things along the ventricles."""

import numpy as np

from medzsad.phantoms.brain import Interior
from medzsad.phantoms.head import folded
from medzsad.phantoms.layers import Layers
from medzsad.phantoms.space import Field, Point, Space, coverage, ellipsoid, noise, tube
from medzsad.phantoms.traits import Traits


def lay_membranes(layers: Layers, interior: Interior) -> None:
    """Lays the dura along the skull, the falx and the tentorium."""
    space, cavity = interior.space, interior.cavity
    layers.lay(space, "dura", np.abs(cavity + np.float32(0.3)) - np.float32(0.5), 0.8)
    falx = np.maximum(np.abs(space.x) - np.float32(0.55), -ellipsoid(space, (0, -8, 4), (9999, 56, 38)))
    falx = np.maximum(np.maximum(falx, cavity), np.float32(2) - space.z)
    layers.lay(space, "dura", falx, 0.8)
    between = np.abs(interior.cerebrum - interior.cerebellum) * np.float32(0.5) - np.float32(0.6)
    tent = np.maximum(np.maximum(between, space.y + 30), np.maximum(cavity, -interior.cerebrum - 0.5))
    layers.lay(space, "dura", np.maximum(tent, np.float32(12) - np.abs(space.x) - (space.y + 100)), 0.8)


def lay_vessels(rng: np.random.Generator, layers: Layers, whole: Space) -> None:
    """Lays the large arteries and the venous sinuses."""
    angles = np.radians(np.arange(25, 200, 12))
    sagittal: list[Point] = [(0.0, -17 + 89.5 * float(np.cos(a)), 18 + 60.5 * float(np.sin(a))) for a in angles]
    space = whole.near((-6, -112, -10), (6, 78, 84))
    layers.lay(space, "vein", tube(space, sagittal, list(np.linspace(1.6, 4.4, len(sagittal)))))
    space = whole.near((-66, -110, -126), (66, 46, 36))
    half = folded(space)
    transverse: list[Point] = [(0, -102, -2), (34, -90, -12), (54, -64, -17), (50, -44, -30), (36, -36, -56)]
    narrow = space.x < 0 if rng.random() < 0.75 else space.x > 0
    layers.lay(space, "vein", tube(half, transverse, [4.4, 4.0, 4.2, 4.5, 4.5]) + narrow * np.float32(1.4))
    layers.lay(space, "vein", tube(half, [(36, -36, -56), (30, -22, -80), (34, -10, -130)], [4.5, 5.5, 6]))
    layers.lay(space, "vein", tube(space, [(0, -36, 4), (0, -44, 8), (0, -102, -2)], [1.8, 2.2, 2.4]))
    carotid: list[Point] = [(30, -8, -130), (27, -14, -72), (24, -8, -46), (12, 0, -40), (13, 9, -30), (14, 3, -19)]
    layers.lay(space, "artery", tube(half, carotid, [3.0, 2.6, 2.5, 2.4, 2.3, 1.9]))
    layers.lay(
        space, "artery", tube(half, [(14, 3, -19), (30, 4, -17), (41, 2, -6), (42, -12, 4)], [1.6, 1.5, 1.2, 0.8])
    )
    layers.lay(
        space, "artery", tube(half, [(14, 3, -19), (2, 16, -16), (1.6, 38, -4), (1.6, 36, 22)], [1.3, 1.2, 1.1, 0.9])
    )
    layers.lay(
        space,
        "artery",
        tube(space, [(6, -30, -78), (3, -20, -56), (0, -10.5, -42), (0, -9, -18)], [1.9, 1.8, 1.7, 1.6]),
    )
    layers.lay(space, "artery", tube(half, [(0, -9, -18), (10, -14, -14), (17, -28, -10)], [1.4, 1.2, 0.9]))


def lay_glands(rng: np.random.Generator, layers: Layers, whole: Space, interior: Interior, traits: Traits) -> None:
    """Lays pituitary, pineal and choroid plexus, their calcifications and cysts."""
    space = whole.near((-40, -74, -44), (40, 24, 26))
    half = folded(space)
    layers.lay(space, "pituitary", ellipsoid(space, (0, 2, -31), (6.5, 4.5, 3.5)))
    layers.lay(space, "pituitary", tube(space, [(0, 2, -29), (0, -2, -19)], [1.2, 0.9]))
    pineal = ellipsoid(space, (0, -32, 1), (3.2, 4.5, 2.8))
    layers.lay(space, "pineal", pineal)
    lumps = noise(rng, 6.0)[space.box]
    plexus = tube(half, [(9, 2, 14), (12, -20, 17), (22, -41, 7), (30, -34, -6)], [1.2, 2.2, 4.6, 2.0]) + lumps * 0.8
    inside = np.maximum(plexus, _crop(interior, interior.ventricles, space) + 0.4)
    layers.lay(space, "choroid", inside)
    if traits.choroid_cysts:
        cyst = ellipsoid(half, (23, -44, 7), (traits.choroid_cysts,) * 3)
        layers.lay(space, "cyst", np.maximum(cyst, inside - 3))
    strength = float(np.clip(traits.calcified * 1.6 - 0.5, 0, 1))
    if strength:
        layers.lay(space, "calcification", pineal + np.float32(1.2), strength)
        layers.lay(space, "calcification", np.maximum(inside + np.float32(1.0), -lumps * 3), strength)


def _crop(interior: Interior, field: Field, space: Space) -> Field:
    """The part of a field of the box of the brain that lies in another box, 99 elsewhere."""
    full = np.full(space.x.shape, np.float32(99))
    outer, inner = interior.space.box, space.box
    low = [max(a.start, b.start) for a, b in zip(outer, inner, strict=True)]
    high = [min(a.stop, b.stop) for a, b in zip(outer, inner, strict=True)]
    into = tuple(slice(lo - b.start, hi - b.start) for lo, hi, b in zip(low, high, inner, strict=True))
    taken = tuple(slice(lo - b.start, hi - b.start) for lo, hi, b in zip(low, high, outer, strict=True))
    full[into] = field[taken]
    return full


def lay_harmless(rng: np.random.Generator, layers: Layers, interior: Interior, traits: Traits) -> None:
    """Lays caps and bands along the ventricles, perivascular spaces, flow in cisterns, and a large cisterna magna."""
    space = interior.space
    around = interior.ventricles
    width = 1.0 + 2.4 * traits.caps
    ends = np.clip((np.abs(space.y + 8) - 24) / 20, 0, 1) * width + np.float32(0.8)
    band = coverage(np.abs(around - ends * 0.5) - ends * 0.5) * np.float32(traits.caps)
    layers.lay_share(space.box, "caps", band * (around > -0.5))
    for _ in range(traits.perivascular):
        low = rng.random() < 0.6
        side = rng.choice([-1.0, 1.0])
        start = (side * rng.uniform(17, 26), rng.uniform(-8, 14), -8.0) if low else (
            side * rng.uniform(20, 42), rng.uniform(-60, 40), rng.uniform(28, 44))  # fmt: skip
        stop = (start[0] * 1.05, start[1] + rng.uniform(-3, 3), start[2] + rng.uniform(4, 10))
        _lay_small_tube(layers, interior, [start, stop], float(rng.uniform(0.5, 1.1)))
    if traits.cisterna > 1:
        cistern = ellipsoid(space, (0, -76, -58), (14 * traits.cisterna, 12 * traits.cisterna, 7 * traits.cisterna))
        layers.lay(space, "csf", np.maximum(cistern, interior.cavity + 1))
    if traits.flow:
        speckle = noise(rng, 10.0)[space.box]
        pools = np.minimum(ellipsoid(space, (0, -8, -22), (12, 8, 9)), ellipsoid(space, (0, -42, -33), (5, 3, 8)))
        pools = np.minimum(pools, np.maximum(ellipsoid(folded(space), (6, 8, 8), (6, 8, 6)), around + 1.5))
        share = coverage(pools) * np.clip(0.5 + speckle, 0, 1) * np.float32(traits.flow)
        outside = np.minimum(interior.cerebrum, np.float32(99)) > 0
        layers.lay_share(space.box, "flow", share * (outside | (around < -1)))


def _lay_small_tube(layers: Layers, interior: Interior, path: list[tuple[float, float, float]], radius: float) -> None:
    """Lays one perivascular space, in a small box."""
    space = interior.space
    low, high = np.min(path, axis=0) - 3, np.max(path, axis=0) + 3
    inside = (space.x > low[0]) & (space.x < high[0]) & (space.y > low[1]) & (space.y < high[1])
    inside &= (space.z > low[2]) & (space.z < high[2])
    where = np.nonzero(inside)
    if not len(where[0]):
        return
    part = tuple(slice(int(w.min()), int(w.max()) + 1) for w in where)
    box = tuple(slice(b.start + p.start, b.start + p.stop) for b, p in zip(space.box, part, strict=True))
    small = Space(space.x[part], space.y[part], space.z[part], (box[0], box[1], box[2]))
    layers.lay(small, "csf", tube(small, path, [radius, radius]))
