"""Everything around the brain: skin, fat, muscle, bone with marrow, eyes, nose, sinuses and airway."""

import numpy as np

from medzsad.phantoms.layers import Layers
from medzsad.phantoms.space import Field, Point, Space, ellipsoid, joined, noise, tube
from medzsad.phantoms.traits import Traits


def folded(space: Space) -> Space:
    """The space with the left half laid on the right one, for structures on both sides."""
    return Space(np.abs(space.x), space.y, space.z, space.box)


def lay_head(rng: np.random.Generator, layers: Layers, whole: Space, cavity: Field, traits: Traits) -> None:
    """Lays the head but for what is inside the skull, whose inner face lies at distance 0 of `cavity`."""
    uneven = noise(rng, 45.0)
    thin = np.clip((np.abs(whole.x) - 50) / 20, 0, 1) * np.clip((15 - whole.z) / 15, 0, 1)
    bone = np.float32(traits.skull_mm) + uneven * np.float32(0.7) - thin * np.float32(traits.skull_mm * 0.5)
    skull = cavity - bone
    skin = _outline(whole, skull - np.float32(traits.scalp_mm) - np.maximum(uneven, -1) * np.float32(0.8))
    layers.lay(whole, "skin", skin)
    layers.lay(whole, "fat", skin + np.float32(2.0))
    _lay_muscles(rng, layers, whole)
    _lay_jaw_and_spine(layers, whole)
    layers.lay(whole, "bone", skull)
    marrow = np.abs(cavity - bone * np.float32(0.52)) - bone * np.float32(0.24)
    layers.lay(whole, "marrow", marrow + noise(rng, 9.0) * np.float32(0.5))
    _lay_face_bones(rng, layers, whole, traits)
    _lay_airway(rng, layers, whole, traits)
    _lay_eyes(layers, whole)


def _outline(space: Space, scalp: Field) -> Field:
    """Distance to the skin: scalp, face, jaw, neck, nose and ears."""
    face = joined(ellipsoid(space, (0, 28, -46), (62, 60, 50)), ellipsoid(space, (0, 36, -92), (47, 51, 40)), 20.0)
    head = joined(scalp, face, 18.0)
    neck = ellipsoid(space, (0, -34, -135), (58, 58, 90))
    head = joined(head, neck, 25.0)
    nose = tube(space, [(0, 84, -22), (0, 103, -50), (0, 96, -60)], [4.0, 9.0, 11.0])
    ears = ellipsoid(folded(space), (81, -30, -34), (4.5, 15, 27))
    return joined(joined(head, nose, 8.0), ears, 3.0)


def _lay_muscles(rng: np.random.Generator, layers: Layers, whole: Space) -> None:
    """Lays muscles and glands into the fat of face and neck, with septa of fat."""
    septa = noise(rng, 8.0)
    parts: tuple[tuple[str, Point, Point], ...] = (
        ("muscle", (65, 8, -12), (10, 34, 34)),
        ("muscle", (54, 28, -78), (8, 18, 28)),
        ("muscle", (33, 25, -62), (12, 16, 20)),
        ("muscle", (24, -75, -98), (24, 20, 50)),
        ("muscle", (14, -52, -100), (15, 16, 50)),
        ("muscle", (50, -30, -105), (9, 15, 42)),
        ("gland", (54, -2, -62), (10, 15, 22)),
        ("gland", (28, 45, -112), (12, 15, 10)),
        ("muscle", (9, 48, -90), (16, 32, 20)),
        ("muscle", (16, 0, -100), (13, 9, 40)),
    )
    for tissue, center, radii in parts:
        c, r = np.asarray(center), np.asarray(radii)
        for side in (1, -1):
            at = c * (side, 1, 1)
            space = whole.near(at - r, at + r)
            solid = ellipsoid(folded(space), center, radii)
            layers.lay(space, tissue, solid + np.maximum(septa[space.box] - 0.7, 0) * 4)


def _lay_jaw_and_spine(layers: Layers, whole: Space) -> None:
    """Lays mandible, teeth, zygomatic arches, the two uppermost vertebrae and the clivus."""
    space = whole.near((-62, -80, -126), (62, 92, -34))
    half = folded(space)
    for path, radius in (
        ([(50, 8, -56), (49, 22, -92), (30, 66, -114), (0, 80, -114)], 6.5),
        ([(62, 5, -48), (64, 35, -50), (44, 64, -50)], 4.0),
        ([(22, -26, -74), (26, -30, -80)], 9.0),
        ([(0, -22, -72), (0, -25, -126)], 8.5),
        ([(6, -66, -82), (4, -72, -126)], 5.0),
    ):
        solid = tube(half, path, [radius] * len(path))
        layers.lay(space, "bone", solid)
        layers.lay(space, "marrow", solid + np.float32(2.2))
    for height in (-80.0, -88.0):
        arc: list[Point] = [(24, 40, height), (20, 62, height), (0, 76, height)]
        layers.lay(space, "tooth", tube(half, arc, [4.2, 4.2, 4.0]))


def _lay_face_bones(rng: np.random.Generator, layers: Layers, whole: Space, traits: Traits) -> None:
    """Lays palate, orbital walls, the body of the sphenoid, petrous bones with their air cells, and clivus."""
    space = whole.near((-66, -60, -78), (66, 84, -10))
    half = folded(space)
    layers.lay(space, "bone", ellipsoid(space, (0, 52, -71), (24, 30, 3)))
    clivus = tube(space, [(0, 20, -38), (0, 2, -42), (0, -20, -66)], [13, 10, 5])
    layers.lay(space, "bone", clivus)
    layers.lay(space, "marrow", clivus + np.float32(1.8))
    petrous = tube(half, [(58, -38, -40), (40, -28, -40), (16, -8, -42)], [13, 9, 5])
    layers.lay(space, "bone", petrous)
    layers.lay(space, "marrow", petrous + np.float32(4.5), 0.6)
    cells = noise(rng, 5.0)[space.box]
    mastoid = ellipsoid(half, (56, -36, -46), (10, 13, 16))
    layers.lay(space, "mucosa", mastoid + np.float32(1))
    layers.lay(space, "air", np.maximum(mastoid + 2, (0.2 - cells) * 3))
    for center, radii in (((31, 54, -58), (15, 19, 18)), ((7, 60, -34), (8.5, 22, 13))):
        layers.lay(space, "bone", ellipsoid(half, center, radii))


def _lay_airway(rng: np.random.Generator, layers: Layers, whole: Space, traits: Traits) -> None:
    """Lays the nose, the pharynx and the sinuses: mucosa, and air where it leaves room."""
    space = whole.near((-48, -14, -126), (48, 104, 22))
    half, right = folded(space), space.x > 0
    lumps = noise(rng, 12.0)[space.box]
    cells = noise(rng, 9.0)[space.box]
    pharynx = tube(space, [(0, 34, -60), (0, 14, -70), (0, 4, -100), (0, 6, -130)], [11, 11, 10, 10])
    layers.lay(space, "mucosa", pharynx)
    layers.lay(space, "air", pharynx + np.float32(3.5))
    nose = ellipsoid(half, (7.5, 66, -52), (7, 36, 20))
    layers.lay(space, "mucosa", nose)
    layers.lay(space, "air", np.maximum(nose + 1.0, np.abs(lumps) * 4 - 2.2))
    layers.lay(space, "bone", np.maximum(np.abs(space.x) - 0.7, ellipsoid(space, (0, 62, -50), (9, 34, 20))), 0.7)
    frontal = ellipsoid(half, (13, 77, 0), (14, 5.5, 14)) + np.maximum(cells, -0.5) * 2
    lining = traits.mucosa_mm
    maxillary = np.where(right, np.float32(lining[0]), np.float32(lining[1]))
    for solid, thickness in (
        (ellipsoid(half, (31, 54, -58), (13.5, 17.5, 16.5)), maxillary),
        (ellipsoid(half, (8, 20, -38), (8, 12, 10)), np.float32(lining[3])),
        (frontal, np.float32(lining[4])),
    ):
        layers.lay(space, "mucosa", solid)
        layers.lay(space, "air", solid + thickness * (1 + 0.35 * lumps))
    ethmoid = ellipsoid(half, (7, 60, -34), (7.5, 21, 12))
    layers.lay(space, "mucosa", ethmoid)
    layers.lay(space, "air", np.maximum(ethmoid + 0.5, (np.float32(0.25 * lining[2]) - np.abs(cells)) * 3))


def _lay_eyes(layers: Layers, whole: Space) -> None:
    """Lays the orbits: fat, globe with lens, the straight muscles and the optic nerve with its sheath."""
    for side in (1, -1):
        space = whole.near((side * 32 - 24, 6, -54), (side * 32 + 24, 86, -10))
        half = folded(space)
        cone = tube(half, [(15, 30, -29), (29, 55, -31), (32, 66, -31)], [3.5, 15.5, 17.0])
        layers.lay(space, "bone", np.maximum(cone - np.float32(1.6), space.y - 66))
        layers.lay(space, "fat", np.maximum(cone, space.y - 78))
        for dx, dz in ((-11, 0), (11, 0), (0, 11), (0, -11)):
            path: list[Point] = [(16, 32, -29), (30 + dx, 54, -31 + dz), (32 + dx, 66, -31 + dz)]
            layers.lay(space, "muscle", tube(half, path, [1.5, 2.6, 1.2]))
        nerve: list[Point] = [(31, 54, -32), (23, 42, -31), (15, 28, -27), (2, 10, -20)]
        layers.lay(space, "csf", tube(half, nerve, [3.0, 2.9, 2.6, 2.5]))
        layers.lay(space, "stem", tube(half, nerve, [1.8] * 4))
        globe = ellipsoid(half, (32, 65, -31), (12, 12, 12))
        layers.lay(space, "sclera", globe)
        layers.lay(space, "vitreous", globe + np.float32(1.2))
        layers.lay(space, "lens", ellipsoid(half, (32, 73.5, -31), (4.6, 2.2, 4.6)))
