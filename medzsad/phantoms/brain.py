"""The inside of the skull: folded cortex, deep gray matter, ventricles, brain stem and cerebellum."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medzsad.phantoms.layers import Layers
from medzsad.phantoms.space import (
    LOW_MM,
    WORKING_MM,
    Field,
    Point,
    Space,
    cut,
    ellipsoid,
    joined,
    noise,
    tube,
)
from medzsad.phantoms.traits import Traits

BRAIN_LOW = (-78.0, -112.0, -72.0)
BRAIN_HIGH = (78.0, 82.0, 84.0)


@dataclass(frozen=True, slots=True)
class Interior:
    """The distances that other structures refer to, in the box of the brain (millimeters, negative inside).

    Attributes:
        space: The box of the brain.
        cavity: To the inner face of the skull.
        cerebrum: To the smooth envelope of the cerebrum.
        cerebellum: To the smooth envelope of the cerebellum.
        stem: To the brain stem and the cord; 99 far away.
        ventricles: To the lateral ventricles.
    """

    space: Space
    cavity: Field
    cerebrum: Field
    cerebellum: Field
    stem: Field
    ventricles: Field


def both(point: Point) -> tuple[Point, Point]:
    """The point and its mirror image on the other side."""
    return point, (-point[0], point[1], point[2])


def both_paths(path: list[Point]) -> tuple[list[Point], list[Point]]:
    """The path and its mirror image on the other side."""
    return path, [(-x, y, z) for x, y, z in path]


def pair(space: Space, center: Point, radii: Point) -> Field:
    """Distance to an ellipsoid and its mirror image."""
    mirrored = Space(np.abs(space.x), space.y, space.z, space.box)
    return ellipsoid(mirrored, (abs(center[0]), center[1], center[2]), radii)


def cerebrum_envelope(space: Space, shrink_mm: float) -> Field:
    """Distance to the envelope of both hemispheres, with frontal floor, tentorial face and temporal lobes."""
    main = ellipsoid(space, (0, -17, 18), (68, 88, 59)) + np.float32(shrink_mm)
    at = np.array([-110, -85, -62, -45, -25, -8, 12, 40, 75], np.float32)
    height = np.array([-15, -13, -8, -3, -5, -14, -18, -21, -10], np.float32)
    floor = np.interp(space.y, at, height).astype(np.float32)
    floor = floor - np.abs(space.x) * np.where(space.y < -30, np.float32(0.12), np.float32(-0.05))
    main = cut(main, (floor - space.z) * np.float32(0.9), 8.0)
    temporal = pair(space, (44, -16, -20), (24 - shrink_mm, 42 - shrink_mm, 23 - shrink_mm))
    inner = pair(space, (25, -20, -15), (9, 24, 9))
    return joined(joined(main, temporal, 5.0), inner, 6.0)


def cerebellum_envelope(space: Space, shrink_mm: float) -> Field:
    """Distance to the envelope of the cerebellum."""
    halves = pair(space, (23, -63, -35.5), (29 - shrink_mm, 29 - shrink_mm, 22 - shrink_mm))
    vermis = ellipsoid(space, (0, -62, -31), (12, 27 - shrink_mm, 23 - shrink_mm))
    return joined(halves, vermis, 9.0)


def cavity_envelope(space: Space) -> Field:
    """Distance to the inner face of the skull: vault, temporal pockets and posterior fossa."""
    vault = cerebrum_envelope(space, 0.0) - np.float32(2.2)
    fossa = ellipsoid(space, (0, -60, -34), (53, 36, 27))
    stem = tube(space, [(0, -20, -18), (0, -28, -40), (0, -40, -70)], [20, 17, 12])
    return joined(joined(vault, fossa, 10.0), stem, 8.0)


def _sulci(rng: np.random.Generator, space: Space, depth: Field, traits: Traits) -> Field:
    """Distance to the nearest sulcus, a sheet that runs from the surface inward (before its own width)."""
    reach = np.float32(traits.sulcus_depth_mm) + noise(rng, 30.0)[space.box] * np.float32(3.5)
    main = _sheets(rng, space, traits.gyrus_mm * 1.35)
    side = _sheets(rng, space, traits.gyrus_mm)
    deep, shallow = np.maximum(depth - reach, 0), np.maximum(depth - reach * np.float32(0.6), 0)
    return np.asarray(np.sqrt(np.minimum(main * main + deep * deep, side * side + shallow * shallow)))


def _sheets(rng: np.random.Generator, space: Space, wavelength_mm: float) -> Field:
    """Distance to sheets that are nearly radial, seen from the middle of the brain, up to 12 mm."""
    pattern = noise(rng, wavelength_mm)
    x, y, z = space.x, space.y + np.float32(17), space.z - np.float32(8)
    radius = np.sqrt(x * x + y * y + z * z) + np.float32(1)
    # The pattern hardly changes along a ray from the middle of the brain.
    stretch = (radius / np.float32(62)) ** np.float32(-0.65)
    wobble = noise(rng, 20.0)[space.box] * np.float32(3.2)
    places = [
        (a * stretch + wobble * np.float32(s) + np.float32(o) - np.float32(low)) / np.float32(WORKING_MM)
        for a, s, o, low in zip((x, y, z), (1, -0.7, 0.8), (0, -17, 8), LOW_MM, strict=True)
    ]
    field = ndimage.map_coordinates(pattern, places, order=1, mode="reflect")
    slope = np.sqrt(sum(np.square(g) for g in np.gradient(field, WORKING_MM))) + np.float32(0.02)
    return np.asarray(np.minimum(np.abs(field) / slope, np.float32(12)))


def _fissures(space: Space, bend: Field, traits: Traits) -> Field:
    """Distance to the fissures between the hemispheres and around the insulae, negative within them."""
    x = space.x + bend
    callosal = np.maximum(-ellipsoid(space, (0, -8, 2), (9999, 45, 27)), 0)
    midline = np.sqrt(x * x + callosal * callosal) - np.float32(0.9 * traits.gap)
    side = np.abs(space.x) + bend * np.float32(3.0) + (space.y - 2) ** 2 * np.float32(0.013)
    slope = bend * np.float32(3.0) + np.float32(-9) + (np.float32(18) - space.y) * np.float32(0.30)
    off = np.maximum(np.abs(space.y + np.float32(8)) - 32, 0)
    sylvian = np.sqrt((space.z - slope) ** 2 + np.maximum(np.float32(38) - side, 0) ** 2 + off * off)
    off_y, off_z = np.maximum(np.abs(space.y - 2) - 20, 0), np.maximum(np.abs(space.z - 3) - 11, 0)
    insula = np.sqrt((side - np.float32(40)) ** 2 + off_y**2 + off_z**2)
    return np.asarray(np.minimum(midline, np.minimum(sylvian, insula) - np.float32(0.9 * traits.gap)))


def lay_cerebrum(rng: np.random.Generator, layers: Layers, space: Space, envelope: Field, traits: Traits) -> None:
    """Lays the cortex as a ribbon along the folded surface, and white matter inside it."""
    depth = -envelope
    bend = noise(rng, 25.0)[space.box] * np.float32(0.8)
    sulci = _sulci(rng, space, depth, traits) - np.float32(0.45 * traits.gap)
    pial = np.minimum(np.minimum(depth, sulci), _fissures(space, bend, traits))
    ribbon = np.float32(traits.cortex_mm) + noise(rng, 18.0)[space.box] * np.float32(0.35)
    layers.lay(space, "gray", -pial)
    layers.lay(space, "white", ribbon - pial)


def ventricle_paths(traits: Traits) -> list[tuple[list[Point], list[float]]]:
    """The lateral ventricles of both sides, as tubes with radii in millimeters."""
    body: list[Point] = [(6, 33, 1), (7.5, 22, 10), (8, 8, 17), (9.5, -10, 21), (14, -30, 19), (24, -43, 9)]
    tails: list[tuple[list[Point], list[float]]] = [
        ([(24, -43, 9), (26, -58, 6), (24, -72, 4)], [6.0, 3.2, 1.2]),
        ([(24, -43, 9), (34, -33, -6), (36, -12, -17)], [6.0, 2.8, 1.4]),
        ([(9, 30, 4), (13.5, 20, 15), (14, 6, 21), (16, -12, 24), (20, -30, 21)], [1.5, 2.4, 2.4, 2.2, 3.0]),
    ]
    tubes = []
    for side, size in ((1, traits.ventricle_right), (-1, traits.ventricle_left)):
        for path, radii in [(body, [2.4, 3.8, 3.8, 3.6, 4.4, 6.0]), *tails]:
            tubes.append(([(side * x, y, z) for x, y, z in path], [r * size for r in radii]))
    return tubes


def lay_deep_parts(layers: Layers, whole: Space, traits: Traits) -> Field:
    """Lays callosum, deep nuclei and the ventricles; the result is the distance to the lateral ventricles."""
    space = whole.near((-46, -78, -26), (46, 46, 36))
    outer = ellipsoid(space, (0, -8, 2), (9999, 45, 27))
    ring = np.maximum(outer, -ellipsoid(space, (0, -8, 1), (9999, 38.5, 20.5)))
    ring = cut(np.maximum(ring, np.float32(-2) - space.z), ellipsoid(space, (0, -8, 14), (19, 52, 30)), 5.0)
    layers.lay(space, "callosum", ring)
    inner = cut(ellipsoid(space, (0, -8, 2), (20, 37, 19)), np.float32(6) - space.z, 5.0)
    layers.lay(space, "white", inner)
    layers.lay(space, "thalamus", ellipsoid(space, (0, -9, -5), (9, 13, 8)), 0.6)
    mirrored = Space(np.abs(space.x), space.y, space.z, space.box)
    for tissue, center, radii in (
        ("thalamus", (11, -18, 8), (9.5, 15, 9)),
        ("putamen", (26, 3, 2), (6, 17, 11)),
        ("pallidum", (19.5, -2, 0), (5, 9.5, 6.5)),
        ("caudate", (13.5, 15, 8), (6, 10, 10)),
        ("nigra", (8.5, -19, -11), (4.5, 5, 4)),
    ):
        layers.lay(space, tissue, ellipsoid(mirrored, center, radii))
    tail = tube(mirrored, [(14, 15, 12), (17, -4, 20), (22, -24, 19)], [5, 3.5, 2])
    layers.lay(space, "caudate", tail)
    lateral = np.full(space.x.shape, np.float32(99))
    for path, sizes in ventricle_paths(traits):
        lateral = joined(lateral, tube(space, path, sizes), 4.0)
    layers.lay(space, "csf", lateral)
    third = ellipsoid(space, (0, -12, -2), (1.0 + 1.0 * traits.gap, 14, 9))
    layers.lay(space, "csf", third)
    layers.lay(space, "thalamus", ellipsoid(space, (0, -13, 1), (9, 3.5, 3)))
    layers.lay(space, "gray", tube(mirrored, [(24, -8, -18), (29, -24, -13), (25, -36, -2)], [5.0, 4.5, 3.0]))
    septum = np.abs(np.abs(space.x) - np.float32(traits.cavum_mm)) - np.float32(0.6)
    septum = np.maximum(septum, ellipsoid(space, (0, 6, 13), (99, 25, 9)))
    layers.lay(space, "callosum", septum)
    if traits.cavum_mm > 1:
        layers.lay(space, "csf", np.maximum(septum, np.abs(space.x) - np.float32(traits.cavum_mm - 0.6)))
    return _into(whole, space, lateral)


def _into(whole: Space, space: Space, distance: Field) -> Field:
    """The distance in the box of the brain, 99 outside the smaller box that it was made in."""
    field = np.full(whole.x.shape, np.float32(99))
    field[space.box] = distance
    return field


def lay_stem(layers: Layers, whole: Space, traits: Traits) -> Field:
    """Lays midbrain, pons, medulla and cord, aqueduct and fourth ventricle; the result is the distance to the stem."""
    space = whole.near((-24, -60, -126), (24, 0, 4))
    midbrain = ellipsoid(space, (0, -24, -11), (16, 12, 13))
    pons = ellipsoid(space, (0, -25, -31), (16, 13, 14))
    cord = tube(space, [(0, -30, -40), (0, -38, -56), (0, -46, -78), (0, -48, -130)], [9.5, 7.5, 5.5, 5.2])
    arms = tube(Space(np.abs(space.x), space.y, space.z, space.box), [(10, -30, -32), (20, -48, -36)], [7.0, 8.0])
    stem = joined(joined(joined(midbrain, pons, 5.0), cord, 6.0), arms, 4.0)
    layers.lay(space, "csf", tube(space, [(0, -38, -56), (0, -46, -78), (0, -48, -130)], [13, 9.5, 9]))
    layers.lay(space, "stem", stem)
    layers.lay(space, "csf", tube(space, [(0, -28, -4), (0, -36, -18), (0, -40, -24)], [1.1, 1.0, 2.5]))
    size = 0.85 + 0.25 * traits.gap
    layers.lay(space, "csf", ellipsoid(space, (0, -43, -32), (8 * size, 4.5 * size, 11 * size)))
    return _into(whole, space, stem)


def lay_cerebellum(rng: np.random.Generator, layers: Layers, space: Space, envelope: Field, traits: Traits) -> None:
    """Lays the cerebellum: folia fan out from the fourth ventricle, their white matter joins in a core."""
    depth = -envelope
    y, z = space.y + np.float32(42), space.z + np.float32(33)
    radius = np.sqrt(y * y + z * z)
    turn = np.arctan2(z, -y) * np.float32(traits.folia / (2 * np.pi))
    turn = turn + noise(rng, 20.0)[space.box] * np.float32(0.5) + np.abs(space.x) * np.float32(0.03)
    sheet = np.abs(turn - np.round(turn)) * radius * np.float32(2 * np.pi / traits.folia)
    beyond = np.maximum(depth - np.float32(13) - noise(rng, 14.0)[space.box] * 3, 0)
    pial = np.minimum(depth, np.sqrt(sheet * sheet + beyond * beyond) - np.float32(0.35 * traits.gap))
    layers.lay(space, "cerebellar gray", -pial)
    layers.lay(space, "cerebellar white", np.float32(1.9) - pial)
    layers.lay(space, "dentate", pair(space, (15, -57, -36), (5, 8, 5)), 0.6)


def lay_brain(rng: np.random.Generator, layers: Layers, whole: Space, cavity: Field, traits: Traits) -> Interior:
    """Lays everything inside the skull but vessels and membranes.

    Args:
        rng: Where every number comes from.
        layers: What is laid is appended.
        whole: The whole working grid.
        cavity: Distance to the inner face of the skull, on the whole working grid.
        traits: What makes this head differ from others.
    """
    space = whole.near(BRAIN_LOW, BRAIN_HIGH)
    cavity = cavity[space.box]
    cerebrum = cerebrum_envelope(space, traits.shrink_mm)
    cerebellum = cerebellum_envelope(space, traits.shrink_mm * 0.6)
    layers.lay(space, "csf", cavity)
    lay_cerebellum(rng, layers, space, cerebellum, traits)
    lay_cerebrum(rng, layers, space, cerebrum, traits)
    stem = lay_stem(layers, whole, traits)[space.box]
    ventricles = lay_deep_parts(layers, whole, traits)[space.box]
    return Interior(space, cavity, cerebrum, cerebellum, stem, ventricles)
