"""From a candidate to a checked `Scan`, for every format."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.decoders import prefer_safe_decoders
from medzsad.scan.dicom.read import read_dicom
from medzsad.scan.itk import read_itk
from medzsad.scan.labels import check_no_labels
from medzsad.scan.nifti import read_nifti
from medzsad.scan.picture import read_picture
from medzsad.scan.records import Candidate, ReadLimits, Scan, SourceKind

prefer_safe_decoders()

_MOST_NOT_FINITE = 0.2
_READERS: dict[SourceKind, Callable[[Candidate, ReadLimits], Scan]] = {
    "dicom": read_dicom,
    "nifti": read_nifti,
    "itk": read_itk,
    "picture": read_picture,
}


def read_scan(candidate: Candidate, limits: ReadLimits) -> Scan:
    """The scan that a candidate stands for, its values all finite and not all equal.

    Raises:
        RefusedError: The candidate is refused, or its files cannot be read reliably; with its reason code.
        Exception: `candidate.fault`, which is ours.
    """
    if candidate.fault is not None:
        raise candidate.fault
    if candidate.code is not None:
        raise RefusedError(candidate.code, candidate.reason)
    scan = checked_scan(_READERS[candidate.kind](candidate, limits), candidate.label)
    if candidate.kind != "dicom" and not limits.allow_labels:  # DICOM says itself what is a segmentation
        check_no_labels(scan.voxels, candidate.label)
    irregular = (
        (f"Irregular series, scored because of --allow-irregular: {candidate.reason}",) if candidate.reason else ()
    )
    return replace(scan, notes=(*scan.notes, *candidate.notes, *irregular))


def checked_scan(scan: Scan, place: str) -> Scan:
    """The scan with NaN and infinity replaced by its smallest value, and a note on it; `read_scan` has done this.

    Args:
        scan: A scan, for instance one made in memory; it is not changed.
        place: What messages call it.

    Raises:
        RefusedError: VALUES_NOT_FINITE or VALUES_CONSTANT.
    """
    finite = np.isfinite(scan.voxels)
    wrong = int(finite.size - np.count_nonzero(finite))
    if wrong > _MOST_NOT_FINITE * finite.size:
        raise RefusedError(
            ReasonCode.VALUES_NOT_FINITE,
            f"{place} has {wrong} of {finite.size} voxels that are NaN or infinite, more than"
            f" {_MOST_NOT_FINITE:.0%}. Write it again with numbers only.",
        )
    if wrong:
        smallest = float(scan.voxels[finite].min())
        voxels = (
            "1 voxel was NaN or infinite and counts" if wrong == 1 else f"{wrong} voxels were NaN or infinite and count"
        )
        note = f"{voxels} as the smallest value, {smallest:g}."
        scan = replace(scan, voxels=np.where(finite, scan.voxels, np.float32(smallest)), notes=(*scan.notes, note))
    lowest, highest = scan.voxels.min(axis=(0, 1, 2)), scan.voxels.max(axis=(0, 1, 2))  # for each color
    if np.array_equal(lowest, highest):
        what = f"the value {lowest.min():g}" if lowest.min() == lowest.max() else "the same color"
        raise RefusedError(
            ReasonCode.VALUES_CONSTANT, f"{place} has {what} in every voxel. It shows nothing; leave it out."
        )
    return scan
