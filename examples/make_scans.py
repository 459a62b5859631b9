"""Makes examples/scans: a head-like phantom with one lesion as a DICOM series, and a healthy one as NIfTI.

Run from the repository: `python -m examples.make_scans`. Nothing in it stems from a patient; the same seed gives the
same voxels.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from tests.phantoms import Phantom, phantom_scan, write_dicom_series, write_nifti

SHAPE = (104, 124, 15)
SPACING_MM = (1.7, 1.6, 7.5)
FOLDER = Path(__file__).parent / "scans"


def _ellipsoid(center: tuple[float, float, float], radius: tuple[float, float, float]) -> NDArray[np.float64]:
    """Distance from `center` in units of `radius`; both as fractions of the half sides, x left, y posterior, z up."""
    axes = [np.linspace(-1, 1, n) for n in SHAPE]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.asarray(
        np.sqrt(
            ((x - center[0]) / radius[0]) ** 2 + ((y - center[1]) / radius[1]) ** 2 + ((z - center[2]) / radius[2]) ** 2
        )
    )


def _smooth_noise(rng: np.random.Generator, sigma: tuple[float, float, float]) -> NDArray[np.float64]:
    noise = gaussian_filter(rng.standard_normal(SHAPE), sigma)
    return np.asarray(noise / noise.std())


def head(seed: int, lesion: bool) -> Phantom:
    """A head as FLAIR shows it: dark fluid, gray folds, a bright lesion with soft edges (if asked for)."""
    rng = np.random.default_rng(seed)
    body = _ellipsoid((0, 0, -0.1), (0.84, 0.9, 1.15))
    folds = 60 * np.tanh(2 * _smooth_noise(rng, (2.2, 2.2, 0.5))) * np.clip((body - 0.45) / 0.35, 0, 1)
    voxels = np.where(body < 0.86, 430 + folds + 12 * _smooth_noise(rng, (6, 6, 2)), 0.0)
    voxels[(body >= 0.86) & (body < 0.9)] = 90
    voxels[(body >= 0.93) & (body < 1.0)] = 520
    for side in (-1, 1):
        ventricle = _ellipsoid((side * 0.14, 0.02, 0.05), (0.10, 0.36, 0.4))
        voxels[(ventricle < 1) & (body < 0.8)] = 110
    distance = _ellipsoid((0.42, -0.28, 0.2), (0.24, 0.19, 0.33)) + 0.12 * _smooth_noise(rng, (3, 3, 0.8))
    if lesion:
        voxels += 430 * np.clip((1.15 - distance) / 0.3, 0, 1) * (body < 0.84)
    voxels = gaussian_filter(voxels, (0.6, 0.6, 0.15)) + np.abs(14 * rng.standard_normal(SHAPE))
    empty = phantom_scan(SHAPE, SPACING_MM, lesion=False, oblique_degrees=(4.0, -3.0, 6.0))
    scan = replace(empty.scan, voxels=np.clip(voxels, 0, None).round().astype(np.float32))
    return Phantom(scan=scan, lesion_mask=(distance < 1) & lesion)


def main() -> None:
    """Writes both scans."""
    FOLDER.mkdir(exist_ok=True)
    write_dicom_series(FOLDER / "head_with_lesion", head(seed=3, lesion=True))
    write_nifti(FOLDER / "healthy_head.nii.gz", head(seed=4, lesion=False))


if __name__ == "__main__":
    main()
