"""Generated images, without and with lesions and their exact masks; nothing in them comes from a real image.

Half are slices through heads in three dimensions (`heads`), others are pictures like those of ultrasound, tomography,
endoscopy and other cameras (`sonography`, `photographs`), and a quarter means no organ in particular (`sketches`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from medzsad.generator.acquisition import acquire, photographed
from medzsad.generator.bodies import FAMILIES as SKETCHES
from medzsad.generator.color import colored
from medzsad.generator.fields import Dice
from medzsad.generator.heads import draw_heads
from medzsad.generator.lesions import KINDS
from medzsad.generator.photographs import draw_endoscopy, draw_fundus, draw_skin
from medzsad.generator.sketches import draw_sketches
from medzsad.generator.sonography import draw_tomogram, draw_ultrasound

# Drawing function and kind of the lesions of each organ that is drawn as cameras and probes show it.
_ORGANS = {
    "ultrasound": (draw_ultrasound, "dark"),
    "tomogram": (draw_tomogram, "dark"),
    "endoscopy": (draw_endoscopy, "displaced"),
    "skin": (draw_skin, "diffuse"),
    "fundus": (draw_fundus, "bright"),
}
FAMILIES = (*SKETCHES, "scan", *_ORGANS)
_SCAN = FAMILIES.index("scan")
_FAMILY_WEIGHTS = (0.05, 0.08, 0.03, 0.02, 0.05, 0.52, 0.07, 0.05, 0.07, 0.03, 0.03)
# Enough different heads for a threshold or a test; trainings ask for more.
_ANATOMIES = 3


@dataclass(frozen=True, slots=True)
class Generated:
    """A batch of generated images.

    Attributes:
        images: (n, 3, size, size) float32 in [0, 1]; most are gray.
        masks: (n, size, size) float32, 1 inside a lesion.
        labels: (n,) int64, 1 where there is a lesion.
        families: (n,) int64, index into FAMILIES.
        kinds: (n,) int64, index into `lesions.KINDS`; -1 without lesion.
    """

    images: Tensor
    masks: Tensor
    labels: Tensor
    families: Tensor
    kinds: Tensor


@torch.no_grad()
def generate(
    count: int, size: int, source: torch.Generator, lesion_share: float = 0.62, anatomies: int = _ANATOMIES
) -> Generated:
    """`count` images of `size` pixels; a share of them has lesions.

    Equal sources give equal images on the same machine.

    Args:
        count: How many.
        size: Side in pixels.
        source: Where all randomness comes from.
        lesion_share: Wanted share of images with lesions; invisible ones are taken back.
        anatomies: Number of different heads that slices are taken from.
    """
    dice = Dice(source)
    families = dice.choice(count, _FAMILY_WEIGHTS).sort().values
    images, masks = torch.zeros(count, 3, size, size), torch.zeros(count, size, size)
    kinds = torch.full((count,), -1)
    for at, drawn in _drawn(dice, families, size, lesion_share, anatomies):
        images[at], masks[at], kinds[at] = drawn
    # Padding may have cut a lesion away: then the image is healthy.
    labels = (masks.sum(dim=(1, 2)) >= 4).long()
    kinds = torch.where(labels == 1, kinds, torch.full_like(kinds, -1))
    order = torch.randperm(count, generator=source)
    masks = masks * labels[:, None, None]
    return Generated(images[order], masks[order], labels[order], families[order], kinds[order])


def _drawn(
    dice: Dice, families: Tensor, size: int, lesion_share: float, anatomies: int
) -> list[tuple[Tensor, tuple[Tensor, Tensor, Tensor]]]:
    """Places in the batch, and images (n, 3, h, w), masks (n, h, w) and kinds (n,) for them."""
    parts: list[tuple[Tensor, tuple[Tensor, Tensor, Tensor]]] = []
    at = (families < len(SKETCHES)).nonzero()[:, 0]
    if len(at):
        made = draw_sketches(dice, families[at], size, lesion_share)
        gray, masks = acquire(dice, made.images, made.masks)
        parts.append((at, (colored(dice, gray, masks), masks, made.kinds)))
    at = (families == _SCAN).nonzero()[:, 0]
    if len(at):
        heads = draw_heads(dice, len(at), size, lesion_share, anatomies)
        gray, masks = acquire(dice, heads.images, heads.masks)
        parts.append((at, (gray[:, None].expand(-1, 3, -1, -1), masks, heads.kinds)))
    for number, (draw, kind) in enumerate(_ORGANS.values(), start=_SCAN + 1):
        at = (families == number).nonzero()[:, 0]
        if len(at):
            images, masks, present = draw(dice, len(at), size, lesion_share)
            kinds = torch.where(present, KINDS.index(kind), -1)
            images = images if images.ndim == 4 else images[:, None].expand(-1, 3, -1, -1)
            parts.append((at, (photographed(dice, images), masks, kinds)))
    return parts
