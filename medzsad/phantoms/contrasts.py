"""How bright each tissue is in each kind of image, and the pictures on the working grid."""

from dataclasses import dataclass

import numpy as np

from medzsad.phantoms.layers import BRAIN_TISSUES

_COLUMNS = ("t1", "t2", "pd", "flair", "t1c", "dwi", "ct")
# Relative signal for MR, HU for CT, in the order of _COLUMNS. From textbooks' rules (fat bright on T1, water bright on
# T2, and so on), not from any scan.
_TABLE: dict[str, tuple[float, ...]] = {
    "air": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1000),
    "skin": (0.50, 0.38, 0.62, 0.42, 0.60, 0.10, 45),
    "fat": (1.00, 0.72, 0.82, 0.72, 1.00, 0.08, -95),
    "muscle": (0.42, 0.20, 0.52, 0.30, 0.48, 0.14, 55),
    "gland": (0.62, 0.45, 0.70, 0.50, 0.75, 0.25, 15),
    "bone": (0.06, 0.03, 0.06, 0.05, 0.07, 0.02, 1150),
    "marrow": (0.72, 0.42, 0.55, 0.42, 0.74, 0.06, 480),
    "tooth": (0.03, 0.02, 0.03, 0.02, 0.03, 0.01, 1900),
    "csf": (0.16, 1.00, 0.86, 0.08, 0.16, 0.10, 8),
    "gray": (0.48, 0.55, 0.86, 0.56, 0.50, 0.52, 38),
    "white": (0.70, 0.38, 0.68, 0.43, 0.71, 0.44, 29),
    "callosum": (0.73, 0.35, 0.66, 0.40, 0.74, 0.48, 29),
    "insula white": (0.66, 0.41, 0.72, 0.46, 0.67, 0.45, 31),
    "thalamus": (0.56, 0.47, 0.78, 0.50, 0.57, 0.50, 36),
    "putamen": (0.52, 0.47, 0.80, 0.51, 0.53, 0.47, 38),
    "caudate": (0.50, 0.50, 0.82, 0.53, 0.51, 0.49, 38),
    "pallidum": (0.62, 0.32, 0.66, 0.40, 0.63, 0.36, 38),
    "nigra": (0.58, 0.32, 0.68, 0.40, 0.60, 0.36, 36),
    "stem": (0.66, 0.42, 0.72, 0.44, 0.67, 0.46, 29),
    "cerebellar gray": (0.48, 0.52, 0.84, 0.54, 0.50, 0.50, 38),
    "cerebellar white": (0.68, 0.40, 0.70, 0.44, 0.69, 0.44, 30),
    "dentate": (0.56, 0.36, 0.68, 0.42, 0.57, 0.40, 36),
    "vitreous": (0.18, 0.98, 0.84, 0.10, 0.18, 0.10, 10),
    "lens": (0.44, 0.22, 0.45, 0.30, 0.46, 0.20, 75),
    "sclera": (0.32, 0.20, 0.40, 0.26, 0.48, 0.12, 50),
    "mucosa": (0.46, 0.92, 0.84, 0.78, 0.92, 0.40, 32),
    "artery": (0.10, 0.05, 0.12, 0.08, 0.85, 0.03, 44),
    "vein": (0.34, 0.14, 0.40, 0.22, 1.02, 0.08, 54),
    "dura": (0.34, 0.18, 0.42, 0.30, 0.70, 0.12, 58),
    "choroid": (0.46, 0.72, 0.82, 0.58, 0.98, 0.42, 48),
    "pineal": (0.52, 0.60, 0.80, 0.56, 0.92, 0.42, 48),
    "pituitary": (0.58, 0.55, 0.80, 0.55, 1.00, 0.42, 45),
    "calcification": (0.30, 0.10, 0.30, 0.18, 0.34, 0.06, 260),
    "caps": (0.60, 0.60, 0.84, 0.70, 0.61, 0.46, 24),
    "flow": (0.30, 0.30, 0.60, 0.62, 0.30, 0.14, 8),
    "edema": (0.50, 0.80, 0.95, 0.84, 0.50, 0.42, 19),
    "tumor": (0.46, 0.72, 0.92, 0.77, 0.50, 0.60, 34),
    "enhancing": (0.46, 0.66, 0.90, 0.72, 1.08, 0.62, 48),
    "necrosis": (0.26, 0.94, 0.92, 0.45, 0.26, 0.25, 14),
    "fluid": (0.20, 1.00, 0.90, 0.18, 0.20, 0.12, 9),
    "meningioma": (0.50, 0.57, 0.86, 0.60, 1.05, 0.62, 46),
    "infarct": (0.42, 0.80, 0.95, 0.85, 0.42, 1.10, 17),
    "plaque": (0.46, 0.80, 0.96, 0.84, 0.50, 0.60, 19),
    "fresh blood": (0.50, 0.30, 0.66, 0.62, 0.52, 0.30, 67),
    "old blood": (1.00, 0.92, 0.92, 0.95, 1.00, 0.62, 50),
    "iron": (0.20, 0.06, 0.30, 0.12, 0.22, 0.05, 52),
    "subdural fluid": (0.60, 0.90, 0.92, 0.80, 0.66, 0.40, 18),
    "iso": (0.50, 0.53, 0.85, 0.55, 0.54, 0.52, 37),
    "cyst": (0.20, 0.96, 0.90, 0.42, 0.22, 0.62, 10),
}
TISSUES = frozenset(_TABLE)
_GRAIN = {"fat": 0.10, "muscle": 0.12, "marrow": 0.16, "gland": 0.15, "mucosa": 0.10, "skin": 0.1}
_GRAIN |= dict.fromkeys(BRAIN_TISSUES, 0.016)
# Their brightness differs most from scan to scan.
_UNCERTAIN = frozenset({"mucosa", "dura", "choroid", "pituitary", "vein", "gland", "fat", "flow", "caps", "cyst"})
FAMILIES = _COLUMNS


@dataclass(frozen=True, slots=True)
class Contrast:
    """One kind of image.

    Attributes:
        family: Name of the kind.
        values: Value of every tissue.
        grain: Relative strength of the texture by tissue.
        air: Value of air.
    """

    family: str
    values: dict[str, float]
    grain: dict[str, float]

    @property
    def air(self) -> float:
        """Value where there is no tissue."""
        return self.values["air"]


def draw_contrast(rng: np.random.Generator, family: str, fatty: float) -> Contrast:
    """A contrast of one family, in which every tissue differs a little from the table.

    Args:
        rng: Where every number comes from.
        family: One of FAMILIES.
        fatty: Strength of the fat in the marrow, 0 to 1.
    """
    column = _COLUMNS.index(family)
    ct = family == "ct"
    values = {}
    power = rng.uniform(0.8, 1.25)
    for tissue, row in _TABLE.items():
        value = row[column]
        draw = rng.standard_normal()
        if ct:
            values[tissue] = value + draw * (90 if value > 200 else 1.5)
        else:
            spread = 0.025 if tissue in BRAIN_TISSUES else 0.20 if tissue in _UNCERTAIN else 0.10
            values[tissue] = max(0.0, value**power * (1 + spread * draw))
    values["air"] = -1000.0 if ct else 0.0
    if not ct:
        values["marrow"] *= 0.5 + 0.6 * fatty
        if rng.random() < 0.25:  # saturated fat
            values["fat"] *= 0.15
            values["marrow"] *= 0.25
        if family in ("t1", "pd") and rng.random() < 0.4:  # fresh spins flow in
            values["artery"] = rng.uniform(0.7, 1.2)
    return Contrast(family, values, _GRAIN)
