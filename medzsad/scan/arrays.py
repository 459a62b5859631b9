"""Arrays in memory -> Scan."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medzsad.errors import ConfigError
from medzsad.scan.records import Scan, Source


def scan_of_array(array: NDArray[np.generic], affine_ras: ArrayLike | None, name: str) -> Scan:
    """The scan of an array (i, j), (i, j, k) or, in color, (i, j, k, 3).

    Args:
        array: Values in units of the modality (HU for CT).
        affine_ras: (4, 4), voxel index (i, j, k, 1) to position in millimeters, RAS+; None if nobody measured it, and
            then nothing is told in millimeters.
        name: Of the scan and of its case.

    Raises:
        ConfigError: The array or the affine has another shape, or the affine spans no volume.
    """
    shape = array.shape
    if array.ndim not in (2, 3) and not (array.ndim == 4 and shape[3] == 3):
        raise ConfigError(f"The array has the shape {shape}; give (i, j), (i, j, k), or (i, j, k, 3) for color.")
    if 0 in shape or array.dtype.kind not in "biuf":
        raise ConfigError(f"The array of shape {shape} and type {array.dtype} holds no real numbers. Check it.")
    voxels = np.asarray(array, np.float32)
    return Scan(
        name=name,
        voxels=voxels[:, :, None] if voxels.ndim == 2 else voxels,
        affine_ras=np.eye(4) if affine_ras is None else _checked(affine_ras),
        modality="",
        acquisition_axis=None,
        source=Source(kind="array"),
        has_physical_space=affine_ras is not None,
    )


def _checked(affine_ras: ArrayLike) -> NDArray[np.float64]:
    affine = np.array(affine_ras, np.float64)
    if affine.shape != (4, 4):
        raise ConfigError(f"The affine has the shape {affine.shape}; give (4, 4), voxel index to millimeters, RAS+.")
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or sizes.min() < 1e-6 or abs(np.linalg.det(affine[:3, :3] / sizes)) < 1e-3:
        raise ConfigError(f"The affine spans no volume (column lengths {np.array2string(sizes, precision=4)}).")
    return affine
