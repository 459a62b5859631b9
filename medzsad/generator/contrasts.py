"""What generated heads look like under each kind of scan: mean signals of tissues, and how lesions change them."""

import torch
from torch import Tensor

from medzsad.generator.anatomy import LABEL, LABELS
from medzsad.generator.fields import Dice

CONTRASTS = ("t1", "t2", "flair", "pd", "t1c", "dwi", "ct")
# Shares among generated heads; "wild" ones, any signal for any tissue, come on top.
CONTRAST_WEIGHTS = (0.15, 0.2, 0.24, 0.09, 0.14, 0.06, 0.12)
_WILD = 0.2
_SIGNALS = {
    #               t1    t2    flair  pd   t1c   dwi   ct
    "air": (0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),
    "skin": (0.55, 0.35, 0.45, 0.50, 0.60, 0.20, 0.60),
    "fat": (0.95, 0.70, 0.70, 0.80, 0.95, 0.12, 0.02),
    "muscle": (0.42, 0.24, 0.35, 0.45, 0.48, 0.20, 0.68),
    "bone": (0.07, 0.06, 0.06, 0.08, 0.08, 0.03, 1.60),
    "marrow": (0.65, 0.42, 0.40, 0.50, 0.68, 0.12, 1.30),
    "fluid": (0.14, 1.00, 0.12, 0.75, 0.14, 0.10, 0.12),
    "gray": (0.46, 0.56, 0.60, 0.76, 0.47, 0.52, 0.49),
    "white": (0.62, 0.40, 0.48, 0.62, 0.63, 0.43, 0.39),
    "deep_gray": (0.52, 0.48, 0.55, 0.68, 0.54, 0.46, 0.47),
    "pallidum": (0.58, 0.36, 0.45, 0.58, 0.60, 0.36, 0.44),
    "stem": (0.58, 0.44, 0.49, 0.62, 0.60, 0.47, 0.42),
    "cerebellum": (0.47, 0.54, 0.57, 0.74, 0.48, 0.50, 0.47),
    "vitreous": (0.16, 1.00, 0.20, 0.78, 0.17, 0.25, 0.15),
    "lens": (0.45, 0.15, 0.30, 0.35, 0.45, 0.10, 0.90),
    "mucosa": (0.45, 0.92, 0.80, 0.82, 0.85, 0.45, 0.52),
    "vein": (0.35, 0.15, 0.22, 0.30, 0.98, 0.10, 0.62),
    "artery": (0.25, 0.05, 0.10, 0.12, 0.90, 0.05, 0.55),
    "choroid": (0.45, 0.72, 0.62, 0.72, 0.95, 0.45, 0.75),
    "pineal": (0.45, 0.60, 0.58, 0.62, 0.90, 0.40, 1.10),
    "pituitary": (0.60, 0.50, 0.52, 0.60, 0.98, 0.35, 0.58),
    "dura": (0.42, 0.28, 0.38, 0.38, 0.90, 0.20, 0.66),
    "tongue": (0.55, 0.40, 0.48, 0.52, 0.60, 0.22, 0.55),
    "teeth": (0.08, 0.05, 0.05, 0.08, 0.08, 0.02, 1.60),
    "cap": (0.60, 0.50, 0.66, 0.68, 0.61, 0.46, 0.38),
}
_TABLE = torch.tensor([_SIGNALS[name] for name in LABELS])
# Freely varying tissues: flow, suppression of fluid, fat saturation, calcification.
_FREE = {"vitreous": 0.35, "mucosa": 0.2, "vein": 0.25, "artery": 0.25, "choroid": 0.15, "fat": 0.15, "cap": 0.05}
# Chances that a lesion is brighter than the tissue around it.
BRIGHT_CHANCE = torch.tensor((0.15, 0.92, 0.95, 0.9, 0.7, 0.85, 0.55))


def draw_signals(dice: Dice, contrast: int) -> Tensor:
    """(labels,) mean signals of one head under a kind of scan, index into CONTRASTS; 0 is air."""
    deviation = dice.number(0.02, 0.06) * dice.normal(len(LABELS))
    for name, spread in _FREE.items():
        deviation[LABEL[name]] = spread * dice.normal(1)[0]
    signals = _TABLE[:, contrast] + deviation
    if CONTRASTS[contrast] == "ct":
        signals = torch.where(_TABLE[:, contrast] > 1, _TABLE[:, contrast], signals)
    elif dice.number() < 0.15:
        signals[LABEL["fat"]] = 0.15 + 0.1 * dice.number()  # saturated fat
    if dice.number() < _WILD:
        signals = dice.uniform(len(LABELS))
        signals[LABEL["white"]] = signals[LABEL["gray"]] + 0.12 * float(dice.normal(1)[0])
        for name in ("stem", "cap", "deep_gray", "pallidum", "cerebellum"):
            near = "gray" if name == "cerebellum" else "white"
            signals[LABEL[name]] = signals[LABEL[near]] + 0.06 * float(dice.normal(1)[0])
    signals[LABEL["air"]] = 0.02 * dice.number()
    return signals.clamp(min=0.0)
