"""The development data as the yardsticks read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True, slots=True)
class Pictures:
    """Gray pictures with what is known about them.

    Attributes:
        pixels: (rows, columns) float32 in 0..255, one per picture.
        truths: (rows, columns) bool per picture; empty where there are image labels only.
        labels: (n,) bool, whether it holds a lesion.
        groups: Patient of each picture, or the picture itself.
    """

    pixels: tuple[NDArray[np.float32], ...]
    truths: tuple[NDArray[np.bool_], ...]
    labels: NDArray[np.bool_]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Volume:
    """A scan on disk and its lesion mask (i, j, k)."""

    path: Path
    truth: NDArray[np.bool_]


def read_lgg(folder: Path, limit: int | None) -> Pictures:
    """The FLAIR channel of the TCGA-LGG slices; the file names begin with the patient, such as TCGA_CS_4941."""
    paths = thinned(sorted((folder / "images").iterdir()), limit)
    pixels, truths = [], []
    for path in paths:
        with Image.open(path) as picture, Image.open(folder / "masks" / path.name) as mask:
            pixels.append(np.asarray(picture, np.float32)[..., 1])
            truths.append(np.asarray(mask.convert("L")) > 0)
    labels = np.array([truth.any() for truth in truths])
    patients = tuple("_".join(path.stem.split("_")[:3]) for path in paths)
    return Pictures(tuple(pixels), tuple(truths), labels, patients)


def read_brain_mri(folder: Path, limit: int | None) -> Pictures:
    """The BrainMRI benchmark in gray: 98 normal images, 155 with a tumor."""
    paths = [
        path
        for kind in ("no", "yes")
        for path in thinned(sorted((folder / kind).iterdir()), None if limit is None else -(-limit // 2))
    ]
    pixels = []
    for path in paths:
        with Image.open(path) as picture:
            pixels.append(np.asarray(picture.convert("L"), np.float32))
    labels = np.array([path.parent.name == "yes" for path in paths])
    return Pictures(tuple(pixels), (), labels, tuple(f"{path.parent.name}/{path.name}" for path in paths))


def read_volume(image: Path, truth: Path, limit: int | None, folder: Path) -> Volume:
    """A volume; with a limit, so many slices around the one with the largest lesion area, written to `folder`."""
    region = np.asarray(nib.load(truth).dataobj) > 0
    if limit is None or limit >= region.shape[2]:
        return Volume(image, region)
    center = int(region.sum(axis=(0, 1)).argmax())
    first = min(max(0, center - limit // 2), region.shape[2] - limit)
    path = folder / f"{image.parent.name}.nii.gz"
    nib.load(image).slicer[:, :, first : first + limit].to_filename(path)
    return Volume(path, region[:, :, first : first + limit])


def thinned(paths: Sequence[Path], limit: int | None) -> list[Path]:
    """At most `limit` of the paths, evenly spread; all without a limit."""
    if limit is None or limit >= len(paths):
        return list(paths)
    return [paths[int(place)] for place in np.linspace(0, len(paths) - 1, limit)]
