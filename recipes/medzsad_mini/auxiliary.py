"""Industrial images with defect masks, in memory and augmented on the fly."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from medzsad.datasets.layouts import read_data
from medzsad.datasets.records import Record
from medzsad.generator.fields import Dice

# Classes whose license lets weights trained on them be shipped (attribution: docs/embedded-model.md).
SHIPPABLE = ("ball screw", "printed circuit board", "road", "cookie")


def read_records(root: Path, classes: Sequence[str] = SHIPPABLE) -> list[Record]:
    """The records of the given classes, both splits; defects without a pixel label are left out.

    Raises:
        ConfigError: There are no such data, or they do not know one of the classes.
    """
    data = read_data(root, split="all", classes=classes)
    return [record for record in data.records if not record.label or record.mask is not None]


def split_records(records: Sequence[Record], held_out: float = 0.15) -> tuple[list[Record], list[Record]]:
    """Records to train on and records to validate on, by a hash of the file's name: the same on every machine."""
    parts: tuple[list[Record], list[Record]] = ([], [])
    for record in records:
        key = "/".join(record.image.parts[-4:]).encode()
        share = int.from_bytes(hashlib.sha256(key).digest()[:4], "big") / 2**32
        parts[int(share < held_out)].append(record)
    return parts


@dataclass(frozen=True, slots=True)
class AuxiliarySet:
    """Auxiliary images in memory, fitted into black squares.

    Attributes:
        images: (n, 3, side, side) uint8.
        masks: (n, side, side) uint8, 255 in a defect.
        labels: (n,) int64.
        names: Class name of each.
    """

    images: Tensor
    masks: Tensor
    labels: Tensor
    names: tuple[str, ...]


def load_auxiliary(records: Sequence[Record], side: int = 320) -> AuxiliarySet:
    """The images and masks of the records, scaled so that the longer side has `side` pixels, the rest black."""
    images = np.zeros((len(records), side, side, 3), np.uint8)
    masks = np.zeros((len(records), side, side), np.uint8)
    for index, record in enumerate(records):
        with Image.open(record.image) as file:
            image = file.convert("RGB")
        scale = side / max(image.size)
        width, height = (max(1, round(length * scale)) for length in image.size)
        left, top = (side - width) // 2, (side - height) // 2
        box = np.s_[index, top : top + height, left : left + width]
        images[box] = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
        if record.mask is not None:
            with Image.open(record.mask) as file:
                mask = file.convert("L").point(lambda value: 255 if value else 0)
            masks[box] = np.asarray(mask.resize((width, height), Image.Resampling.BILINEAR))
    labels = torch.tensor([record.label for record in records])
    return AuxiliarySet(
        torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(masks),
        labels,
        tuple(record.class_name for record in records),
    )


def draw_auxiliary(
    dice: Dice, auxiliary: AuxiliarySet, count: int, size: int, augment: bool = True, first: int = 0
) -> tuple[Tensor, Tensor, list[str]]:
    """Images (n, 3, size, size) in [0, 1], masks (n, size, size) of 0 and 1, and class names.

    Args:
        dice: Random numbers.
        auxiliary: Where they are taken from.
        count: How many, at random; without `augment` those from `first` on, in order.
        size: Side in pixels.
        augment: Whether they are cropped, turned, mirrored, stretched, grayed and changed in brightness.
        first: First one taken without `augment`.
    """
    total = len(auxiliary.names)
    if not augment:
        picks = torch.arange(first, min(first + count, total))
        theta = torch.eye(2, 3).expand(len(picks), 2, 3)
    else:
        picks = torch.multinomial(torch.ones(total), count, replacement=True, generator=dice.source)
        theta = _random_crops(dice, count)
    grid = affine_grid(theta, [len(picks), 1, size, size], align_corners=False)
    images = grid_sample(auxiliary.images[picks].float() / 255, grid, mode="bilinear", align_corners=False)
    masks = grid_sample(auxiliary.masks[picks, None].float() / 255, grid, mode="bilinear", align_corners=False)
    if augment:
        images = _recolored(dice, images)
    return images, (masks[:, 0] > 0.5).float(), [auxiliary.names[index] for index in picks.tolist()]


def _random_crops(dice: Dice, count: int) -> Tensor:
    quarter = torch.floor(dice.uniform(count) * 4) * (torch.pi / 2)
    angle = quarter + dice.uniform(count, low=-0.4, high=0.4) * (dice.uniform(count) < 0.4)
    zoom = dice.uniform(count, low=0.4, high=1.0)
    stretch = dice.logarithmic(count, low=0.75, high=1.33)
    mirror = torch.where(dice.uniform(count) < 0.5, 1.0, -1.0)
    shift_x, shift_y = (dice.uniform(count, low=-1, high=1) * (1 - zoom) for _ in range(2))
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = torch.stack(
        (cos * mirror * stretch, -sin / stretch, shift_x, sin * mirror * stretch, cos / stretch, shift_y), dim=1
    )
    return rows.reshape(count, 2, 3)


def _recolored(dice: Dice, images: Tensor) -> Tensor:
    count = len(images)
    gray = (dice.uniform(count) < 0.7)[:, None, None, None]
    images = torch.where(gray, images.mean(dim=1, keepdim=True).expand_as(images), images)
    contrast = dice.logarithmic(count, 1, 1, 1, low=0.7, high=1.5)
    inverted = (dice.uniform(count) < 0.2)[:, None, None, None]
    images = torch.where(inverted, 1 - images, images)
    noise = dice.uniform(count, 1, 1, 1, low=0, high=0.05) * dice.normal(*images.shape)
    return ((images - 0.5) * contrast + 0.5 + dice.uniform(count, 1, 1, 1, low=-0.15, high=0.15) + noise).clamp(0, 1)
