"""The records that leave `medzsad.volume`: lesions, and the result of one case."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medzsad.config import Sensitivity
from medzsad.errors import ReasonCode
from medzsad.scan.records import Scan


class Outcome(StrEnum):
    """How a case ended; every case ends in exactly one of these."""

    LESION = "lesion"
    NO_LESION = "no_lesion"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Lesion:
    """One connected component of the mask.

    Attributes:
        index: 1-based, in order of falling volume.
        voxel_count: Number of voxels.
        volume_mm3: voxel_count x voxel volume (from the affine's determinant); None without a physical space.
        max_score: Largest score inside, in [0, 1].
        mean_score: Mean score inside, in [0, 1].
        mean_spread: Mean standard deviation over prompt samples inside; None where the model gives none.
        centroid_index: Mean voxel index (i, j, k).
        centroid_lps_mm: Mean position in patient coordinates, millimeters, LPS+ (DICOM); None without a physical space.
        centroid_ras_mm: The same in RAS+ (NIfTI).
        bounding_box: First and last voxel index along i, j, k: ((i0, i1), (j0, j1), (k0, k1)), inclusive.
        slice_axis: Array axis (0, 1, 2) along which the scan was sliced.
        slice_first: First index along `slice_axis`.
        slice_last: Last index along `slice_axis`, inclusive.
        instance_first: Smallest DICOM InstanceNumber of the acquired slices that it touches; None if not DICOM.
        instance_last: Largest one.
        sop_instance_uids: SOPInstanceUIDs of these slices; () if not DICOM.
        probability: That a candidate of this evidence is a lesion, on the scans that calibrated the decision; None
            where nothing was decided per lesion.
        healthy_share: Share of the healthy scans of the calibration with a candidate at least as strong; 0 where none
            of them has one, None without a calibration.
    """

    index: int
    voxel_count: int
    volume_mm3: float | None
    max_score: float
    mean_score: float
    mean_spread: float | None
    centroid_index: tuple[float, float, float]
    centroid_lps_mm: tuple[float, float, float] | None
    centroid_ras_mm: tuple[float, float, float] | None
    bounding_box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    slice_axis: int
    slice_first: int
    slice_last: int
    instance_first: int | None = None
    instance_last: int | None = None
    sop_instance_uids: tuple[str, ...] = ()
    probability: float | None = None
    healthy_share: float | None = None


@dataclass(frozen=True, slots=True)
class DecisionTaken:
    """How the candidates of a case became lesions.

    Attributes:
        sensitivity: The level.
        source: Whose cut-off it is: that of the weights, or that of a site's own calibration.
        unit: What the cut-off is compared with: the evidence of a candidate, or the score of a voxel.
        cutoff: From which a candidate is a lesion; None where every one is.
        healthy_scans: Number of healthy scans that chose the cut-off.
        share: Share of them that are called `lesion` so.
        dropped: Number of candidates of this case that are weaker.
    """

    sensitivity: Sensitivity
    source: Literal["weights", "site"]
    unit: Literal["evidence", "score"]
    cutoff: float | None
    healthy_scans: int
    share: float
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class SliceScore:
    """The scores of one slice in [0, 1], its index along the slicing axis, and whether it held tissue."""

    index: int
    scored: bool
    image_score: float
    max_score: float


@dataclass(frozen=True, slots=True)
class CaseResult:
    """Everything known about one case after it ended.

    Attributes:
        name: Case name.
        outcome: How it ended.
        code: Reason code if refused.
        message: Sentence for refused and failed cases, else "".
        scan: The scan that was scored; None if refused or failed.
        score: (i, j, k) float32 in [0, 1] in the scan's grid; None if refused or failed.
        mask: (i, j, k) uint8, 1 inside lesions, in the scan's grid; None if refused or failed.
        spread: (i, j, k) float32 standard deviation over prompt samples, or None.
        lesions: Connected components of the mask.
        slices: One entry per slice along the slicing axis.
        slice_axis: Array axis (0, 1, 2) of the slicing.
        threshold: Score at and above which a voxel belongs to the mask.
        threshold_provenance: Which data and which criterion chose the threshold.
        decision: How candidates became lesions; None where every component of the mask is one.
        window: What was applied: {"name", "low", "high", "source"}.
        notes: Remarks for the report: what was done to read or score it.
        warnings: What may make the scores meaningless, and what to do about it.
        trace: Where an unforeseen error arose: its type and places in the code, no values; "" for all others.
    """

    name: str
    outcome: Outcome
    code: ReasonCode | None = None
    message: str = ""
    scan: Scan | None = field(default=None, repr=False)
    score: NDArray[np.float32] | None = field(default=None, repr=False)
    mask: NDArray[np.uint8] | None = field(default=None, repr=False)
    spread: NDArray[np.float32] | None = field(default=None, repr=False)
    lesions: tuple[Lesion, ...] = ()
    slices: tuple[SliceScore, ...] = field(default=(), repr=False)
    slice_axis: int = 2
    threshold: float = 0.5
    threshold_provenance: str = ""
    decision: DecisionTaken | None = None
    window: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    trace: str = field(default="", repr=False)
