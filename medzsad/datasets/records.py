"""Records of labeled images and volumes, what is wrong with them, and the hold-out."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medzsad.errors import ConfigError

# With fewer records of one label in a class, none of them is held out.
FEWEST_TO_HOLD_OUT = 7


@dataclass(frozen=True, slots=True)
class Record:
    """One labeled image.

    Attributes:
        image: File of the image.
        mask: File of the defect mask. None for a defect: no pixel label; None for a normal image: normal everywhere.
        label: 1 with a defect, else 0.
        class_name: Word for the object.
        split: "train", "test", or "" where the layout has no splits.
        dataset: Name of the data set, "" if not stated.
        group: Images of one group within a class stay on one side of a hold-out; "" stands alone.
        subject: The patient or volume it is a slice of, where the file names tell; "" where not.
        more_masks: Further masks of the same image, of one lesion each; the lesions of all of them count.
    """

    image: Path
    mask: Path | None
    label: int
    class_name: str
    split: str
    dataset: str = ""
    group: str = ""
    subject: str = ""
    more_masks: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with labeled data.

    Attributes:
        kind: Stable code in lower case, such as "missing_image".
        severity: An "error" stands in the way of training or evaluation.
        subject: Path of the image relative to the root, or a class, or "." for all data.
        message: What is wrong, which value, what to do.
    """

    kind: str
    severity: Literal["error", "warning"]
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class DataSet:
    """Records found under a folder in one layout, and all problems known so far."""

    root: Path
    layout: str
    records: tuple[Record, ...]
    problems: tuple[Problem, ...]


def relative_name(root: Path, path: Path) -> str:
    """The path with "/" relative to the root, or as it is if it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def is_there(path: Path) -> bool:
    """True if a file is there; False also for names that the file system refuses, such as overlong ones."""
    try:
        return path.is_file()
    except OSError:
        return False


def hold_out(records: Sequence[Record], share: float, seed: int = 0) -> tuple[list[Record], list[Record]]:
    """Records to train on and records held out, each in the order given.

    The choice goes by a hash of class, label and file name, per class and label, so it is the same on every machine
    and in every order of the records. Groups stay whole. Of seven records of a label in a class or more, at least one
    is held out, unless they are all of one group; of fewer none is.

    Raises:
        ConfigError: The share is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise ConfigError(f"The share of records to hold out must be at least 0 and below 1, not {share}.")
    by_class: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_class[record.class_name].append(record)
    chosen: set[tuple[str, ...]] = set()
    if share > 0:
        for members in by_class.values():
            chosen |= _chosen_units(members, share, seed)
    parts: tuple[list[Record], list[Record]] = ([], [])
    for record in records:
        parts[_unit(record) in chosen].append(record)
    return parts


def few_sound(records: Sequence[Record], count: int, seed: int = 0) -> list[Record]:
    """The first `count` sound records of each class in the order that `hold_out` chooses by, or all if there are fewer.

    They come in the order given; records with a defect are left out.
    """
    by_class: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if not record.label:
            by_class[record.class_name].append(record)
    chosen = {
        record.image
        for members in by_class.values()
        for record in sorted(members, key=lambda one: _order(one, seed))[:count]
    }
    return [record for record in records if not record.label and record.image in chosen]


def _unit(record: Record) -> tuple[str, ...]:
    if record.group:
        return ("group", record.class_name, record.dataset, record.group)
    return ("image", record.class_name, record.image.as_posix())


def _order(record: Record, seed: int) -> tuple[str, str]:
    place = (
        f"{seed}/{record.class_name}/{record.group}"
        if record.group
        else f"{seed}/{record.class_name}/{record.label}/{record.image.name}"
    )
    # Equal names in several folders: the nearest folders decide, not where the data lie.
    near = "/".join(record.image.parts[-3:])
    return hashlib.sha256(place.encode()).hexdigest(), hashlib.sha256(near.encode()).hexdigest()


def _chosen_units(members: Sequence[Record], share: float, seed: int) -> set[tuple[str, ...]]:
    units: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in members:
        units[_unit(record)].append(record)
    ordered = sorted(units, key=lambda unit: min(_order(record, seed) for record in units[unit]))
    sizes = {unit: Counter(record.label for record in units[unit]) for unit in ordered}
    total = Counter(record.label for record in members)
    target = {
        label: max(1, round(share * count)) if count >= FEWEST_TO_HOLD_OUT else 0 for label, count in total.items()
    }
    held: Counter[int] = Counter()
    chosen: set[tuple[str, ...]] = set()
    for unit in ordered:
        if all(held[label] + count <= min(target[label], total[label] - 1) for label, count in sizes[unit].items()):
            chosen.add(unit)
            held += sizes[unit]
    for label in sorted(total):
        # Groups larger than the target: the smallest one is held out rather than nothing.
        left = [u for u in ordered if sizes[u][label] and all(held[k] + n < total[k] for k, n in sizes[u].items())]
        if target[label] and not held[label] and left:
            unit = min(left, key=lambda u: sizes[u].total())
            chosen.add(unit)
            held += sizes[unit]
    return chosen


def data_sha256(root: Path, records: Iterable[Record]) -> str:
    """`files_sha256` of all images and masks.

    Raises:
        ConfigError: A file cannot be read.
    """
    paths = (path for record in records for path in (record.image, record.mask, *record.more_masks))
    return files_sha256(root, (path for path in paths if path is not None))


def files_sha256(root: Path, paths: Iterable[Path]) -> str:
    """The sha256 over relative path and bytes of files, whatever their order and the place of the root.

    Of files outside the root only the name counts, not the folder.

    Raises:
        ConfigError: A file cannot be read.
    """
    root = root if root.is_dir() else root.parent
    roots = (root.absolute(), root.resolve())  # the same folder may be written in two ways
    files = {path.absolute() for path in paths}
    lines = []
    for path in files:
        name = next((path.relative_to(r).as_posix() for r in roots if path.is_relative_to(r)), path.name)
        try:
            with path.open("rb") as file:
                lines.append((name, hashlib.file_digest(file, "sha256").hexdigest()))
        except OSError as error:
            raise ConfigError(f"Cannot read {path} ({error.__class__.__name__}). Check the data.") from None
    total = hashlib.sha256()
    for name, digest in sorted(lines):
        total.update(f"{name}\0{digest}\n".encode())
    return total.hexdigest()


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
