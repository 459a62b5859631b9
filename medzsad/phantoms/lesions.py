"""Lesions: which a head gets, what they push aside, and what they are made of (their shapes: `lesion_kinds`)."""

from dataclasses import dataclass

import numpy as np

from medzsad.phantoms.brain import Interior
from medzsad.phantoms.layers import BRAIN_TISSUES, Layers
from medzsad.phantoms.space import Box, Field, Point, grid_shape, straight_axes

# Relative frequency of each kind by what the images are for.
_ODDS_MR = {
    "tumor": 0.24, "enhancing tumor": 0.14, "meningioma": 0.08, "infarct": 0.13, "white matter lesions": 0.13,
    "periventricular disease": 0.08, "hemorrhage": 0.07, "subdural": 0.05, "epidural": 0.02, "isointense mass": 0.06,
}  # fmt: skip
_ODDS_CT = {
    "tumor": 0.10, "meningioma": 0.06, "infarct": 0.20, "hemorrhage": 0.26, "subdural": 0.14, "epidural": 0.08,
    "subarachnoid": 0.10, "isointense mass": 0.06,
}  # fmt: skip
_PUSHING = {"tumor", "enhancing tumor", "hemorrhage", "isointense mass"}


@dataclass(frozen=True, slots=True)
class Plan:
    """A lesion before the head is laid.

    Attributes:
        kind: As in the tables above.
        center: Where it lies, straight coordinates in millimeters.
        radius_mm: Radius of its core.
        push: Share of the core's volume that was made by pushing tissue aside, 0 to 1.
    """

    kind: str
    center: Point
    radius_mm: float
    push: float


@dataclass(frozen=True, slots=True)
class Part:
    """One tissue of a lesion.

    Attributes:
        tissue: Name, as in the table of contrasts.
        box: Where it lies in the working grid.
        share: Share of each voxel of the box that belongs to it.
        opacity: How far it hides what was there: faint to full.
        always: Whether it counts as visible though it is as bright as what is around it (a mass shows by its push).
    """

    tissue: str
    box: Box
    share: Field
    opacity: float
    always: bool = False


@dataclass(frozen=True, slots=True)
class LaidLesion:
    """One lesion as it lies in the head, its parts in the order in which they are laid."""

    kind: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """The head that lesions are laid into, in the box of the brain.

    Attributes:
        interior: Distances to the structures of the head.
        brain: Share of brain tissue of each voxel.
        white: Share of white matter.
        x: Straight coordinate, to be broadcast; so are y and z. Millimeters.
        y: Toward the front.
        z: Toward the vertex.
    """

    interior: Interior
    brain: Field
    white: Field
    x: Field
    y: Field
    z: Field

    @property
    def box(self) -> Box:
        """Where this part of the working grid lies."""
        return self.interior.space.box


def draw_plans(rng: np.random.Generator, family: str) -> list[Plan]:
    """One lesion, or now and then up to four of one kind."""
    odds = dict(_ODDS_CT if family == "ct" else _ODDS_MR)
    if family == "t1c":
        odds["enhancing tumor"] *= 4
    if family == "dwi":
        odds["infarct"] *= 4
    weights = np.array(list(odds.values()))
    kind = str(rng.choice(list(odds), p=weights / weights.sum()))
    several = kind in ("enhancing tumor", "infarct", "hemorrhage") and rng.random() < 0.3
    plans = []
    for _ in range(int(rng.integers(2, 5)) if several else 1):
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        place = direction * np.array([50, 66, 44]) * rng.uniform(0.35, 0.95) + (0, -17, 20)
        place[0] += np.copysign(max(0.0, 12 - abs(place[0])), place[0])
        place[2] = max(place[2], -6.0)
        radius = float(np.exp(rng.uniform(np.log(3.0), np.log(24.0))) * (0.6 if several else 1.0))
        push = float(rng.uniform(0.1, 0.8)) if kind in _PUSHING else 0.0
        plans.append(Plan(kind, (float(place[0]), float(place[1]), float(place[2])), radius, push))
    return plans


def push_field(plans: list[Plan]) -> Field | None:
    """(3, ...) displacement of the tissue on the working grid in millimeters; None if nothing is pushed.

    Tissue around a growing ball keeps its volume, and does not move at the skull.
    """
    if not any(plan.push for plan in plans):
        return None
    field = np.zeros((3, *grid_shape()), np.float32)
    axes = straight_axes()
    skull = np.sqrt((axes[0] / 70) ** 2 + ((axes[1] + 17) / 90) ** 2 + ((axes[2] - 15) / 64) ** 2)
    hold = np.clip((1 - skull) * 4, 0, 1).astype(np.float32)
    for plan in plans:
        gaps = [a - np.float32(c) for a, c in zip(axes, plan.center, strict=True)]
        r = np.sqrt(gaps[0] ** 2 + gaps[1] ** 2 + gaps[2] ** 2) + np.float32(1e-3)
        before = np.cbrt(np.maximum(r**3 - np.float32(plan.push * plan.radius_mm**3), (0.15 * r) ** 3))
        size = (r - before) / r * hold * np.exp(-np.maximum(r - plan.radius_mm, 0) / 30)
        for axis, gap in enumerate(gaps):
            field[axis] += np.clip(gap * size, -9, 9)
    return np.clip(field, -10, 10)


def make_scene(layers: Layers, interior: Interior, tissues: frozenset[str]) -> Scene:
    """What the builders of lesions need to know of a head."""
    names = dict.fromkeys(tissues, 0.0)
    box = interior.space.box
    brain = layers.share_of(BRAIN_TISSUES, names)[box]
    white = layers.share_of(frozenset({"white", "callosum", "caps"}), names)[box]
    white *= np.abs(interior.space.x) > 5
    parts = [a[tuple(b if n > 1 else slice(None) for b, n in zip(box, a.shape, strict=True))] for a in straight_axes()]
    return Scene(interior, brain, white, parts[0], parts[1], parts[2])
