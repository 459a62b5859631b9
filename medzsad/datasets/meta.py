"""Layouts that list their images in a file: `meta*.json` (METHODS F.1 to F.3) and VisA's csv."""

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from medzsad.datasets.records import Problem, Record, is_there, relative_name
from medzsad.errors import ConfigError

# Augmented copies of MVTec AD are told apart by a number before the kind of defect: "7_poke", "0.3_hole", "sigma40_…".
_AUGMENTED = re.compile(r"^(?:sigma)?\d+(?:\.\d+)?_(?=.)")
_COLUMNS = ("object", "split", "label", "image", "mask")

Found = tuple[list[str], list[Record], list[Problem]]
"""Names of the classes, records, problems."""


def group_augmented(records: Sequence[Record], kinds: Sequence[str]) -> list[Record]:
    """The records, defects grouped by kind in classes where names of kinds show augmented copies.

    The names do not say which original a copy comes from, only its kind of defect; so a kind stays together.

    Args:
        records: In any order.
        kinds: Kind of defect of each, such as "10_poke".
    """
    marked = {
        record.class_name
        for record, kind in zip(records, kinds, strict=True)
        if record.label == 1 and _AUGMENTED.match(kind)
    }
    return [
        replace(record, group=_AUGMENTED.sub("", kind)) if record.label == 1 and record.class_name in marked else record
        for record, kind in zip(records, kinds, strict=True)
    ]


def read_meta(files: Sequence[Path]) -> Found:
    """Classes, records and problems of meta files; paths are relative to the folder of each, or absolute.

    Raises:
        ConfigError: A file is no JSON, or not of this structure.
    """
    names: list[str] = []
    records: list[Record] = []
    kinds: list[str] = []
    problems: list[Problem] = []
    for path in files:
        for split, classes in load_meta(path).items():
            for name, entries in classes.items():
                names.append(name)
                for number, entry in enumerate(entries):
                    subject = f"{path.name}: {split}/{name}[{number}]"
                    read = _meta_record(path.parent, entry, subject, name, split)
                    if isinstance(read, Problem):
                        problems.append(read)
                    elif read is not None:
                        records.append(read)
                        kinds.append(str(entry.get("specie_name", "")))
    return list(dict.fromkeys(names)), group_augmented(records, kinds), problems


def load_meta(path: Path) -> dict[str, dict[str, list[Any]]]:
    """Lists of entries by split and class.

    Raises:
        ConfigError: The file is no JSON, or not of this structure.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot read {path} as JSON ({error.__class__.__name__}: {error}).") from None
    splits = {key: content[key] for key in ("train", "test") if key in content} if isinstance(content, dict) else {}
    sound = all(isinstance(part, dict) and all(isinstance(x, list) for x in part.values()) for part in splits.values())
    if not splits or not sound:
        raise ConfigError(
            f"{path} does not list images. Expected 'train' and 'test', each with lists of records by class."
        )
    return splits


def _meta_record(folder: Path, entry: Any, subject: str, name: str, split: str) -> Record | Problem | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("img_path"), str):
        return Problem("bad_record", "error", subject, "The record has no text 'img_path'. Mend or remove it.")
    if not entry["img_path"]:  # placeholder of test-only sets
        return None
    label = entry.get("anomaly")
    if label not in (0, 1):
        return Problem(
            "bad_record", "error", subject, f"'anomaly' must be 0 or 1, not {label!r}. Mend or remove the record."
        )
    mask = entry.get("mask_path") or ""
    dataset = str(entry.get("dataset_name") or "")
    return listed_record(
        folder, (entry["img_path"], str(mask)), subject, Record(folder, None, int(label), name, split, dataset)
    )


def read_visa(root: Path, path: Path) -> Found:
    """Classes, records and problems of VisA as downloaded; paths in the csv are relative to the root.

    Raises:
        ConfigError: The csv cannot be read, or has other columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"Cannot read {path} as csv ({error.__class__.__name__}: {error}).") from None
    lacking = [column for column in _COLUMNS if column not in columns]
    if lacking:
        raise ConfigError(
            f"{path} has no column {', '.join(lacking)}. Expected {', '.join(_COLUMNS)}; found {', '.join(columns)}."
        )
    records: list[Record] = []
    problems: list[Problem] = []
    for number, row in enumerate(rows, start=2):
        read = _visa_record(root, row, f"{path.name}: line {number}")
        if isinstance(read, Problem):
            problems.append(read)
        else:
            records.append(read)
    return list(dict.fromkeys(row["object"] for row in rows if row["object"])), records, problems


def _visa_record(root: Path, row: dict[str, str | None], subject: str) -> Record | Problem:
    values = {key: row[key] or "" for key in _COLUMNS}
    label = {"normal": 0, "anomaly": 1}.get(values["label"].strip().lower())
    if label is None or not values["image"] or not values["object"] or values["split"] not in ("train", "test"):
        return Problem(
            "bad_record",
            "error",
            subject,
            "Expected an object, an image, a split of train or test and a label of normal or anomaly; found "
            f"{', '.join(repr(value) for value in values.values())}. Mend or remove the line.",
        )
    draft = Record(root, None, label, values["object"], values["split"], "VisA")
    return listed_record(root, (values["image"], values["mask"]), subject, draft)


def listed_record(folder: Path, paths: tuple[str, str], subject: str, draft: Record) -> Record | Problem:
    """The draft with the paths of a list's entry, relative to the folder or absolute; a mask counts if it is there.

    Args:
        folder: What relative paths count from.
        paths: Image and mask as written, "" for none.
        subject: The entry, as the user finds it.
        draft: All else of the record.
    """
    # Lists written on Windows have backslashes.
    texts = [text if Path(text).is_absolute() else text.replace("\\", "/") for text in paths]
    for text in texts:
        if not Path(text).is_absolute() and _escapes(PurePosixPath(text)):
            return Problem(
                "path_escapes",
                "error",
                subject,
                f"The path {text} leads out of {folder}. Move the file into the folder, or write an absolute path.",
            )
    mask = folder / texts[1] if texts[1] else None
    # A folder or a missing file in place of a mask is no pixel label, never an empty mask.
    return replace(draft, image=folder / texts[0], mask=mask if mask is not None and is_there(mask) else None)


def _escapes(path: PurePosixPath) -> bool:
    depth = 0
    for part in path.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def missing_masks(root: Path, records: Iterable[Record]) -> list[Problem]:
    """One warning per class with defects that have no pixel label."""
    bare: dict[str, list[str]] = {}
    for record in records:
        if record.label == 1 and record.mask is None:
            bare.setdefault(record.class_name, []).append(relative_name(root, record.image))
    return [
        Problem(
            "missing_mask",
            "warning",
            name,
            f"{len(images)} defects have no mask and count for the image score only; first: {', '.join(images[:3])}.",
        )
        for name, images in bare.items()
    ]
