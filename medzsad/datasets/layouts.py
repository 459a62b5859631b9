"""Training data read in whatever layout it lies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from medzsad.datasets.folders import mvtec_classes, pair_classes, read_mvtec, read_pairs
from medzsad.datasets.meta import Found, load_meta, missing_masks, read_meta, read_visa
from medzsad.datasets.records import DataSet, Problem
from medzsad.errors import ConfigError

LAYOUTS = ("auto", "bayes_pfl", "anomalyclip", "mvtec", "visa", "pairs")

_LOOKED_FOR = (
    "bayes_pfl (meta_*.json, or meta.json with dataset_name), anomalyclip (meta.json), visa (split_csv/1cls.csv), "
    "mvtec (<class>/train/good, <class>/test/<defect>, <class>/ground_truth/<defect>), pairs (images + masks, or "
    "good + bad, directly or per class)"
)


def read_data(
    root: Path,
    layout: str = "auto",
    *,
    split: Literal["train", "test", "all"] = "test",
    classes: Sequence[str] | None = None,
) -> DataSet:
    """The records under a folder, with the problems that show without opening an image.

    Args:
        root: The folder, or its json or csv file.
        layout: One of LAYOUTS; "auto" finds it.
        split: Which split of layouts that have splits.
        classes: Names of the classes to keep; all by default.

    Raises:
        ConfigError: Nothing is there, no layout fits, the list is malformed, or a class is unknown.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"Unknown layout {layout!r} of training data. Use one of {', '.join(LAYOUTS)}.")
    if split not in ("train", "test", "all"):
        raise ConfigError(f"Unknown split {split!r} of training data. Use train, test or all.")
    path = root.resolve()
    if not path.exists():
        raise ConfigError(f"There is no training data at {path}. Name the folder, or its json or csv file.")
    kind = _detected(path) if layout == "auto" else layout
    folder, (names, records, problems) = _read(path, kind)
    unknown = [name for name in classes or () if name not in names]
    if unknown:
        raise ConfigError(f"{path} has no class {', '.join(unknown)}. It has: {', '.join(sorted(names))}.")
    wanted = [name for name in names if classes is None or name in classes]
    kept = tuple(
        record for record in records if record.class_name in wanted and (split == "all" or record.split in (split, ""))
    )
    filled = {record.class_name for record in kept}
    empty = [
        Problem("empty_class", "error", name, f"The class has no images in split {split}. Add some, or leave it out.")
        for name in wanted
        if name not in filled
    ]
    return DataSet(folder, kind, kept, (*problems, *empty, *missing_masks(folder, kept)))


def _read(path: Path, kind: str) -> tuple[Path, Found]:
    folder = path if path.is_dir() else path.parent
    if kind in ("bayes_pfl", "anomalyclip"):
        files = _meta_files(path, kind)
        if files:
            return folder, read_meta(files)
    elif kind == "visa":
        table = _visa_csv(path)
        if table is not None:
            folder = table.parent.parent if table.parent.name == "split_csv" else table.parent
            return folder, read_visa(folder, table)
    elif kind == "mvtec" and mvtec_classes(path):
        return folder, read_mvtec(path)
    elif kind == "pairs" and pair_classes(path):
        return folder, read_pairs(path)
    raise ConfigError(f"{path} is not of layout {kind}. Layouts: {_LOOKED_FOR}. Found there: {_content(path)}.")


def _detected(path: Path) -> str:
    if path.is_file() and path.suffix.lower() == ".csv":
        return "visa"
    if _meta_files(path, "bayes_pfl"):
        entries = [
            entry
            for file in _meta_files(path, "bayes_pfl")
            for part in load_meta(file).values()
            for listed in part.values()
            for entry in listed
        ]
        named = any(isinstance(entry, dict) and "dataset_name" in entry for entry in entries)
        several = any(file.name.lower() != "meta.json" for file in _meta_files(path, "bayes_pfl"))
        return "bayes_pfl" if named or several else "anomalyclip"
    if path.is_dir() and _visa_csv(path) is not None:
        return "visa"
    if mvtec_classes(path):
        return "mvtec"
    if pair_classes(path):
        return "pairs"
    raise ConfigError(f"No training data found at {path}. Looked for: {_LOOKED_FOR}. Found there: {_content(path)}.")


def _meta_files(path: Path, kind: str) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" else []
    several = sorted(path.glob("meta_*.json")) if kind == "bayes_pfl" else []
    single = path / "meta.json"
    return several or ([single] if single.is_file() else [])


def _visa_csv(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix.lower() == ".csv" else None
    return next((file for file in (path / "split_csv" / "1cls.csv", path / "1cls.csv") if file.is_file()), None)


def _content(path: Path) -> str:
    if not path.is_dir():
        return f"the file {path.name}"
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in path.iterdir())
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return (", ".join(names[:10]) + more) or "nothing"
