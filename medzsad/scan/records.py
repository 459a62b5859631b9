"""The records of `medzsad.scan`: what a header tells (Peek), what was found (Candidate), what was read (Scan)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medzsad.errors import ReasonCode, RefusedError

# An empty file that marks a folder of results, so that `medzsad run . -o out` never takes its own masks for scans.
RESULTS_MARK = ".medzsad"
# What a run writes beside its cases in that folder; no case may have such a name.
REPORT_FILES = frozenset({"manifest.json", "report.json", "report.csv", "report.html"})

SourceKind = Literal["dicom", "nifti", "itk", "picture", "array", "unknown"]


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What reading may cost and tolerate; checked before memory is allocated.

    Attributes:
        max_voxels: Largest number of voxels of one scan.
        max_archive_bytes: Largest unpacked size of one archive.
        min_slices: Fewest slices of a volume in any format; images of a single slice are no volumes.
        allow_irregular: Whether tilted, gapped or short series are scored slice by slice.
        allow_labels: Whether volumes that look like masks or label maps are read all the same.
    """

    max_voxels: int = 1_000_000_000
    max_archive_bytes: int = 16 * 1024**3
    min_slices: int = 4
    allow_irregular: bool = False
    allow_labels: bool = False


@dataclass(frozen=True, slots=True)
class Peek:
    """Grid of one file by its header.

    Attributes:
        shape: (i, j, k).
        spacing_mm: (i, j, k), or () where the format measures none.
        frames: Length of the fourth axis, 1 if there is none.
        modality: Modality, where the format says.
        data_files: Files besides the one looked at that belong to it.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, ...]
    frames: int = 1
    modality: str = ""
    data_files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """One series or file that was found, with the verdict on it.

    Attributes:
        name: Case name, unique in one discovery, safe as a folder name, free of patient tags.
        kind: How it will be read; "unknown" for archives and files that are refused before their format is known.
        files: The files it consists of, in the order found; detached data files come after their header.
        label: What the user is shown as its place: path relative to what was asked for.
        series_uid: SeriesInstanceUID, for DICOM.
        modality: DICOM Modality, or "" where the format does not say.
        shape: Voxel counts (i, j, k) where the header told them, else ().
        spacing_mm: Voxel spacing (i, j, k) where the header told it, else (); never of a picture, which has none.
        frame: Index along the fourth axis that this case stands for, or None.
        code: Reason code if the candidate is refused, else None.
        reason: The sentence that goes with `code`, or a remark, or "".
        series_number: SeriesNumber, for DICOM.
        description: SeriesDescription, for DICOM; "" where there is none, or where it may name the patient.
        fault: An error of our own code that looking at the file ran into; `read_scan` raises it, so that the case
            fails and no other case does.
        notes: Notes that the scan will get, on how it was found.
        study_uid: StudyInstanceUID, for DICOM; "" where there is none. No output holds it.
        frame_of_reference: FrameOfReferenceUID, for DICOM; "" where there is none. No output holds it.
        parts: The scans that are scored together, of a case that stands for several.
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
    description: str = ""
    fault: Exception | None = field(default=None, repr=False, compare=False)
    notes: tuple[str, ...] = ()
    study_uid: str = ""
    frame_of_reference: str = ""
    parts: tuple["Candidate", ...] = ()

    @property
    def eligible(self) -> bool:
        """Whether it is neither refused nor at fault, by its header."""
        return self.code is None and self.fault is None


class Candidates(list[Candidate]):
    """Candidates in a fixed order, and what lay beside them that no format knows.

    Attributes:
        not_understood: Labels of the files that were passed over, in order.
    """

    def __init__(self, candidates: Iterable[Candidate] = (), not_understood: Sequence[str] = ()) -> None:
        super().__init__(candidates)
        self.not_understood = tuple(not_understood)

    @property
    def remark(self) -> str:
        """A sentence on the files that were not understood, or ""."""
        count = len(self.not_understood)
        files = "1 file was" if count == 1 else f"{count} files were"
        return f"{files} not understood; -v lists them." if count else ""


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
        affine_ras: (4, 4) float64, voxel index (i, j, k) -> position in millimeters, RAS+.
        modality: "CT", "MR", "US", "OPT", ...; "" where unknown; "PICTURE" for 8-bit pictures.
        acquisition_axis: Array axis (0, 1, 2) along which slices were acquired; None where the format does not say.
        source: Where it came from.
        missing_slices: Indices along `acquisition_axis` at which nothing was acquired (irregular series only).
        notes: What was done to make it readable, for the report; empty for a plain scan.
        has_physical_space: Whether spacing and place were measured. A picture has pixels only: one of them counts as
            1 mm in `affine_ras`, which is no length, volume or position of anything.
        body_part: DICOM BodyPartExamined (PS3.3 C.7.3.1), in capitals; "" where the format does not say.
    """

    name: str
    voxels: NDArray[np.float32] = field(repr=False)
    affine_ras: NDArray[np.float64] = field(repr=False)
    modality: str
    acquisition_axis: int | None
    source: Source = field(repr=False)
    missing_slices: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    has_physical_space: bool = True
    body_part: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxel counts (i, j, k)."""
        i, j, k = self.voxels.shape[:3]
        return (int(i), int(j), int(k))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centers along (i, j, k), in millimeters."""
        i, j, k = np.linalg.norm(self.affine_ras[:3, :3], axis=0)
        return (float(i), float(j), float(k))


def chosen_frames(place: str, count: int, frame: int | None, all_frames: bool) -> Sequence[int]:
    """The indices of the frames that become cases.

    Raises:
        RefusedError: SERIES_4D, none was chosen or the chosen one does not exist.
    """
    if all_frames:
        return range(count)
    if frame is None:
        raise RefusedError(
            ReasonCode.SERIES_4D,
            f"{place} has {count} frames (a fourth axis). Choose one with --frame 0 to {count - 1}, or --all-frames.",
        )
    if not 0 <= frame < count:
        raise RefusedError(
            ReasonCode.SERIES_4D,
            f"{place} has {count} frames, so there is no frame {frame}. Choose one from 0 to {count - 1}.",
        )
    return [frame]
