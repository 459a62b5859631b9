"""The groups of rows: one per set of the development data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from yardstick_columns import Column
from yardstick_data import Picture, Volume, read_brain_mri, read_lgg, read_masked, read_volume
from yardstick_measures import Rows
from yardstick_pictures import image_rows, pixel_rows, slice_rows
from yardstick_volumes import LARGE_ML, Healthy, drawn_lesions, healthy_record, volume_rows

_UNKNOWN = "intervals by picture, as the patients are not known"
_PREFIX = r"^\d{3}"


@dataclass(frozen=True, slots=True)
class Group:
    """A set of data and how its rows are measured.

    Attributes:
        key: In the JSON file.
        name: In a few words.
        title: The name and what the set holds.
        rows: All figures of one column, by row; None where a figure has no meaning for it.
    """

    key: str
    name: str
    title: str
    rows: Callable[[Column], Rows]


@dataclass(frozen=True, slots=True)
class _Masked:
    """A set of pictures with masks: its folder, its name, and which part of a stem tells the subject, if any does."""

    folder: str
    name: str
    subject: str = ""
    note: str = ""


_SETS = (
    _Masked("ct_brain_hemorrhage", "Head CT, hemorrhage (BHSD)", _PREFIX),
    _Masked(
        "breast_ultrasound",
        "Breast ultrasound, masses (BUS-BRA)",
        r"\d{4}",
        "; no normal pictures, so no image AUROC",
    ),
    _Masked("retina_exudates", "Fundus photographs, hard exudates (IDRiD)"),
    _Masked("polyps_colondb", "Colonoscopy, polyps (CVC-ColonDB)"),
    _Masked("polyps_etis", "Colonoscopy, polyps (ETIS-Larib)"),
    _Masked("skin", "Dermoscopy, skin lesions (HAM10000)"),
    _Masked("ms_flair_slices", "MS, FLAIR slices", _PREFIX),
    _Masked("liver_ct_sagittal", "Abdominal CT, liver tumors, sagittal", r"^\d+"),
)


def read_groups(folder: Path, limit: int | None, temporary: Path) -> list[Group]:
    """The sets with lesions in a data folder; with a limit, so many pictures of each and slices of each volume."""
    volumes, medical = folder / "volumes", folder / "medical"
    brainix = read_volume(volumes / "brainix" / "FLAIR.nii.gz", volumes / "brainix" / "ROI.nii.gz", limit, temporary)
    ms_folder = volumes / "ms_patient07"
    ms = read_volume(ms_folder / "FLAIR.nii.gz", ms_folder / "lesions.nii.gz", limit, temporary)
    return [
        _volume_group("brainix", "BRAINIX FLAIR, tumor", brainix),
        _lgg_group(read_lgg(medical / "brain_mri_lgg", limit)),
        _brain_mri_group(read_brain_mri(medical / "brain_mri", limit)),
        _volume_group("ms", "MS patient 07 FLAIR", ms),
        *(
            _masked_group(kind, read_masked(folder / "development" / kind.folder, limit, kind.subject))
            for kind in _SETS
        ),
    ]


def read_healthy(folder: Path, limit: int | None, temporary: Path) -> list[Volume]:
    """The healthy volumes in a data folder; with a limit, so many slices of each."""
    paths = sorted((folder / "development" / "healthy_volumes").glob("*.nii.gz"))
    return [read_volume(path, None, limit, temporary) for path in paths]


def healthy_records(volumes: Sequence[Volume], column: Column) -> dict[str, Healthy]:
    """What a column says of each healthy volume, by name; empty for one that marks nothing."""
    if column.threshold is None:
        return {}
    answers = ((volume, column.volume(volume).answer) for volume in volumes)
    return {volume.name: healthy_record(volume, answer) for volume, answer in answers if answer is not None}


def _volume_group(key: str, name: str, volume: Volume) -> Group:
    sizes_ml = drawn_lesions(volume)[1]
    large = int(np.count_nonzero(sizes_ml >= LARGE_ML))
    count = "1 lesion" if len(sizes_ml) == 1 else f"{len(sizes_ml)} lesions"
    sizes = f"{sizes_ml.sum():.1f} ml in all, {large} of at least {LARGE_ML:g} ml"
    title = f"{name}: {count}, {sizes} (one scan, no interval)"
    return Group(key, name, title, partial(volume_rows, volume))


def _lgg_group(pictures: Sequence[Picture]) -> Group:
    name = "TCGA-LGG, FLAIR channel"
    title = f"{name}: {len(pictures)} slices of {_subjects(pictures)} patients, all with tumor (intervals by patient)"
    return Group("lgg", name, title, partial(slice_rows, pictures))


def _brain_mri_group(pictures: Sequence[Picture]) -> Group:
    tumors = sum(one.abnormal for one in pictures)
    title = (
        f"BrainMRI: {len(pictures) - tumors} normal, {tumors} tumor images "
        "(intervals by image; 28 near-duplicates among all 253 make them a little too narrow)"
    )
    return Group("brain_mri", "BrainMRI", title, partial(image_rows, pictures))


def _masked_group(kind: _Masked, pictures: Sequence[Picture]) -> Group:
    told = bool(kind.subject)
    of_whom = f" of {_subjects(pictures)} subjects" if told else ""
    title = (
        f"{kind.name}: {len(pictures)} pictures{of_whom}, {sum(one.abnormal for one in pictures)} abnormal{kind.note} "
        f"({'intervals by subject' if told else _UNKNOWN})"
    )
    return Group(kind.folder, kind.name, title, partial(pixel_rows, pictures))


def _subjects(pictures: Sequence[Picture]) -> int:
    return len({one.subject for one in pictures})
