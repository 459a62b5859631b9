"""What makes one head differ from another: size, age, and the harmless variants that are taken for lesions."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Traits:
    """The drawn properties of one head.

    Attributes:
        scale: Size along x, y, z over that of the mean head.
        age: 0 (young adult) to 1 (very old).
        gap: Width of sulci and fissures over that of the mean head.
        shrink_mm: How far the brain has drawn back from the skull.
        gyrus_mm: Wavelength of the pattern of folds.
        sulcus_depth_mm: Mean depth of the sulci.
        cortex_mm: Thickness of the cortex.
        folia: Fissures of the cerebellum in a full turn.
        ventricle_right: Size of the right lateral ventricle over that of the mean head.
        ventricle_left: The same of the left one.
        cavum_mm: Half of the distance between the leaves of the septum pellucidum.
        skull_mm: Thickness of the skull.
        scalp_mm: Thickness of the scalp.
        hyperostosis_mm: Thickening of the frontal bone on the inside.
        mucosa_mm: Thickness of the lining of each sinus: maxillary right and left, ethmoid, sphenoid, frontal.
        fatty: Strength of the fat in the marrow, 0 to 1.
        caps: Strength of the bright caps and bands along the ventricles, 0 to 1.
        cisterna: Size of the cisterna magna over that of the mean head.
        choroid_cysts: Radius of cysts in the choroid plexus, in millimeters; 0 for none.
        perivascular: How many visible perivascular spaces there are.
        calcified: Strength of calcified pineal gland, choroid plexus and falx, 0 to 1.
        flow: Strength of bright flow in cisterns and ventricles, 0 to 1.
    """

    scale: tuple[float, float, float]
    age: float
    gap: float
    shrink_mm: float
    gyrus_mm: float
    sulcus_depth_mm: float
    cortex_mm: float
    folia: float
    ventricle_right: float
    ventricle_left: float
    cavum_mm: float
    skull_mm: float
    scalp_mm: float
    hyperostosis_mm: float
    mucosa_mm: tuple[float, float, float, float, float]
    fatty: float
    caps: float
    cisterna: float
    choroid_cysts: float
    perivascular: int
    calcified: float
    flow: float


def draw_traits(rng: np.random.Generator) -> Traits:
    """Properties of one head, drawn one after the other."""
    size = rng.normal(1.0, 0.03)
    age = float(rng.beta(1.6, 1.6))
    ventricle = (0.72 + 0.75 * age**2) * rng.lognormal(0, 0.12)
    lining = np.where(rng.random(5) < 0.3, rng.uniform(2, 9, 5), rng.uniform(0.4, 1.6, 5))
    return Traits(
        scale=(size * rng.normal(1, 0.025), size * rng.normal(1, 0.025), size * rng.normal(1, 0.025)),
        age=age,
        gap=float(0.65 + 1.1 * age**1.5 + rng.uniform(0, 0.25)),
        shrink_mm=float(0.3 + 2.6 * age**2 * rng.uniform(0.5, 1)),
        gyrus_mm=float(rng.uniform(9.5, 13)),
        sulcus_depth_mm=float(rng.uniform(13, 21)),
        cortex_mm=float(rng.uniform(2.6, 3.3)),
        folia=float(rng.uniform(26, 34)),
        ventricle_right=float(ventricle * rng.lognormal(0, 0.07)),
        ventricle_left=float(ventricle * rng.lognormal(0, 0.07)),
        cavum_mm=float(rng.uniform(1.5, 4) if rng.random() < 0.15 else 0.2),
        skull_mm=float(rng.uniform(5.5, 9)),
        scalp_mm=float(rng.uniform(4.5, 9)),
        hyperostosis_mm=float(rng.uniform(3, 8) if rng.random() < 0.12 else 0),
        mucosa_mm=(float(lining[0]), float(lining[1]), float(lining[2]), float(lining[3]), float(lining[4])),
        fatty=float(rng.uniform(0.3, 1)),
        caps=float(np.clip(age * rng.uniform(0, 1.3), 0, 1)),
        cisterna=float(rng.uniform(1.3, 2) if rng.random() < 0.15 else rng.uniform(0.4, 1)),
        choroid_cysts=float(rng.uniform(2.5, 5) if rng.random() < 0.3 else 0),
        perivascular=int(rng.poisson(12 * age + 2)),
        calcified=float(rng.uniform(0, 1)),
        flow=float(rng.uniform(0, 1) if rng.random() < 0.5 else 0),
    )
