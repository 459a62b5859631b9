"""Reads written files back and compares them with what was meant to be written."""

import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from medzsad.errors import OutputError
from medzsad.output.nifti import AFFINE_TOLERANCE, SCORE_STEPS, affine_difference, stored_shape
from medzsad.scan.records import Scan


def verify_mask(path: Path, mask: NDArray[np.uint8], scan: Scan) -> None:
    """Passes if the file holds exactly this mask in the grid of this scan.

    Raises:
        OutputError: Shape, affine (see `affine_difference`), number of voxels inside, or any voxel differs.
    """
    raw, _ = _read(path, scan)
    found, wanted = int(np.count_nonzero(raw)), int(np.count_nonzero(mask))
    if found != wanted:
        raise OutputError(f"{path.name} holds {found} voxels of lesion where {wanted} were written. {_ADVICE}")
    if not np.array_equal(raw, mask):
        raise OutputError(f"{path.name} holds {found} voxels of lesion as written, but at other places. {_ADVICE}")


def verify_score(path: Path, score: NDArray[np.float32], scan: Scan) -> None:
    """Passes if the file holds this score in the grid of this scan.

    Float files must agree to the bit; scaled integers to half a step (7.7e-6) and rounding.

    Raises:
        OutputError: Shape, affine (see `affine_difference`) or a value differs.
    """
    raw, slope = _read(path, scan)
    tolerance = 0.0 if raw.dtype.kind == "f" else 0.51 / SCORE_STEPS
    worst = 0.0
    # Plane by plane, so that no second volume of floats is needed.
    for k in range(scan.shape[2]):
        difference = np.abs(raw[..., k].astype(np.float32) * np.float32(slope) - score[..., k])
        worst = max(worst, float(difference.max()) if np.isfinite(difference).all() else np.inf)
    if worst > tolerance:
        raise OutputError(
            f"{path.name} differs from the score that was written by up to {worst:.3g} "
            f"(allowed: {tolerance:.1e}). {_ADVICE}"
        )


_ADVICE = "Check the disk and the space left on it, then run the case again."


def _read(path: Path, scan: Scan) -> tuple[NDArray[Any], float]:
    try:
        image: Any = nib.load(path)
        raw = image.dataobj.get_unscaled()
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise OutputError(f"{path.name} could not be read back ({type(error).__name__}). {_ADVICE}") from error
    if image.shape != stored_shape(scan):
        raise OutputError(f"{path.name} has shape {image.shape} where {stored_shape(scan)} was written. {_ADVICE}")
    difference = affine_difference(image.affine, scan.affine_ras)
    if not difference <= AFFINE_TOLERANCE:
        raise OutputError(
            f"{path.name} lies elsewhere than scan {scan.name}: the affines differ by {difference:.2e} "
            f"(allowed: {AFFINE_TOLERANCE:.0e}). {_ADVICE}"
        )
    return raw.reshape(scan.shape), float(image.dataobj.slope)
