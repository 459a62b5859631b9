"""Layouts told by folders alone: MVTec AD, and images beside masks."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from medzsad.datasets.meta import Found, group_augmented
from medzsad.datasets.records import Problem, Record

_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"))
_MASK_ENDING = re.compile(r"[ _-](mask|masks|gt|groundtruth|ground_truth|label|seg|segmentation|anno|roi)$", re.I)
_IMAGE_ENDING = re.compile(r"[ _-](image|img)$", re.I)
_IMAGES = frozenset(("images", "image", "imgs", "img"))
_MASKS = frozenset(("masks", "mask", "ground_truth", "groundtruth", "gt", "labels", "label", "anomaly_mask"))
_SOUND = frozenset(("good", "normal", "ok", "sound", "no"))
_DEFECTS = frozenset(
    ("bad", "defect", "defects", "defective", "anomaly", "anomalous", "abnormal", "ng", "ungood", "broken", "yes")
)


def _subfolders(folder: Path) -> list[Path]:
    return (
        sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))
        if folder.is_dir()
        else []
    )


def _named(folder: Path, names: Iterable[str]) -> list[Path]:
    return [path for path in _subfolders(folder) if path.name.lower() in names]


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def mvtec_classes(root: Path) -> list[Path]:
    """Folders of classes as in MVTec AD: the root itself, or those directly under it."""
    return [folder for folder in (root, *_subfolders(root)) if _is_mvtec(folder)]


def _is_mvtec(folder: Path) -> bool:
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
            for kind in _subfolders(folder / split):
                images = _pictures(kind)
                label = int(kind.name.lower() != "good")
                masks = _pictures(folder / "ground_truth" / kind.name) if label else []
                pairs, by_order = pair_masks(images, masks)
                problems += _order_problem(folder.name, kind, by_order)
                records += [Record(image, pairs.get(image), label, folder.name, split) for image in images]
                kinds += [kind.name] * len(images)
    return [folder.name for folder in folders], group_augmented(records, kinds), problems


def pair_classes(root: Path) -> list[Path]:
    """Folders that hold images beside masks, or sound images beside defects: the root, or those directly under it."""
    if _is_pairs(root):
        return [root]
    return [folder for folder in _subfolders(root) if _is_pairs(folder)]


def _is_pairs(folder: Path) -> bool:
    return bool(_named(folder, _SOUND | _DEFECTS)) or bool(_named(folder, _IMAGES) and _named(folder, _MASKS))


def read_pairs(root: Path) -> Found:
    """Classes, records and problems of `images` + `masks` and of `good` + `bad` folders, masks optional."""
    records: list[Record] = []
    problems: list[Problem] = []
    folders = pair_classes(root)
    for folder in folders:
        beside = _named(folder, _MASKS)
        for images in _named(folder, _IMAGES):
            # Images may be sorted once more into sound and defective ones.
            sorted_ones = _named(images, _SOUND | _DEFECTS)
            for part in (images, *sorted_ones):
                _read_part(folder.name, part, beside, records, problems)
        for part in _named(folder, _SOUND | _DEFECTS):
            _read_part(folder.name, part, beside, records, problems)
    return [folder.name for folder in folders], records, problems


def _read_part(name: str, part: Path, beside: Sequence[Path], records: list[Record], problems: list[Problem]) -> None:
    label = int(part.name.lower() not in _SOUND)
    images = _pictures(part)
    for inner in _named(part, _IMAGES) if part.name.lower() not in _IMAGES else []:
        images += _pictures(inner)
    stems = {image.stem for image in images}
    masks = [p for p in images if _MASK_ENDING.search(p.stem) and _MASK_ENDING.sub("", p.stem) in stems]
    images = [image for image in images if image not in masks]
    for inner in _named(part, _MASKS):
        masks += _pictures(inner)
    if label:
        # A mask beside both folders belongs to the defect: names may recur among the sound images.
        masks += [p for folder in beside for p in _pictures(folder / part.name) or _pictures(folder)]
    pairs, by_order = pair_masks(images, masks)
    problems += _order_problem(name, part, by_order)
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


def _order_problem(name: str, folder: Path, by_order: bool) -> list[Problem]:
    if not by_order:
        return []
    message = (
        f"No mask of {folder.parent.name}/{folder.name} is named like its image; they were paired in sorted "
        "order. Look at a few pairs, or rename the masks."
    )
    return [Problem("paired_by_order", "warning", name, message)]
