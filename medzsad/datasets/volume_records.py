"""Volumes with lesion masks, and what is wrong with them."""

from dataclasses import dataclass
from pathlib import Path

from medzsad.datasets.records import Problem


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """One volume and its labels, both NIfTI in the same grid.

    Attributes:
        image: File of the volume.
        label: File of the labels; None if there is none: nothing is known of lesions then.
        case: Name of the volume, unlike that of every other one of the set.
        subject: The patient; the case where nothing tells that several are of one patient.
        frame: Index along the fourth axis of the image; None if it has three axes.
        lesion_values: Labels that are lesions; None for all above 0. A label file without any is a normal volume.
    """

    image: Path
    label: Path | None
    case: str
    subject: str
    frame: int | None = None
    lesion_values: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class VolumeSet:
    """Volumes found under a folder in one layout, and all problems known so far."""

    root: Path
    layout: str
    records: tuple[VolumeRecord, ...]
    problems: tuple[Problem, ...]


FoundVolumes = tuple[list[VolumeRecord], list[Problem]]
"""Records and problems; the records' frames are not yet known."""
