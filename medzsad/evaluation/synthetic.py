"""The benchmark that needs no download: heads made of ellipsoids and smooth noise, most of them with lesions.

It shows that the command works and how a report looks. It says little about patients: heads like these are far simpler
than real ones, and the embedded model learned on generated images of another kind.
"""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from medzsad.files import write_bytes_atomic

SHAPE = (96, 112, 14)  # (i, j, k)
SPACING_MM = (2.0, 1.8, 7.0)
HEADS = 10
HEALTHY = (2, 5, 8)
# Gray of fluid, gray matter, white matter and skin, and what a lesion adds, after the contrasts of MR and CT.
_CONTRASTS = (
    ("flair", 0.12, 0.55, 0.45, 0.60, 0.35),
    ("t2", 0.90, 0.55, 0.40, 0.50, 0.30),
    ("t1", 0.15, 0.45, 0.65, 0.75, -0.25),
    ("ct", 0.30, 0.50, 0.46, 0.90, -0.18),
    ("ct", 0.30, 0.50, 0.46, 0.90, 0.30),
)


def write_synthetic(folder: Path) -> None:
    """Writes images/head_NN.nii.gz and labels/head_NN.nii.gz, the same bytes every time; files that are there stay.

    Args:
        folder: Made if it is not there.

    Raises:
        OutputError: A file cannot be written.
    """
    for number in range(HEADS):
        places = [folder / kind / f"head_{number:02}.nii.gz" for kind in ("images", "labels")]
        if all(path.is_file() for path in places):
            continue
        gray, lesions = make_head(number)
        for path, voxels in zip(places, (np.rint(gray * 1000).astype(np.int16), lesions.astype(np.uint8)), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            affine = np.diag([*SPACING_MM, 1.0])
            affine[:3, 3] = [-(n - 1) * mm / 2 for n, mm in zip(SHAPE, SPACING_MM, strict=True)]
            write_bytes_atomic(path, _compressed(nib.Nifti1Image(voxels, affine)))


def make_head(number: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Gray values (i, j, k) of about 0 to 1.2 and the mask of the lesions of one head.

    Args:
        number: Which head, from 0.
    """
    random = np.random.default_rng([2718, number])
    _, fluid, gray_matter, white_matter, skin, lesion_step = _CONTRASTS[number % len(_CONTRASTS)]
    size = random.uniform(0.9, 1.05)
    center = random.uniform(-0.04, 0.04, 3)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) - c for n, c in zip(SHAPE, center, strict=True)), indexing="ij")
    head = (x / (0.72 * size)) ** 2 + (y / (0.88 * size)) ** 2 + (z / 1.25) ** 2
    folds = _noise(random, 4.0) * 0.5
    gray = np.zeros(SHAPE)
    gray[head < 1] = skin
    gray[head < 0.86] = 0.05 if skin < 0.85 else 1.2  # skull: dark in MR, bright in CT
    brain = head < 0.72
    gray[brain] = np.where((head + 0.1 * folds < 0.5)[brain], white_matter, gray_matter)
    for side in (-1, 1):
        ventricle = ((x - 0.13 * side) / 0.09) ** 2 + ((y - 0.05) / 0.3) ** 2 + (z / 0.45) ** 2
        gray[ventricle + 0.15 * folds < 1] = fluid
    lesions = np.zeros(SHAPE, bool)
    if number not in HEALTHY:
        for _ in range(random.integers(1, 4)):
            lesions |= _lesion(random, (x, y, z), folds, brain)
        soft = gaussian_filter(lesions.astype(float), (1.0, 1.0, 0.3))
        gray += lesion_step * soft * (1 + 0.3 * _noise(random, 2.0))
    bias = 1 + 0.12 * _noise(random, (24.0, 24.0, 4.0))
    texture = 0.02 * _noise(random, 1.0) + 0.015 * random.normal(size=SHAPE)
    return np.clip(gray * bias + texture * (head < 1) + np.abs(0.008 * random.normal(size=SHAPE)), 0, 1.5), lesions


def _lesion(
    random: np.random.Generator,
    grid: tuple[NDArray[np.float64], ...],
    folds: NDArray[np.float64],
    brain: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """One ragged ellipsoid inside the brain, away from the midline."""
    place = (
        random.choice([-1, 1]) * random.uniform(0.25, 0.42),
        random.uniform(-0.45, 0.45),
        random.uniform(-0.5, 0.5),
    )
    radii = (random.uniform(0.08, 0.18), random.uniform(0.08, 0.18), random.uniform(0.15, 0.35))
    distance = sum(((axis - p) / r) ** 2 for axis, p, r in zip(grid, place, radii, strict=True))
    return np.asarray((distance + 0.3 * folds < 1) & brain)


def _noise(random: np.random.Generator, sigma: float | tuple[float, ...]) -> NDArray[np.float64]:
    """Smooth noise of standard deviation 1."""
    smooth = gaussian_filter(random.normal(size=SHAPE), sigma, mode="wrap")
    return np.asarray(smooth / smooth.std())


def _compressed(volume: "nib.Nifti1Image") -> bytes:
    # Without a time stamp, so that the bytes are always the same.
    return gzip.compress(volume.to_bytes(), mtime=0)
