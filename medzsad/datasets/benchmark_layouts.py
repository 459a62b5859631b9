"""Readers of the folders and lists in which benchmarks go around (METHODS F).

Each takes a folder and gives what lies there in its layout, or None where the layout does not fit. What is wrong with a
list that does fit raises ConfigError.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from medzsad.datasets.benchmarks import Benchmark, Reader, names_of_others, own_names, plain_name
from medzsad.datasets.folders import (
    DEFECTS,
    SOUND,
    is_mvtec_class,
    named_folders,
    order_problem,
    pair_masks,
    paired,
    pictures_in,
    read_mvtec,
    read_part,
    subfolders,
)
from medzsad.datasets.meta import Found, listed_record, read_meta
from medzsad.datasets.records import Problem, Record, is_there, relative_name
from medzsad.errors import ConfigError

# Plain names (letters and digits in lower case).
_IMAGE_FOLDERS = frozenset(("images", "image", "imgs", "img", "original", "originals", "testimage", "testimages"))
_MASK_FOLDERS = frozenset(
    ("masks", "mask", "groundtruth", "groundtruths", "gt", "labels", "label", "testmask", "testmasks", "anomalymask")
)
_JSONL_LEVELS = 4  # folders from the list upward that its paths may count from


def _read_meta(root: Path, benchmark: Benchmark) -> Found | None:
    several = sorted(root.glob("meta_*.json"))
    own = [path for path in several if plain_name(path.stem.removeprefix("meta_")) in own_names(benchmark)]
    if len(own) > 1:
        raise ConfigError(f"{root} has several lists for {benchmark.name}: {_names(own)}. Name the right one.")
    if not own and (root / "meta.json").is_file():
        own = [root / "meta.json"]
    return read_list(own[0], benchmark) if own else None


def _read_jsonl(root: Path, benchmark: Benchmark) -> Found | None:
    others = names_of_others(benchmark)
    several = [path for path in sorted(root.glob("*.jsonl")) if path.is_file() and plain_name(path.stem) not in others]
    own = [path for path in several if plain_name(path.stem) in own_names(benchmark) | {"test"}] or several
    if len(own) > 1:
        raise ConfigError(f"{root} has several lists for {benchmark.name}: {_names(own)}. Name the right one.")
    return read_list(own[0], benchmark) if own else None


def read_list(path: Path, benchmark: Benchmark) -> Found:
    """Classes, records and problems of one list: a meta.json, a jsonl or a labels.csv.

    Raises:
        ConfigError: The file is none of these, or not of this structure.
    """
    ending = path.suffix.lower()
    if ending == ".json":
        return _own_records(read_meta([path]), benchmark)
    if ending == ".jsonl":
        return _jsonl_records(path, benchmark)
    if ending == ".csv":
        return _csv_records(path, benchmark)
    raise ConfigError(f"{path} is not a list of images. Name a folder, a .json, a .jsonl or a .csv file.")


def _own_records(found: Found, benchmark: Benchmark) -> Found:
    """Where records say which data set they are of, only those of the benchmark, if there are any."""
    names, records, problems = found
    own = [record for record in records if plain_name(record.dataset) in own_names(benchmark)]
    return names, own or records, problems


def _jsonl_records(path: Path, benchmark: Benchmark) -> Found:
    try:
        lines = [
            (n, line) for n, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1) if line.strip()
        ]
        entries = [(number, json.loads(line)) for number, line in lines]
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot read {path} as lines of JSON ({error.__class__.__name__}: {error}).") from None
    base = _base_of(path, [entry.get("image_path") for _, entry in entries if isinstance(entry, dict)])
    records: list[Record] = []
    problems: list[Problem] = []
    for number, entry in entries:
        read = _jsonl_record(base, entry, f"{path.name}: line {number}", benchmark)
        if isinstance(read, Record):
            records.append(read)
        else:
            problems.append(read)
    return [benchmark.class_name], records, problems


def _base_of(path: Path, images: Iterable[Any]) -> Path:
    """The folder that relative paths count from: of those upward from the list, the nearest where the first one is."""
    first = next((text.replace("\\", "/") for text in images if isinstance(text, str) and text), None)
    levels = [path.parent, *path.parent.parents][:_JSONL_LEVELS]
    return next((level for level in levels if first is not None and is_there(level / first)), path.parent)


def _jsonl_record(base: Path, entry: Any, subject: str, benchmark: Benchmark) -> Record | Problem:
    image = entry.get("image_path") if isinstance(entry, dict) else None
    if not isinstance(image, str) or not image or entry.get("label") not in (0, 1):
        message = "Expected an object with an 'image_path' and a 'label' of 0 or 1. Mend or remove the line."
        return Problem("bad_record", "error", subject, message)
    mask = entry.get("mask_path")
    draft = Record(base, None, int(entry["label"]), benchmark.class_name, "")
    return listed_record(base, (image, mask if isinstance(mask, str) else ""), subject, draft)


def _read_csv(root: Path, benchmark: Benchmark) -> Found | None:
    table = root / "labels.csv"
    return _csv_records(table, benchmark) if table.is_file() else None


def _csv_records(path: Path, benchmark: Benchmark) -> Found:
    """HeadCT as downloaded: a number and a label per line, images called by their numbers in folders beside."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(row)]
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"Cannot read {path} as csv ({error.__class__.__name__}: {error}).") from None
    if not rows or len(rows[0]) != 2 or rows[0][0].lower() != "id":
        raise ConfigError(f"{path} does not list images. Expected a first line 'id, hemorrhage'.")
    images = {int(p.stem): p for p in _pictures_below(path.parent) if p.stem.isdecimal()}
    records: list[Record] = []
    problems: list[Problem] = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or not row[0].isdecimal() or row[1] not in ("0", "1"):
            message = f"Expected a number and a label of 0 or 1; found {', '.join(map(repr, row))}. Mend the line."
            problems.append(Problem("bad_record", "error", f"{path.name}: line {number}", message))
        else:
            image = images.pop(int(row[0]), path.parent / f"{int(row[0]):03d}.png")
            records.append(Record(image, None, int(row[1]), benchmark.class_name, ""))
    if images:
        message = f"{len(images)} images are not in {path.name} and are left out; first: {_names(images.values())}."
        problems.append(Problem("unlisted_images", "warning", ".", message))
    return [benchmark.class_name], records, problems


def _read_mvtec(root: Path, _: Benchmark) -> Found | None:
    return read_mvtec(root) if is_mvtec_class(root) else None


def _read_sorted(root: Path, benchmark: Benchmark) -> Found | None:
    return _parts(root, benchmark)


def _read_bmad(root: Path, benchmark: Benchmark) -> Found | None:
    tests = [root] if root.name.lower() == "test" else named_folders(root, {"test"})
    return _parts(tests[0], benchmark) if tests else None


def _parts(folder: Path, benchmark: Benchmark) -> Found | None:
    """Folders of normal and of abnormal images."""
    parts = named_folders(folder, SOUND | DEFECTS)
    records: list[Record] = []
    problems: list[Problem] = []
    for part in parts:
        read_part(benchmark.class_name, part, [], records, problems)
    if benchmark.endings:
        wanted = (benchmark.endings.normal, benchmark.endings.abnormal)
        records = [record for record in records if record.image.suffix == wanted[record.label]]
    return ([benchmark.class_name], records, problems) if parts else None


def _read_masked(root: Path, benchmark: Benchmark) -> Found | None:
    images = [folder for folder in subfolders(root) if plain_name(folder.name) in _IMAGE_FOLDERS]
    masks = [folder for folder in subfolders(root) if plain_name(folder.name) in _MASK_FOLDERS]
    return _abnormal(root, images, masks, benchmark)


def _read_endo(root: Path, benchmark: Benchmark) -> Found | None:
    masks = [folder for folder in subfolders(root) if plain_name(folder.name) in _MASK_FOLDERS]
    return _abnormal(root, [folder for folder in subfolders(root) if folder not in masks], masks, benchmark)


def _read_isic(root: Path, benchmark: Benchmark) -> Found | None:
    folders = [folder for folder in subfolders(root) if "train" not in plain_name(folder.name)]
    masks = [folder for folder in folders if re.search(r"groundtruth|^masks?$", plain_name(folder.name))]
    images = [f for f in folders if f not in masks and re.search(r"^test|testdata$|^images?$", plain_name(f.name))]
    return _abnormal(root, images, masks, benchmark)


def _abnormal(root: Path, images: Sequence[Path], masks: Sequence[Path], benchmark: Benchmark) -> Found | None:
    """Images that all show something, and their masks; None without folders of both."""
    if not images or not masks:
        return None
    pictures = [p for folder in images for p in _pictures_below(folder) if not p.stem.endswith("_superpixels")]
    marked = [p for folder in masks for p in _pictures_below(folder)]
    pairs, by_order = pair_masks(pictures, marked)
    records = [paired(picture, pairs, 1, benchmark.class_name) for picture in pictures]
    unused = sorted(set(marked) - {mask for own in pairs.values() for mask in own})
    problems = order_problem(benchmark.class_name, images[0], by_order)
    if unused:
        message = f"{len(unused)} masks belong to no image; first: {_names(unused)}. Restore the images."
        problems.append(Problem("unused_masks", "warning", relative_name(root, masks[0]), message))
    return [benchmark.class_name], records, problems


def _pictures_below(folder: Path) -> list[Path]:
    """Pictures in a folder; where it has none, those of the folders in it, two levels down at most."""
    for level in ([folder], subfolders(folder), [deep for inner in subfolders(folder) for deep in subfolders(inner)]):
        pictures = [picture for place in level for picture in pictures_in(place)]
        if pictures:
            return pictures
    return []


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in list(paths)[:3])


READERS: dict[Reader, Callable[[Path, Benchmark], Found | None]] = {
    "meta": _read_meta,
    "jsonl": _read_jsonl,
    "csv": _read_csv,
    "mvtec": _read_mvtec,
    "sorted": _read_sorted,
    "bmad": _read_bmad,
    "masked": _read_masked,
    "endo": _read_endo,
    "isic": _read_isic,
}
"""Readers of picture sets by name."""
