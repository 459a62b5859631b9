"""Noise on the object against noise anywhere, for learning without defects from a few sound scenes."""

import torch
from reconstruction_claims import Claim, Figures
from reconstruction_scenes import Scene, Scorer, make_scene, patch_masks, random_encoder
from sklearn.metrics import roc_auc_score
from torch import Tensor

from medzsad.training.object_noise import object_noise

_SHOTS = 4
_SENSITIVITY = 0.8


def scenes(seed: int, test: int) -> tuple[list[Scene], list[Scene]]:
    """Sound scenes to learn from, and scenes to score, every second one with a defect."""
    source = torch.Generator().manual_seed(seed)
    return (
        [make_scene(source, defective=False) for _ in range(_SHOTS)],
        [make_scene(source, defective=number % 2 == 1) for number in range(test)],
    )


def pixels_outside(scored: list[Scene], anywhere: bool, seed: int) -> float:
    """How many pixels of noise lie outside the true objects, per scene."""
    source = torch.Generator().manual_seed(seed)
    masks = [object_noise(one.image, source, anywhere=anywhere)[1].bool() for one in scored]
    return sum(float((mask & ~one.body).sum()) for mask, one in zip(masks, scored, strict=True)) / len(scored)


def map_auroc(maps: Tensor, scored: list[Scene]) -> float:
    """AUROC of the patches of all scenes together."""
    truth = patch_masks(torch.stack([one.defect for one in scored]))
    return float(roc_auc_score(truth.flatten().numpy(), maps.flatten().numpy()))


def background_alarms(maps: Tensor, scored: list[Scene]) -> float:
    """Share of the patches beside the object that are marked where 80 % of those with a defect are."""
    defect = patch_masks(torch.stack([one.defect for one in scored])) > 0
    beside = patch_masks(torch.stack([one.body for one in scored])) == 0
    threshold = torch.quantile(maps[defect], 1 - _SENSITIVITY)
    return float((maps[beside] >= threshold).float().mean())


def measure(seed: int, steps: int, test: int) -> Figures:
    """All figures of one seed."""
    sound, scored = scenes(seed, test)
    found: Figures = {}
    for name, anywhere in (("object", False), ("anywhere", True)):
        source = torch.Generator().manual_seed(seed + 1)
        maps = Scorer(random_encoder(seed), sound, anywhere, steps, source).maps(scored)
        found[f"pixels outside: {name}"] = pixels_outside(scored, anywhere, seed)
        found[f"map: {name}"] = map_auroc(maps, scored)
        found[f"alarms: {name}"] = background_alarms(maps, scored)
    return found


def claims() -> list[Claim]:
    """What is claimed of noise on the object."""

    def both(kind: str) -> dict[str, str]:
        return {f"{kind}: object": "on the object", f"{kind}: anywhere": "anywhere"}

    return [
        Claim("Noise stays inside the object", {"pixels outside: object": "pixels outside per scene"}, "zero"),
        Claim("Noise on the object gives a better map", both("map")),
        Claim("Noise on the object gives fewer background alarms at 80 % sensitivity", both("alarms"), "lower"),
    ]
