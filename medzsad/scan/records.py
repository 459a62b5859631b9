"""The records that leave `medzsad.scan`: what was found (Candidate) and what was read (Scan)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medzsad.errors import ReasonCode

# An empty file that marks a folder of results, so that `medzsad run . -o out` never takes its own masks for scans.
RESULTS_MARK = ".medzsad"
# What a run writes beside its cases in that folder; no case may have such a name.
REPORT_FILES = frozenset({"report.json", "report.csv", "report.html"})

SourceKind = Literal["dicom", "nifti", "itk", "picture", "array"]


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What reading may cost and tolerate; checked before memory is allocated.

    Attributes:
        max_voxels: Largest number of voxels of one scan.
        max_archive_bytes: Largest unpacked size of one archive.
        min_slices: Fewest slices of a volume in any format; images of a single slice are no volumes.
        allow_irregular: Whether tilted, gapped or short series are scored slice by slice.
    """

    max_voxels: int = 1_000_000_000
    max_archive_bytes: int = 16 * 1024**3
    min_slices: int = 4
    allow_irregular: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """One series or file that was found, with the verdict on it.

    Attributes:
        name: Case name, unique in one discovery, safe as a folder name, free of patient tags.
        kind: How it will be read.
        files: The files it consists of, in the order found; detached data files come after their header.
        label: What the user is shown as its place: path relative to what was asked for.
        series_uid: SeriesInstanceUID, for DICOM.
        modality: DICOM Modality, or "" where the format does not say.
        shape: Voxel counts (i, j, k) where the header told them, else ().
        spacing_mm: Voxel spacing (i, j, k) where the header told it, else ().
        frame: Index along the fourth axis that this case stands for, or None.
        code: Reason code if the candidate is refused, else None.
        reason: The sentence that goes with `code`, or a remark, or "".
        series_number: SeriesNumber, for DICOM.
        notes: Notes that the scan will get, on how it was found.
    """

    name: str
    kind: SourceKind
    files: tuple[Path, ...]
    label: str
    series_uid: str | None = None
    modality: str = ""
    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    frame: int | None = None
    code: ReasonCode | None = None
    reason: str = ""
    series_number: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def eligible(self) -> bool:
        """Whether `read_scan` may be called on it."""
        return self.code is None


@dataclass(frozen=True, slots=True)
class Source:
    """Where the voxels of a scan came from.

    Attributes:
        kind: Format family.
        files: The files read.
        series_uid: SeriesInstanceUID, for DICOM.
        sop_instance_uids: One SOPInstanceUID per index k (repeated for multi-frame); () if not DICOM; "" where
            a slice was not acquired.
        instance_numbers: InstanceNumber of the same slices; None where it is absent or no slice was acquired.
        nifti_header: Header to copy when writing back, for NIfTI.
        frame: Index along the fourth axis, if one was chosen.
    """

    kind: SourceKind
    files: tuple[Path, ...] = ()
    series_uid: str | None = None
    sop_instance_uids: tuple[str, ...] = ()
    instance_numbers: tuple[int | None, ...] = ()
    nifti_header: Any = field(default=None, repr=False)
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan in memory.

    Attributes:
        name: Case name.
        voxels: (i, j, k) float32 in units of the modality (HU for CT), or (i, j, k, 3) for color pictures.
        affine_ras: (4, 4) float64, voxel index (i, j, k) -> position in millimetres, RAS+.
        modality: "CT", "MR", "US", "OPT", ...; "" where unknown; "PICTURE" for 8-bit pictures.
        acquisition_axis: Array axis (0, 1, 2) along which slices were acquired; None where the format does not say.
        source: Where it came from.
        missing_slices: Indices along `acquisition_axis` at which nothing was acquired (irregular series only).
        notes: What was done to make it readable, for the report; empty for a plain scan.
    """

    name: str
    voxels: NDArray[np.float32] = field(repr=False)
    affine_ras: NDArray[np.float64] = field(repr=False)
    modality: str
    acquisition_axis: int | None
    source: Source = field(repr=False)
    missing_slices: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxel counts (i, j, k)."""
        i, j, k = self.voxels.shape[:3]
        return (int(i), int(j), int(k))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centers along (i, j, k), in millimetres."""
        i, j, k = np.linalg.norm(self.affine_ras[:3, :3], axis=0)
        return (float(i), float(j), float(k))
