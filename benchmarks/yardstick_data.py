"""The development data as the yardsticks read it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medzsad.scan.picture import read_picture
from medzsad.scan.records import Candidate, ReadLimits, Scan

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as Pillow makes gray of color


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture on disk with what is known about it.

    Attributes:
        path: The file.
        truth: (rows, columns) bool, where the lesion is; None where only its presence is known.
        abnormal: Whether it holds a lesion.
        subject: Whom it shows; the picture's own name where that is not known.
        channel: The one color channel that is scored; None scores the picture as it is.
    """

    path: Path
    truth: NDArray[np.bool_] | None
    abnormal: bool
    subject: str
    channel: int | None = None

    def scan(self) -> Scan:
        """The picture as `medzsad run` reads it: a scan of one slice, (i, j, 1), or (i, j, 1, 3) in color."""
        candidate = Candidate(self.path.stem, "picture", (self.path,), self.path.name)
        scan = read_picture(candidate, ReadLimits())
        if self.channel is None or scan.voxels.ndim == 3:
            return scan
        return replace(scan, voxels=np.ascontiguousarray(scan.voxels[..., self.channel]))

    def gray(self) -> NDArray[np.float32]:
        """(rows, columns) brightness in 0..255."""
        voxels = self.scan().voxels
        return np.ascontiguousarray((voxels if voxels.ndim == 3 else voxels @ _LUMA)[:, :, 0].T)


@dataclass(frozen=True, slots=True)
class Volume:
    """A scan on disk in NIfTI.

    Attributes:
        path: The file.
        truth: (i, j, k) bool, where the lesions are; nowhere in a healthy one.
    """

    path: Path
    truth: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """The file's name without its endings."""
        return self.path.name.split(".")[0]

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Sides of a voxel along i, j, k."""
        return tuple(float(side) for side in nib.load(self.path).header.get_zooms()[:3])

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return abs(float(np.linalg.det(nib.load(self.path).affine[:3, :3]))) / 1000

    def voxels(self) -> NDArray[np.float32]:
        """The values (i, j, k)."""
        return np.asarray(nib.load(self.path).get_fdata(dtype=np.float32))


def read_lgg(folder: Path, limit: int | None) -> list[Picture]:
    """The FLAIR channel of the TCGA-LGG slices; the file names begin with the patient, such as TCGA_CS_4941."""
    return read_masked(folder, limit, r"[^_]+_[^_]+_[^_]+", ending="", channel=1)


def read_masked(
    folder: Path, limit: int | None, subject: str, *, ending: str = ".png", channel: int | None = None
) -> list[Picture]:
    """The pictures of `images/` with the masks of the same stem in `masks/`.

    Args:
        folder: Holds both folders.
        limit: At most so many pictures.
        subject: Regular expression for the part of a stem that tells the subject; "" if none does.
        ending: Of the masks' names; "" if they have the pictures' own.
        channel: The one color channel that is scored.
    """
    found = []
    for path in thinned(sorted((folder / "images").iterdir()), limit):
        with Image.open(folder / "masks" / (path.stem + ending if ending else path.name)) as mask:
            truth = np.asarray(mask.convert("L")) > 0
        match = re.search(subject, path.stem) if subject else None
        found.append(Picture(path, truth, bool(truth.any()), match.group() if match else path.stem, channel))
    return found


def read_brain_mri(folder: Path, limit: int | None) -> list[Picture]:
    """The BrainMRI benchmark: 98 normal images, 155 with a tumor, as they are."""
    half = None if limit is None else -(-limit // 2)
    return [
        Picture(path, None, kind == "yes", f"{kind}/{path.name}")
        for kind in ("no", "yes")
        for path in thinned(sorted((folder / kind).iterdir()), half)
    ]


def read_volume(image: Path, truth: Path | None, limit: int | None, folder: Path) -> Volume:
    """A volume; with a limit, so many slices around the one with the largest lesion area, written to `folder`.

    Args:
        image: NIfTI file.
        truth: Its lesion mask; None for a healthy one, of which the middle is taken.
        limit: At most so many slices.
        folder: For the shortened file.
    """
    shape = nib.load(image).shape
    region = np.zeros(shape, bool) if truth is None else np.asarray(nib.load(truth).dataobj) > 0
    if limit is None or limit >= shape[2]:
        return Volume(image, region)
    center = int(region.sum(axis=(0, 1)).argmax()) if truth else shape[2] // 2
    first = min(max(0, center - limit // 2), shape[2] - limit)
    path = folder / image.parent.name / image.name
    path.parent.mkdir(exist_ok=True)
    nib.load(image).slicer[:, :, first : first + limit].to_filename(path)
    return Volume(path, region[:, :, first : first + limit])


def thinned(paths: Sequence[Path], limit: int | None) -> list[Path]:
    """At most `limit` of the paths, evenly spread; all without a limit."""
    if limit is None or limit >= len(paths):
        return list(paths)
    return [paths[int(place)] for place in np.linspace(0, len(paths) - 1, limit)]
