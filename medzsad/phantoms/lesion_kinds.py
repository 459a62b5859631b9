"""The shapes of lesions, one function for each kind."""

from collections.abc import Callable

import numpy as np

from medzsad.phantoms.lesions import LaidLesion, Part, Plan, Scene
from medzsad.phantoms.space import Field, Point, blurred, coverage, ellipsoid, noise


def _distance(rng: np.random.Generator, scene: Scene, center: Point, radius_mm: float, lumpy: float) -> Field:
    """Distance to a lumpy, unequally long ball."""
    stretch = np.exp(rng.normal(0, 0.18, 3))
    gaps = [
        (a - np.float32(c)) / np.float32(s)
        for a, c, s in zip((scene.x, scene.y, scene.z), center, stretch, strict=True)
    ]
    r = np.sqrt(gaps[0] ** 2 + gaps[1] ** 2 + gaps[2] ** 2)
    lumps = noise(rng, max(8.0, radius_mm * 1.3))[scene.box]
    return np.asarray(r - np.float32(radius_mm) * (1 + np.float32(lumpy) * lumps), np.float32)


def _opacity(rng: np.random.Generator) -> float:
    """From faint to full, more often strong."""
    return float(rng.uniform(0.25, 1.0) ** 0.7)


def _edema(rng: np.random.Generator, scene: Scene, core: Field, reach_mm: float) -> Field:
    """Share of edema around a core: it follows white matter and spares cortex."""
    uneven = noise(rng, 28.0)[scene.box]
    near = core - np.float32(reach_mm) * np.maximum(1 + np.float32(0.6) * uneven, 0.05)
    along = np.clip(blurred(scene.white, 1.5) * 1.4 - 0.25, 0, 1)
    return np.asarray(np.clip(0.5 - near / 4, 0, 1) * along * scene.brain, np.float32)


def tumor(rng: np.random.Generator, scene: Scene, plan: Plan) -> list[LaidLesion]:
    """A mass with edema, often with a necrotic or cystic core."""
    core = _distance(rng, scene, plan.center, plan.radius_mm, 0.16)
    inside = (scene.interior.cavity < -2) & (scene.interior.cerebrum < 1)
    opacity = _opacity(rng)
    parts = []
    if rng.random() < 0.75:
        reach = rng.uniform(0.2, 1.0) * plan.radius_mm + 2
        parts.append(Part("edema", scene.box, _edema(rng, scene, core, reach), opacity * rng.uniform(0.6, 1)))
    parts.append(Part("tumor", scene.box, coverage(core) * inside, opacity))
    if rng.random() < 0.5:
        depth = plan.radius_mm * rng.uniform(0.3, 0.7)
        inner = str(rng.choice(["necrosis", "fluid"]))
        parts.append(Part(inner, scene.box, coverage(core + depth) * inside, opacity))
    return [LaidLesion("tumor", tuple(parts))]


def enhancing_tumor(rng: np.random.Generator, scene: Scene, plan: Plan) -> list[LaidLesion]:
    """A mass whose wall or whole takes up contrast agent, with edema."""
    core = _distance(rng, scene, plan.center, plan.radius_mm, 0.14)
    inside = (scene.interior.cavity < -2) & (scene.interior.cerebrum < 1)
    parts = [Part("edema", scene.box, _edema(rng, scene, core, rng.uniform(2, 18)), float(rng.uniform(0.4, 1)))]
    parts.append(Part("enhancing", scene.box, coverage(core) * inside, float(rng.uniform(0.5, 1))))
    wall = rng.uniform(2.0, 4.5)
    if rng.random() < 0.65 and plan.radius_mm > wall + 1.5:
        uneven = noise(rng, 9.0)[scene.box]
        parts.append(Part("necrosis", scene.box, coverage(core + wall * (1 + 0.3 * uneven)) * inside, 1.0, always=True))
    return [LaidLesion("enhancing tumor", tuple(parts))]


def meningioma(rng: np.random.Generator, scene: Scene, plan: Plan) -> list[LaidLesion]:
    """A ball that sits on the dura, with a thin edema."""
    center = _on_the_skull(scene, plan.center)
    radius = min(plan.radius_mm, 18.0) + 3
    core = np.maximum(_distance(rng, scene, center, radius, 0.08), scene.interior.cavity)
    parts = [Part("edema", scene.box, _edema(rng, scene, core, rng.uniform(0.5, 6)), float(rng.uniform(0.3, 1)))]
    parts.append(Part("meningioma", scene.box, coverage(core), 1.0, always=True))
    return [LaidLesion("meningioma", tuple(parts))]


def _on_the_skull(scene: Scene, center: Point) -> Point:
    """The place on the inner face of the skull toward which a point lies, seen from the middle of the brain."""
    middle = np.array([0.0, -17.0, 18.0])
    direction = np.asarray(center) - middle
    direction /= np.linalg.norm(direction)
    low = np.array([float(scene.x.flat[0]), float(scene.y.flat[0]), float(scene.z.flat[0])])
    for reach in np.arange(30.0, 100.0, 1.0):
        place = middle + direction * reach
        index = np.round((place - low) / 1.5).astype(int)
        outside = (index < 0).any() or (index >= scene.brain.shape).any()
        if outside or scene.interior.cavity[tuple(index)] > -1:
            return (float(place[0]), float(place[1]), float(place[2]))
    return center


def infarct(rng: np.random.Generator, scene: Scene, plan: Plan) -> list[LaidLesion]:
    """A wedge that widens toward the cortex, or a small deep one."""
    if plan.radius_mm < 6:
        core = _distance(rng, scene, plan.center, plan.radius_mm, 0.15)
    else:
        direction = np.asarray(plan.center) - (0, -17, 12)
        direction /= np.linalg.norm(direction)
        gaps = (scene.x, scene.y + np.float32(17), scene.z - np.float32(12))
        r = np.sqrt(gaps[0] ** 2 + gaps[1] ** 2 + gaps[2] ** 2) + np.float32(1)
        cosine = sum(g * np.float32(d) for g, d in zip(gaps, direction, strict=True)) / r
        angle = np.arccos(np.clip(cosine, -1, 1))
        uneven = noise(rng, 22.0)[scene.box]
        width = np.float32(np.clip(plan.radius_mm / 45, 0.12, 0.6))
        core = np.maximum((angle - width * (1 + 0.25 * uneven)) * r, np.float32(rng.uniform(22, 40)) - r)
    share = coverage(core) * scene.brain * (scene.interior.cerebrum < 0.5)
    return [LaidLesion("infarct", (Part("infarct", scene.box, share, _opacity(rng)),))]


def white_matter_lesions(rng: np.random.Generator, scene: Scene, plan: Plan) -> list[LaidLesion]:
    """Many small round or oval lesions of the white matter, most of them near the ventricles."""
    around = scene.interior.ventricles
    likely = (scene.white > 0.85) & (scene.interior.cerebrum < -6)
    near = np.flatnonzero(likely & (around < 14))
    far = np.flatnonzero(likely)
    lesions = []
    opacity = _opacity(rng)
    for _ in range(int(rng.integers(4, 45))):
        places = near if len(near) and rng.random() < 0.6 else far
        if not len(places):
            continue
        i, j, k = np.unravel_index(int(rng.choice(places)), scene.white.shape)
        center = (float(scene.x.ravel()[i]), float(scene.y.ravel()[j]), float(scene.z.ravel()[k]))
        lesions.append(_small(rng, scene, (int(i), int(j), int(k)), center, opacity))
    return lesions


def _small(
    rng: np.random.Generator, scene: Scene, at: tuple[int, int, int], center: Point, opacity: float
) -> LaidLesion:
    """One small ellipsoid, in a box of its own."""
    radii = np.exp(rng.normal(np.log(2.6), 0.4)) * np.exp(rng.normal(0, 0.2, 3))
    reach = int(np.ceil(radii.max() / 1.5)) + 2
    starts = [max(0, a - reach) for a in at]
    part = tuple(slice(s, min(n, a + reach + 1)) for s, a, n in zip(starts, at, scene.white.shape, strict=True))
    gaps = [
        (np.take(a.ravel(), np.arange(p.start, p.stop)) - np.float32(c)) / np.float32(r)
        for a, p, c, r in zip((scene.x, scene.y, scene.z), part, center, radii, strict=True)
    ]
    r = np.sqrt(gaps[0][:, None, None] ** 2 + gaps[1][:, None] ** 2 + gaps[2] ** 2)
    share = coverage((r - 1) * np.float32(radii.min())) * scene.brain[part]
    box = tuple(slice(b.start + p.start, b.start + p.stop) for b, p in zip(scene.box, part, strict=True))
    strength = float(np.clip(opacity * rng.uniform(0.7, 1.1), 0, 1))
    return LaidLesion("white matter lesion", (Part("plaque", (box[0], box[1], box[2]), share, strength),))


def periventricular_disease(rng: np.random.Generator, scene: Scene, plan: Plan) -> list[LaidLesion]:
    """Confluent changes along both lateral ventricles, unequal between the sides, with a few small ones beside."""
    lesions = []
    around, uneven = scene.interior.ventricles, noise(rng, 20.0)[scene.box]
    opacity = _opacity(rng)
    for side in (1, -1):
        width = np.float32(rng.uniform(4, 13))
        share = np.clip(0.5 - (around - width * (1 + 0.5 * uneven)) / 3, 0, 1) * scene.white * (scene.x * side > 1)
        lesions.append(
            LaidLesion("periventricular disease", (Part("plaque", scene.box, share * (around > 0), opacity),))
        )
    return lesions + white_matter_lesions(rng, scene, plan)[:8]


def hemorrhage(rng: np.random.Generator, scene: Scene, plan: Plan) -> list[LaidLesion]:
    """Blood within the brain: fresh, or older with a bright body and a dark wall, with a rim of edema."""
    core = _distance(rng, scene, plan.center, plan.radius_mm * 0.85, 0.18)
    inside = (scene.interior.cavity < -1) & (scene.interior.cerebrum < 1)
    opacity = float(rng.uniform(0.6, 1))
    parts = [Part("edema", scene.box, _edema(rng, scene, core, rng.uniform(1, 6)), opacity)]
    if rng.random() < 0.5:
        parts.append(Part("fresh blood", scene.box, coverage(core) * inside, opacity, always=True))
    else:
        parts.append(Part("iron", scene.box, coverage(core) * inside, opacity, always=True))
        parts.append(Part("old blood", scene.box, coverage(core + 2.0) * inside, opacity, always=True))
    return [LaidLesion("hemorrhage", tuple(parts))]


def subdural(rng: np.random.Generator, scene: Scene, plan: Plan) -> list[LaidLesion]:
    """A crescent along the inside of the skull."""
    center = np.asarray(_on_the_skull(scene, plan.center))
    gaps = [(a - np.float32(c)) for a, c in zip((scene.x, scene.y, scene.z), center, strict=True)]
    away = np.sqrt(gaps[0] ** 2 + gaps[1] ** 2 + gaps[2] ** 2) / np.float32(rng.uniform(40, 85))
    thick = np.float32(rng.uniform(4, 14)) * np.clip(1 - away * away, -1, 1)
    share = coverage(np.maximum(-scene.interior.cavity - thick, scene.interior.cavity + 0.5))
    # Distances shrink to nothing along the inner seams of the cavity too; only its outer face bears a crescent.
    outer = ellipsoid(scene.interior.space, (0, -17, 18), (70, 90, 61)) > -(thick + 10)
    share = share * (scene.x * np.sign(center[0]) > 1.5) * (scene.z > -20) * outer
    tissue = str(rng.choice(["fresh blood", "subdural fluid"], p=[0.65, 0.35]))
    return [LaidLesion("subdural", (Part(tissue, scene.box, share, float(rng.uniform(0.6, 1)), always=True),))]


def epidural(rng: np.random.Generator, scene: Scene, plan: Plan) -> list[LaidLesion]:
    """A lens of blood between skull and dura."""
    center = np.asarray(_on_the_skull(scene, plan.center))
    inward = (np.array([0.0, -17.0, 18.0]) - center) / np.linalg.norm(np.array([0.0, -17.0, 18.0]) - center)
    radius = rng.uniform(28, 45)
    height = rng.uniform(6, 20)
    place = center - inward * (radius - height)
    gaps = [(a - np.float32(c)) for a, c in zip((scene.x, scene.y, scene.z), place, strict=True)]
    ball = np.sqrt(gaps[0] ** 2 + gaps[1] ** 2 + gaps[2] ** 2) - np.float32(radius)
    share = coverage(np.maximum(ball, scene.interior.cavity + 0.3))
    return [LaidLesion("epidural", (Part("fresh blood", scene.box, share, 1.0, always=True),))]


def subarachnoid(rng: np.random.Generator, scene: Scene, plan: Plan) -> list[LaidLesion]:
    """Blood in the cerebrospinal fluid of cisterns and sulci around one place."""
    fluid = np.clip(1 - scene.brain, 0, 1) * (scene.interior.cavity < -1.5) * (scene.interior.ventricles > 2)
    place = (plan.center[0] * 0.6, plan.center[1], -10.0) if rng.random() < 0.5 else plan.center
    near = _distance(rng, scene, place, 18 + plan.radius_mm, 0.25)
    share = np.clip(0.5 - near / 6, 0, 1) * fluid
    return [LaidLesion("subarachnoid", (Part("fresh blood", scene.box, share, float(rng.uniform(0.5, 1))),))]


def isointense_mass(rng: np.random.Generator, scene: Scene, plan: Plan) -> list[LaidLesion]:
    """A mass about as bright as gray matter, which shows by its place and by what it pushes."""
    core = _distance(rng, scene, plan.center, max(plan.radius_mm, 7.0), 0.1)
    share = coverage(core) * ((scene.interior.cavity < -2) & (scene.interior.cerebrum < 1))
    return [LaidLesion("isointense mass", (Part("iso", scene.box, share, 1.0, always=True),))]


BUILDERS: dict[str, Callable[[np.random.Generator, Scene, Plan], list[LaidLesion]]] = {
    "tumor": tumor,
    "enhancing tumor": enhancing_tumor,
    "meningioma": meningioma,
    "infarct": infarct,
    "white matter lesions": white_matter_lesions,
    "periventricular disease": periventricular_disease,
    "hemorrhage": hemorrhage,
    "subdural": subdural,
    "epidural": epidural,
    "subarachnoid": subarachnoid,
    "isointense mass": isointense_mass,
}
