"""Any volumes with masks: paired by folders, by endings of names, or two files to a folder."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medzsad.datasets.benchmarks import plain_name
from medzsad.datasets.folders import subfolders
from medzsad.datasets.nifti_files import is_named_label, label_base, nifti_in, nifti_stem
from medzsad.datasets.records import FoundVolumes, Problem, VolumeRecord, relative_name

_IMAGES = frozenset(("images", "image", "imgs", "img", "scans", "volumes"))
_LABELS = frozenset(
    (
        "labels",
        "label",
        "masks",
        "mask",
        "segmentations",
        "segmentation",
        "seg",
        "lesions",
        "rois",
        "roi",
        "gt",
        "groundtruth",
    )
)
_LEVELS = 3
_BIDS = re.compile(r"(sub-[A-Za-z0-9]+)(_|$)")
_CHANNEL = re.compile(r"_0000$")
_IMAGE_ENDING = re.compile(r"[_ -](image|img)$", re.I)


def read_volume_pairs(root: Path) -> FoundVolumes:
    """Volumes with the labels that belong to them.

    Looked for in this order: folders of images and of labels; files of one folder told apart by endings, or two of
    which one is named as labels; the same in the folders below, three levels down at most.
    """
    records, problems = _search(root, root, _LEVELS)
    return _with_own_names(root, records), problems


def _search(root: Path, folder: Path, levels: int) -> FoundVolumes:
    found = _beside(root, folder) or _together(root, folder)
    if found is not None:
        return found
    records: list[VolumeRecord] = []
    problems: list[Problem] = []
    for inner in subfolders(folder) if levels else ():
        part = _search(root, inner, levels - 1)
        records += part[0]
        problems += part[1]
    return records, problems


def _beside(root: Path, folder: Path) -> FoundVolumes | None:
    """`images` beside `labels`, `imagesTr` beside `labelsTr` and the like."""
    records: list[VolumeRecord] = []
    problems: list[Problem] = []
    for split in ("", "tr", "ts"):
        images = [p for f in _folders(folder, _IMAGES, split) for p in nifti_in(f)]
        labels = [p for f in _folders(folder, _LABELS, split) for p in nifti_in(f)]
        if images and _folders(folder, _LABELS, split):
            part = _paired(root, images, [(_label_key(path), path) for path in labels])
            records += part[0]
            problems += part[1]
    return (records, problems) if records else None


def _folders(folder: Path, names: frozenset[str], split: str) -> list[Path]:
    return [inner for inner in subfolders(folder) if plain_name(inner.name) in {name + split for name in names}]


def _together(root: Path, folder: Path) -> FoundVolumes | None:
    """Volumes and labels in one folder; None if the folder itself, as root, holds no labels."""
    files = nifti_in(folder)
    named = [path for path in files if is_named_label(path)]
    if len(files) == 2 and len(named) == 1:
        image = next(path for path in files if path != named[0])
        return [VolumeRecord(image, named[0], folder.name, folder.name)], []
    marked = [(_label_key(path), path) for path in files if label_base(path) is not None]
    if not marked:
        # A case without labels is a problem; a root without any is another layout.
        return _unlabeled(root, folder, files) if files and folder != root else None
    return _paired(root, [path for path in files if label_base(path) is None], marked)


def _unlabeled(root: Path, folder: Path, files: Sequence[Path]) -> FoundVolumes:
    if len(files) == 1:
        return [VolumeRecord(files[0], None, folder.name, folder.name)], []
    message = (
        f"None of {', '.join(path.name for path in files[:5])} can be told to be the labels of another. "
        "Leave one volume and its labels in the folder, and name these mask, seg, label, lesions, roi, truth or gt."
    )
    return [], [Problem("ambiguous_files", "error", relative_name(root, folder), message)]


def _paired(root: Path, images: Sequence[Path], labels: Sequence[tuple[str, Path]]) -> FoundVolumes:
    """Images with the one label file of the same name, or of the beginning of a single image's name."""
    claims: dict[Path, list[Path]] = {image: [] for image in images}
    unclear: set[Path] = set()
    problems: list[Problem] = []
    for key, label in labels:
        fitting = _fitting(key, images)
        if len(fitting) == 1:
            claims[fitting[0]].append(label)
            continue
        unclear |= set(fitting)
        which = f"several volumes: {_names(fitting)}" if fitting else "no volume"
        message = f"To these labels belongs {which}. Give both the same name, apart from an ending such as _mask."
        kind = "ambiguous_files" if fitting else "missing_image"
        problems.append(Problem(kind, "error", relative_name(root, label), message))
    for image, own in claims.items():
        if len(own) > 1:
            unclear.add(image)
            message = f"Several files could be its labels: {_names(own)}. Keep one of them."
            problems.append(Problem("ambiguous_files", "error", relative_name(root, image), message))
    records = [
        VolumeRecord(image, own[0] if own else None, _case(image), _case(image))
        for image, own in claims.items()
        if image not in unclear
    ]
    return records, problems


def _fitting(key: str, images: Sequence[Path]) -> list[Path]:
    same = [image for image in images if _image_key(image) == key]
    return same or [image for image in images if re.match(re.escape(key) + r"[._ -]", _image_key(image))]


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _case(image: Path) -> str:
    return _CHANNEL.sub("", nifti_stem(image))


def _image_key(path: Path) -> str:
    return _IMAGE_ENDING.sub("", _case(path)).lower()


def _label_key(path: Path) -> str:
    base = label_base(path)
    return (base if base is not None else nifti_stem(path)).lower()


def _with_own_names(root: Path, records: Sequence[VolumeRecord]) -> list[VolumeRecord]:
    """The records, called by their folders too where a name recurs, and by patient where names are those of BIDS."""
    counts = Counter(record.case for record in records)
    named = []
    for record in records:
        place = record.image.relative_to(root)
        folders = place.parent.parts
        case = record.case
        if counts[case] > 1:
            case = "_".join(folders if folders and folders[-1] == case else (*folders, case))
        bids = _BIDS.match("_".join(place.parts))
        named.append(replace(record, case=case, subject=bids.group(1) if bids else case))
    return named
