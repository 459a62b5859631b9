"""Layouts told by folders alone: MVTec AD, and images beside masks."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from medzsad.datasets.meta import Found, group_augmented
from medzsad.datasets.records import Problem, Record

_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"))
_MASK_ENDING = re.compile(r"[ _-](mask|masks|gt|groundtruth|ground_truth|label|seg|segmentation|anno|roi)$", re.I)
_IMAGE_ENDING = re.compile(r"[ _-](image|img)$", re.I)
IMAGES = frozenset(("images", "image", "imgs", "img"))
MASKS = frozenset(("masks", "mask", "ground_truth", "groundtruth", "gt", "labels", "label", "anomaly_mask"))
SOUND = frozenset(("good", "normal", "ok", "sound", "no"))
DEFECTS = frozenset(
    ("bad", "defect", "defects", "defective", "anomaly", "anomalous", "abnormal", "ng", "ungood", "broken", "yes")
)


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
                records += [Record(image, pairs.get(image), label, folder.name, split) for image in images]
                kinds += [kind.name] * len(images)
    return [folder.name for folder in folders], group_augmented(records, kinds), problems


def pair_classes(root: Path) -> list[Path]:
    """Folders that hold images beside masks, or sound images beside defects: the root, or those directly under it."""
    if _is_pairs(root):
        return [root]
    return [folder for folder in subfolders(root) if _is_pairs(folder)]


def _is_pairs(folder: Path) -> bool:
    return bool(named_folders(folder, SOUND | DEFECTS)) or bool(
        named_folders(folder, IMAGES) and named_folders(folder, MASKS)
    )


def read_pairs(root: Path) -> Found:
    """Classes, records and problems of `images` + `masks` and of `good` + `bad` folders, masks optional."""
    records: list[Record] = []
    problems: list[Problem] = []
    folders = pair_classes(root)
    for folder in folders:
        beside = named_folders(folder, MASKS)
        for images in named_folders(folder, IMAGES):
            # Images may be sorted once more into sound and defective ones.
            sorted_ones = named_folders(images, SOUND | DEFECTS)
            for part in (images, *sorted_ones):
                read_part(folder.name, part, beside, records, problems)
        for part in named_folders(folder, SOUND | DEFECTS):
            read_part(folder.name, part, beside, records, problems)
    return [folder.name for folder in folders], records, problems


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
    masks = [p for p in images if _MASK_ENDING.search(p.stem) and _MASK_ENDING.sub("", p.stem) in stems]
    images = [image for image in images if image not in masks]
    for inner in named_folders(part, MASKS):
        masks += pictures_in(inner)
    if label:
        # A mask beside both folders belongs to the defect: names may recur among the sound images.
        masks += [p for folder in beside for p in pictures_in(folder / part.name) or pictures_in(folder)]
    pairs, by_order = pair_masks(images, masks)
    problems += order_problem(name, part, by_order)
    records += [Record(image, pairs.get(image), label, name, "") for image in images]


def pair_masks(images: Sequence[Path], masks: Sequence[Path]) -> tuple[dict[Path, Path], bool]:
    """Masks by image, and whether they had to be paired by sorted order.

    Stems decide, first as they are, then without endings such as "_mask". The order decides only where no stem
    matches at all and there are as many masks as images.
    """
    exact = {mask.stem: mask for mask in masks}
    bare = {_MASK_ENDING.sub("", mask.stem).lower(): mask for mask in masks}
    pairs = {}
    for image in images:
        mask = exact.get(image.stem) or bare.get(image.stem.lower())
        mask = mask or bare.get(_IMAGE_ENDING.sub("", image.stem).lower())
        if mask is not None:
            pairs[image] = mask
    if pairs or not masks or len(masks) != len(images):
        return pairs, False
    return dict(zip(sorted(images), sorted(masks), strict=True)), True


def order_problem(name: str, folder: Path, by_order: bool) -> list[Problem]:
    """The warning that masks had to be paired by order, if they had."""
    if not by_order:
        return []
    message = (
        f"No mask of {folder.parent.name}/{folder.name} is named like its image; they were paired in sorted "
        "order. Look at a few pairs, or rename the masks."
    )
    return [Problem("paired_by_order", "warning", name, message)]
