"""Masks and scores as NIfTI files in the grid of the scan.

Only fields that describe the grid are taken over from an input header. Everything else of it (description, file and
database names, intent, extensions) is free text that may name a patient, and is left behind.
"""

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medzsad.config import ScoreDtype
from medzsad.errors import OutputError
from medzsad.scan.records import Scan

# What places the voxels in space, and in which order they were acquired (nifti1.h); no free text among them.
GRID_FIELDS = (
    "dim_info", "slice_start", "slice_end", "slice_code", "slice_duration", "xyzt_units",
    "qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "sform_code", "srow_x", "srow_y", "srow_z",
)  # fmt: skip
LARGEST_NIFTI1_SIDE = 32767
SCORE_STEPS = 65535
COMPRESSION_LEVEL = 1
# Offsets and spacings are stored as float32, which is good to 6e-8 of the value.
AFFINE_TOLERANCE = 1e-5


def write_mask(path: Path, mask: NDArray[np.uint8], scan: Scan) -> None:
    """Writes the mask as uint8 in the scan's grid, gzip-compressed if the name ends in .gz.

    Args:
        path: The file to write; its folder exists.
        mask: (i, j, k), 1 inside lesions.
        scan: The scan whose grid the mask has.

    Raises:
        OutputError: The mask has another shape than the scan.
    """
    _write(path, np.asarray(mask, dtype=np.uint8), scan, description="medzsad mask: 1 = lesion", slope=None)


def write_score(path: Path, score: NDArray[np.float32], scan: Scan, dtype: ScoreDtype = "float32") -> None:
    """Writes the score in the scan's grid, gzip-compressed if the name ends in .gz.

    NIfTI has no 16-bit float. "float16-scaled" stores round(score x 65535) as uint16 with that scale in the header:
    half the size, every reader returns scores in [0, 1] again, each within 7.7e-6 of the original (a 16-bit float
    would be within 2.4e-4).

    Args:
        path: The file to write; its folder exists.
        score: (i, j, k) in [0, 1].
        scan: The scan whose grid the score has.
        dtype: How the values are stored.

    Raises:
        OutputError: The score has another shape than the scan.
    """
    if dtype == "float32":
        values: NDArray[Any] = np.asarray(score, dtype=np.float32)
        slope = None
    else:
        values = np.rint(np.clip(score, 0, 1) * np.float32(SCORE_STEPS)).astype(np.uint16)
        slope = 1.0 / SCORE_STEPS
    _write(path, values, scan, description="medzsad score: 0 to 1", slope=slope)


def affine_difference(found_ras: NDArray[np.float64], wanted_ras: NDArray[np.float64]) -> float:
    """The largest relative difference of two voxel-to-millimeter matrices; at most `AFFINE_TOLERANCE` counts as equal.

    Columns of the 3x3 part are compared relative to the spacing along that axis, the offset relative to the larger
    of its length and 1 mm.
    """
    scale = np.linalg.norm(wanted_ras[:3], axis=0)
    scale[3] = max(float(scale[3]), 1.0)
    return float((np.abs(found_ras[:3] - wanted_ras[:3]) / scale).max())


def stored_shape(scan: Scan) -> tuple[int, ...]:
    """The shape that a file in the scan's grid has: (i, j, k), or (i, j) where the NIfTI input was two-dimensional."""
    header = scan.source.nifti_header
    if header is not None and int(header["dim"][0]) == 2 and scan.shape[2] == 1:
        return scan.shape[:2]
    return scan.shape


def _write(path: Path, values: NDArray[Any], scan: Scan, description: str, slope: float | None) -> None:
    if values.shape != scan.shape:
        raise OutputError(
            f"{path.name} would have shape {values.shape}, but scan {scan.name} has {scan.shape}. "
            "Restore the result onto the scan's grid before writing it."
        )
    image = _image(values.reshape(stored_shape(scan)), scan)
    header = image.header
    header["descrip"] = description
    header["cal_max"] = 1.0
    if slope is not None:
        header.set_slope_inter(slope, 0.0)
    if path.suffix != ".gz":
        with path.open("wb") as plain:
            image.to_stream(plain)
        return
    # Neither a name nor a time goes into the gzip header: the same result gives the same bytes.
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=COMPRESSION_LEVEL, fileobj=raw, mtime=0) as packed,
    ):
        image.to_stream(packed)


def _image(values: NDArray[Any], scan: Scan) -> Any:
    source = scan.source.nifti_header
    large = max(values.shape) > LARGEST_NIFTI1_SIDE or isinstance(source, nib.Nifti2Header)
    kind = nib.Nifti2Image if large else nib.Nifti1Image
    if source is not None:
        header = kind.header_class()
        header.set_data_dtype(values.dtype)
        header.set_data_shape(values.shape)
        for name in GRID_FIELDS:
            header[name] = source[name]
        header["pixdim"][:4] = source["pixdim"][:4]
        if affine_difference(header.get_best_affine(), scan.affine_ras) <= AFFINE_TOLERANCE:
            return kind(values, None, header)
    # No header to copy, or one that the reader had good reason not to follow.
    image = kind(values, scan.affine_ras)
    image.header.set_xyzt_units("mm" if scan.has_physical_space else "unknown")
    image.set_sform(scan.affine_ras, code=1)
    try:
        image.set_qform(scan.affine_ras, code=1, strip_shears=False)
    except HeaderDataError:
        # A sheared grid has no quaternion; a wrong one would be worse than none (code 0: not to be used).
        image.set_qform(None, code=0)
    return image
