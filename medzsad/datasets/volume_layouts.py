"""Readers of volumes as BraTS, LiTS and the Medical Segmentation Decathlon hand them out."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medzsad.datasets.nifti_files import folders_down_to, nifti_in, nifti_stem
from medzsad.datasets.records import FoundVolumes, Problem, VolumeRecord, is_there, relative_name
from medzsad.errors import ConfigError

_LEVELS = 3
_FLAIR = re.compile(r"[_-](flair|t2f)$", re.I)
_SEG = re.compile(r"[_-]seg(m|mentation)?$", re.I)
_BRATS = re.compile(r"[_-](flair|t1|t1ce|t1c|t1n|t1gd|t2|t2f|t2w|seg|segm)$", re.I)
# BraTS-GLI-00001-000 and BraTS-GLI-00001-001 are one patient at two times.
_TIME_POINT = re.compile(r"^(BraTS-[A-Z]+-\d+)-\d+$", re.I)
_LITS = re.compile(r"^(volume|segmentation)-(\d+)$", re.I)
_LESION_NAME = re.compile(
    r"tumou?r|cancer|carcinoma|o?edema|enhanc|necro|lesion|metasta|malignan|neoplas|infarct|stroke|ha?emorrhage|cysts?\b",
    re.I,
)


def read_brats(root: Path) -> FoundVolumes:
    """The FLAIR volume and the labels of every case folder, up to three levels down."""
    records: list[VolumeRecord] = []
    problems: list[Problem] = []
    for folder in folders_down_to(root, _LEVELS):
        files = [path for path in nifti_in(folder) if _BRATS.search(nifti_stem(path))]
        if not files:
            continue
        images = [path for path in files if _FLAIR.search(nifti_stem(path))]
        labels = [path for path in files if _SEG.search(nifti_stem(path))]
        if len(images) != 1 or len(labels) > 1:
            message = (
                f"Expected one *_flair or *-t2f and at most one *_seg or *-seg; found {len(images)} and {len(labels)} "
                f"among {', '.join(path.name for path in files)}. Restore or remove files."
            )
            kind = "ambiguous_files" if images else "missing_image"
            problems.append(Problem(kind, "error", relative_name(root, folder), message))
            continue
        case = folder.name if folder != root else _FLAIR.sub("", nifti_stem(images[0]))
        match = _TIME_POINT.match(case)
        records.append(VolumeRecord(images[0], labels[0] if labels else None, case, match.group(1) if match else case))
    return records, problems


def read_lits(root: Path) -> FoundVolumes:
    """volume-N with segmentation-N, in any folders up to three levels down."""
    found: dict[str, dict[int, Path]] = {"volume": {}, "segmentation": {}}
    problems: list[Problem] = []
    for path in (path for folder in folders_down_to(root, _LEVELS) for path in nifti_in(folder)):
        match = _LITS.match(nifti_stem(path))
        if match is None:
            continue
        kind, number = match.group(1).lower(), int(match.group(2))
        if number in found[kind]:
            message = f"{kind}-{number} is also {relative_name(root, found[kind][number])}, which is taken. Remove one."
            problems.append(Problem("duplicate_case", "warning", relative_name(root, path), message))
        else:
            found[kind][number] = path
    for number in sorted(set(found["segmentation"]) - set(found["volume"])):
        message = f"There is no volume-{number} to it. Restore the volume."
        subject = relative_name(root, found["segmentation"][number])
        problems.append(Problem("missing_image", "error", subject, message))
    records = [
        VolumeRecord(image, found["segmentation"].get(number), f"volume-{number}", f"volume-{number}")
        for number, image in sorted(found["volume"].items())
    ]
    return records, problems


def read_msd(
    root: Path, modality: int | str | None, lesion_values: tuple[int, ...] | None
) -> tuple[FoundVolumes, int, tuple[int, ...]]:
    """Volumes of a task, the frame of the modality in 4D images, and the labels that are lesions.

    Args:
        root: The folder of dataset.json.
        modality: Index or name in dataset.json; None takes the first.
        lesion_values: As the user says; None takes those whose names in dataset.json tell.

    Raises:
        ConfigError: dataset.json cannot be read, no label is a lesion by its name, or there is no such modality.
    """
    path = root / "dataset.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot read {path} as JSON ({error.__class__.__name__}: {error}).") from None
    labels = _label_names(content.get("labels")) if isinstance(content, dict) else {}
    if not labels:
        raise ConfigError(f'{path} does not name labels. Expected \'labels\' such as {{"0": "background", "1": ...}}.')
    values = lesion_values or tuple(value for value, name in sorted(labels.items()) if _LESION_NAME.search(name))
    if not values:
        names = ", ".join(f"{value} {name}" for value, name in sorted(labels.items()))
        raise ConfigError(f"No label of {path} is a lesion by its name: {names}. Give the lesions' values.")
    frame = _frame(path, content.get("modality", content.get("channel_names")), modality)
    return _msd_volumes(root, content.get("training"), frame), frame, values


def _label_names(labels: Any) -> dict[int, str]:
    """Names by value, from {"1": "cancer"} and from nnU-Net's {"cancer": 1} and {"tumour": [1, 2]}."""
    names: dict[int, list[str]] = {}
    for key, value in labels.items() if isinstance(labels, dict) else ():
        if isinstance(value, str) and str(key).isdecimal():
            names.setdefault(int(key), []).append(value)
        else:
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, int):
                    names.setdefault(each, []).append(str(key))
    return {value: ", ".join(parts) for value, parts in names.items() if value > 0}


def _frame(path: Path, modalities: Any, modality: int | str | None) -> int:
    names: Mapping[str, Any] = modalities if isinstance(modalities, dict) else {}
    if modality is None:
        return 0
    if isinstance(modality, int):
        if modality < 0 or (names and str(modality) not in names):
            raise ConfigError(f"{path} has no modality {modality}. It has {_named(names)}.")
        return modality
    fitting = [int(key) for key, name in names.items() if key.isdecimal() and str(name).lower() == modality.lower()]
    if len(fitting) != 1:
        raise ConfigError(f"{path} has no modality {modality!r}. It has {_named(names)}.")
    return fitting[0]


def _named(modalities: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {name}" for key, name in modalities.items()) or "none by name"


def _msd_volumes(root: Path, listed: Any, frame: int) -> FoundVolumes:
    records: list[VolumeRecord] = []
    problems: list[Problem] = []
    entries = [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []
    pairs = [(root / str(e["image"]), root / str(e["label"])) for e in entries if "image" in e and "label" in e]
    for image, label in pairs or _msd_folders(root, frame):
        case = re.sub(r"_\d{4}$", "", nifti_stem(image)) if not pairs else nifti_stem(image)
        if is_there(image):
            records.append(VolumeRecord(image, label if is_there(label) else None, case, case))
        else:
            message = f"The volume of {label.name} is listed but is not there. Restore or unlist it."
            problems.append(Problem("missing_image", "error", relative_name(root, image), message))
    return records, problems


def _msd_folders(root: Path, frame: int) -> list[tuple[Path, Path]]:
    """Images and labels by folder where dataset.json lists none; nnU-Net has a file per modality, `<case>_0000`."""
    labels = {nifti_stem(path): path for path in nifti_in(root / "labelsTr")}
    images = {nifti_stem(path): path for path in nifti_in(root / "imagesTr")}
    pairs = []
    for stem, image in images.items():
        channel = re.search(r"_(\d{4})$", stem)
        case = stem[:-5] if channel and stem not in labels else stem
        if case == stem or (channel and int(channel.group(1)) == frame):
            pairs.append((image, labels.pop(case, root / "labelsTr" / image.name)))
    return pairs + [(root / "imagesTr" / label.name, label) for label in labels.values()]
