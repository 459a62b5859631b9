"""Layouts told by folders alone: MVTec AD, and images beside masks."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from medzsad.datasets.meta import Found, group_augmented
from medzsad.datasets.records import Problem, Record

Pairs = dict[Path, tuple[Path, ...]]
"""Masks by image."""

_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"))
_MASK_WORD = r"[ _-](mask|masks|gt|groundtruth|ground_truth|label|seg|segmentation|anno|roi)"
_MASK_ENDING = re.compile(rf"{_MASK_WORD}$", re.I)
# BUSI: "benign (4)_mask.png" and "benign (4)_mask_1.png" are two lesions of one image.
_FURTHER_ENDING = re.compile(rf"{_MASK_WORD}[ _-]?\d+$", re.I)
_IMAGE_ENDING = re.compile(r"[ _-](image|img)$", re.I)
IMAGES = frozenset(("images", "image", "imgs", "img"))
MASKS = frozenset(("masks", "mask", "ground_truth", "groundtruth", "gt", "labels", "label", "anomaly_mask"))
SOUND = frozenset(("good", "normal", "ok", "sound", "no"))
DEFECTS = frozenset(
    ("bad", "defect", "defects", "defective", "anomaly", "anomalous", "abnormal", "ng", "ungood", "broken", "yes")
)

# Both are abnormal where normal images lie beside, or where they have masks; else benign may stand for normal.
_LESIONS = frozenset(("benign", "malignant"))


def subfolders(folder: Path) -> list[Path]:
    """Folders directly under one, sorted, without hidden ones; none if there is no such folder."""
    return (
        sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))
        if folder.is_dir()
        else []
    )


def named_folders(folder: Path, names: Iterable[str]) -> list[Path]:
    """Folders directly under one whose name in lower case is among `names`."""
    return [path for path in subfolders(folder) if path.name.lower() in names]


def pictures_in(folder: Path) -> list[Path]:
    """Picture files directly in a folder, sorted, without hidden ones."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def mvtec_classes(root: Path) -> list[Path]:
    """Folders of classes as in MVTec AD: the root itself, or those directly under it."""
    return [folder for folder in (root, *subfolders(root)) if is_mvtec_class(folder)]


def is_mvtec_class(folder: Path) -> bool:
    """True for a class folder as in MVTec AD."""
    if (folder / "train" / "good").is_dir() or (folder / "test" / "good").is_dir():
        return True
    return (folder / "test").is_dir() and (folder / "ground_truth").is_dir()


def read_mvtec(root: Path) -> Found:
    """Classes, records and problems of `<class>/{train,test}/<kind>` with `<class>/ground_truth/<kind>`."""
    records: list[Record] = []
    kinds: list[str] = []
    problems: list[Problem] = []
    folders = mvtec_classes(root)
    for folder in folders:
        for split in ("train", "test"):
            for kind in subfolders(folder / split):
                images = pictures_in(kind)
                label = int(kind.name.lower() != "good")
                masks = pictures_in(folder / "ground_truth" / kind.name) if label else []
                pairs, by_order = pair_masks(images, masks)
                problems += order_problem(folder.name, kind, by_order)
                records += [paired(image, pairs, label, folder.name, split) for image in images]
                kinds += [kind.name] * len(images)
    return [folder.name for folder in folders], group_augmented(records, kinds), problems


def pair_classes(root: Path) -> list[Path]:
    """Folders that hold images beside masks, or sound images beside defects: the root, or those directly under it."""
    if _is_pairs(root):
        return [root]
    return [folder for folder in subfolders(root) if _is_pairs(folder)]


def _is_pairs(folder: Path) -> bool:
    return bool(_sorted_folders(folder)) or bool(named_folders(folder, IMAGES) and named_folders(folder, MASKS))


def _sorted_folders(folder: Path) -> list[Path]:
    """Folders of normal and of abnormal images directly under one."""
    known = named_folders(folder, SOUND | DEFECTS)
    lesions = named_folders(folder, _LESIONS)
    understood = bool(named_folders(folder, SOUND)) or any(
        _MASK_ENDING.search(picture.stem) for part in lesions for picture in pictures_in(part)
    )
    return sorted([*known, *lesions]) if understood else known


def read_pairs(root: Path) -> Found:
    """Classes, records and problems of `images` + `masks` and of `good` + `bad` folders, masks optional."""
    records: list[Record] = []
    problems: list[Problem] = []
    folders = pair_classes(root)
    for folder in folders:
        beside = named_folders(folder, MASKS)
        for images in named_folders(folder, IMAGES):
            # Images may be sorted once more into sound and defective ones.
            sorted_ones = _sorted_folders(images)
            for part in (images, *sorted_ones):
                read_part(folder.name, part, beside, records, problems)
        for part in _sorted_folders(folder):
            read_part(folder.name, part, beside, records, problems)
    problems += _not_understood(root, folders)
    return [folder.name for folder in folders], records, problems


def _not_understood(root: Path, folders: Sequence[Path]) -> list[Problem]:
    """A warning that names the folders whose pictures were not read, since their names say nothing."""
    read = {*folders, *(part for folder in (root, *folders) for part in named_folders(folder, IMAGES | MASKS))}
    read |= {part for folder in folders for part in _sorted_folders(folder)}
    beside = [part for place in dict.fromkeys((root, *folders)) for part in subfolders(place) if part not in read]
    named = [f"{part.relative_to(root).as_posix()} ({len(found)})" for part in beside if (found := pictures_in(part))]
    if not named:
        return []
    message = (
        f"Folders not understood, with the number of pictures in them that were left out: {', '.join(named)}. "
        f"Call folders of normal images {', '.join(sorted(SOUND))}, "
        f"those of abnormal ones {', '.join(sorted(DEFECTS))}."
    )
    return [Problem("unknown_folders", "warning", ".", message)]


def read_part(name: str, part: Path, beside: Sequence[Path], records: list[Record], problems: list[Problem]) -> None:
    """Adds the images of one folder of sound or of defective ones, and what is wrong with their masks.

    Args:
        name: Class of the records.
        part: The folder; images and masks may lie in it or in folders such as `img` and `label` of their own.
        beside: Folders of masks that lie beside it.
        records: Are added to.
        problems: Are added to.
    """
    label = int(part.name.lower() not in SOUND)
    images = pictures_in(part)
    for inner in named_folders(part, IMAGES) if part.name.lower() not in IMAGES else []:
        images += pictures_in(inner)
    stems = {image.stem for image in images}
    endings = (_MASK_ENDING, _FURTHER_ENDING)
    masks = [p for p in images if any(e.search(p.stem) and e.sub("", p.stem) in stems for e in endings)]
    images = [image for image in images if image not in masks]
    for inner in named_folders(part, MASKS):
        masks += pictures_in(inner)
    if label:
        # A mask beside both folders belongs to the defect: names may recur among the sound images.
        masks += [p for folder in beside for p in pictures_in(folder / part.name) or pictures_in(folder)]
    pairs, by_order = pair_masks(images, masks)
    problems += order_problem(name, part, by_order)
    records += [paired(image, pairs, label, name) for image in images]


def paired(image: Path, pairs: Pairs, label: int, class_name: str, split: str = "") -> Record:
    """The record of an image with all of its masks.

    Args:
        image: Of the record.
        pairs: Of `pair_masks`.
        label: 1 for abnormal.
        class_name: Of the record.
        split: Of the record.
    """
    mask, *more = pairs.get(image, (None,))
    return Record(image, mask, label, class_name, split, more_masks=tuple(path for path in more if path is not None))


def pair_masks(images: Sequence[Path], masks: Sequence[Path]) -> tuple[Pairs, bool]:
    """Masks by image, and whether they had to be paired by sorted order.

    Stems decide, first as they are, then without endings such as "_mask". Of endings with a number such as "_mask_1"
    an image may have several. The order decides only where no stem matches at all and there are as many masks as
    images.
    """
    further: dict[str, list[Path]] = {}
    for numbered in sorted(masks):
        if _FURTHER_ENDING.search(numbered.stem):
            further.setdefault(_FURTHER_ENDING.sub("", numbered.stem).lower(), []).append(numbered)
    exact = {mask.stem: mask for mask in masks}
    bare = {_MASK_ENDING.sub("", mask.stem).lower(): mask for mask in masks}
    pairs: Pairs = {}
    for image in images:
        mask = exact.get(image.stem) or bare.get(image.stem.lower())
        mask = mask or bare.get(_IMAGE_ENDING.sub("", image.stem).lower())
        own = [*([mask] if mask is not None else []), *further.get(image.stem.lower(), [])]
        if own:
            pairs[image] = tuple(dict.fromkeys(own))
    if pairs or not masks or len(masks) != len(images):
        return pairs, False
    return {image: (mask,) for image, mask in zip(sorted(images), sorted(masks), strict=True)}, True


def order_problem(name: str, folder: Path, by_order: bool) -> list[Problem]:
    """The warning that masks had to be paired by order, if they had."""
    if not by_order:
        return []
    message = (
        f"No mask of {folder.parent.name}/{folder.name} is named like its image; they were paired in sorted "
        "order. Look at a few pairs, or rename the masks."
    )
    return [Problem("paired_by_order", "warning", name, message)]
