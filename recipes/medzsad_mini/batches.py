"""Batches of generated and auxiliary images, ready for the tower."""

from dataclasses import dataclass

import torch
from torch import Tensor

from medzsad.generator.fields import Dice
from medzsad.generator.images import generate
from medzsad.slices.transforms import CLIP_MEAN, CLIP_STD
from recipes.medzsad_mini.auxiliary import AuxiliarySet, draw_auxiliary
from recipes.medzsad_mini.captions import NAMES, caption, pick


@dataclass(frozen=True, slots=True)
class Batch:
    """Images with all that the losses ask for; generated ones come first.

    Attributes:
        images: (b, 3, size, size), CLIP-normalized.
        masks: (b, size, size), 1 in a defect.
        labels: (b,) int64.
        names: Class name of each image.
        captions: One for each generated image.
    """

    images: Tensor
    masks: Tensor
    labels: Tensor
    names: tuple[str, ...]
    captions: tuple[str, ...]


def normalize_images(images: Tensor) -> Tensor:
    """(b, 3, h, w) in [0, 1] as CLIP expects them."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return (images - mean) / std


def draw_batch(
    source: torch.Generator, auxiliary: AuxiliarySet, *, generated: int, industrial: int, size: int, anatomies: int
) -> Batch:
    """A batch of so many generated and so many augmented auxiliary images; `anatomies` as `generate` takes it."""
    made = generate(generated, size, source, anatomies=anatomies)
    names = [pick(NAMES, source) for _ in range(generated)]
    facts = zip(names, made.families.tolist(), made.kinds.tolist(), strict=True)
    captions = tuple(caption(name, family, kind, source) for name, family, kind in facts)
    images, masks = made.images, made.masks
    if industrial:
        more, more_masks, more_names = draw_auxiliary(Dice(source), auxiliary, industrial, size)
        images, masks = torch.cat((images, more)), torch.cat((masks, more_masks))
        names += more_names
    labels = (masks.sum(dim=(1, 2)) >= 4).long()
    return Batch(normalize_images(images), masks, labels, tuple(names), captions)


def auxiliary_batch(auxiliary: AuxiliarySet, first: int, count: int, size: int) -> Batch:
    """Auxiliary images from `first` on as they are, for validation."""
    dice = Dice(torch.Generator())
    images, masks, names = draw_auxiliary(dice, auxiliary, count, size, augment=False, first=first)
    return Batch(normalize_images(images), masks, auxiliary.labels[first : first + len(names)], tuple(names), ())
