"""Everything wrong with labeled images in one list, before training or evaluation starts."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from medzsad.datasets.pictures import UNREADABLE, decode_any_mask, decode_image, strict_pillow
from medzsad.datasets.records import FEWEST_TO_HOLD_OUT, DataSet, Problem, Record, is_there, relative_name

Purpose = Literal["training", "evaluation"]

_THREADS = 4
_BATCH = 256  # images under way at once: memory does not grow with their number
_EXAMPLES = 10
# About all records of a class or of the data; found anew once records are left out.
_OF_CLASSES = ("no_defects", "no_sound", "too_few", "no_defects_at_all", "no_pixel_labels")
_STANDING = ("empty_class", *_OF_CLASSES)
# Published sets have such records, and every published value counts them.
_WARNINGS_IN_EVALUATION = ("empty_mask", "duplicate_images")


@dataclass(frozen=True, slots=True)
class _Finding:
    digest: bytes | None
    problems: list[Problem]
    gray_masks: int = 0


def check_data(data: DataSet, purpose: Purpose = "training") -> DataSet:
    """The same records with all problems known: every image and mask has been decoded.

    Training needs defects with masks, and enough of them. For an evaluation one-sided sets and sets without masks are
    in order; an empty mask of a defect and an image under both labels are warnings there.
    """
    findings: list[_Finding] = []
    with strict_pillow(), ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(data.records), _BATCH):
            part = data.records[start : start + _BATCH]
            findings += pool.map(lambda record: _check_record(data.root, record), part)
    problems = [
        *data.problems,
        *(problem for finding in findings for problem in finding.problems),
        *_duplicates(data, [finding.digest for finding in findings]),
        *_listed_twice(data),
        *_gray_masks(sum(finding.gray_masks for finding in findings)),
        *_class_problems(data.records, purpose),
    ]
    if purpose == "evaluation":
        problems = [replace(p, severity="warning") if p.kind in _WARNINGS_IN_EVALUATION else p for p in problems]
    return replace(data, problems=tuple(dict.fromkeys(problems)))


def without_bad(data: DataSet, purpose: Purpose = "training") -> DataSet:
    """The data without the records that an error names; those errors become warnings.

    What concerns whole classes is judged again, so an error that remains stands in the way of the purpose.
    """
    bad = {problem.subject for problem in data.problems if problem.severity == "error"}
    records = tuple(record for record in data.records if relative_name(data.root, record.image) not in bad)
    problems = [
        problem
        if problem.severity == "warning" or problem.kind in _STANDING
        else replace(problem, severity="warning", message=f"Left out. {problem.message}")
        for problem in data.problems
        if problem.kind not in _OF_CLASSES
    ]
    left = {record.class_name for record in records}
    emptied = dict.fromkeys(r.class_name for r in data.records if r.class_name not in left)
    problems += [Problem("empty_class", "error", name, "All images of the class were left out.") for name in emptied]
    problems += _class_problems(records, purpose)
    return replace(data, records=records, problems=tuple(dict.fromkeys(problems)))


def _check_record(root: Path, record: Record) -> _Finding:
    subject = relative_name(root, record.image)

    def error(kind: str, message: str) -> Problem:
        return Problem(kind, "error", subject, message)

    if not is_there(record.image):
        return _Finding(None, [error("missing_image", "The image is listed but is not there. Restore or unlist it.")])
    digest, size, problems = None, None, []
    try:
        with record.image.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        size = decode_image(record.image).size
    except UNREADABLE as cause:
        problems.append(error("unreadable_image", f"The image cannot be decoded ({_cause(cause)}). Replace it."))
    if record.mask is None:
        return _Finding(digest, problems)
    marked, gray = 0, 0
    name = relative_name(root, record.mask)
    for path in (record.mask, *record.more_masks):
        each = relative_name(root, path)
        try:
            mask, was_gray = decode_any_mask(path)
        except UNREADABLE as cause:
            message = f"The mask {each} cannot be decoded ({_cause(cause)}). Replace it."
            return _Finding(digest, [*problems, error("unreadable_mask", message)])
        if size is not None and mask.shape != size[::-1]:
            sizes = f"{mask.shape[1]}x{mask.shape[0]}, the image {size[0]}x{size[1]}"
            problems.append(error("mask_size", f"The mask {each} has {sizes} pixels. Replace one of them."))
        marked += int(mask.sum())
        gray += was_gray
    if record.label == 1 and not marked:
        message = f"The image is labeled abnormal but its mask {name} is empty. Correct the mask or the label."
        problems.append(error("empty_mask", message))
    if record.label == 0 and marked:
        message = f"The image is labeled normal but its mask {name} marks {marked} pixels. Correct one of them."
        problems.append(error("mask_on_sound", message))
    return _Finding(digest, problems, gray)


def _gray_masks(count: int) -> list[Problem]:
    if not count:
        return []
    message = (
        f"{count} mask{'' if count == 1 else 's'} with many shades, as JPEG and smoothed edges leave them, cut at half "
        "of the maximum. Store masks with two values, as PNG, to have them taken as they are."
    )
    return [Problem("gray_masks", "warning", ".", message)]


def _cause(cause: BaseException) -> str:
    return f"{cause.__class__.__name__}: {cause}"


def _duplicates(data: DataSet, digests: Sequence[bytes | None]) -> list[Problem]:
    same: dict[bytes, list[Record]] = defaultdict(list)
    for record, digest in zip(data.records, digests, strict=True):
        if digest is not None:
            same[digest].append(record)
    problems = []
    for records in same.values():
        if len({record.label for record in records}) < 2:
            continue
        for record in records:
            other = next(o for o in records if o.label != record.label)
            message = (
                f"The same image is labeled {record.label} here and {other.label} as "
                f"{relative_name(data.root, other.image)}. Keep the right one."
            )
            problems.append(Problem("duplicate_images", "error", relative_name(data.root, record.image), message))
    return problems


def _listed_twice(data: DataSet) -> list[Problem]:
    counts = Counter(relative_name(data.root, record.image) for record in data.records)
    return [
        Problem("listed_twice", "warning", name, f"The image is listed {count} times and weighs as much. List it once.")
        for name, count in counts.items()
        if count > 1
    ]


def _class_problems(records: Iterable[Record], purpose: Purpose) -> list[Problem]:
    labels: dict[str, Counter[int]] = defaultdict(Counter)
    masks = 0
    for record in records:
        labels[record.class_name][record.label] += 1
        masks += record.label == 1 and record.mask is not None
    if purpose == "evaluation":
        return _one_sided(labels)
    return [*_training_problems(labels), *_nothing_to_learn(labels, masks)]


def _one_sided(labels: Mapping[str, Counter[int]]) -> list[Problem]:
    """What keeps metrics undefined."""
    if not any(counts[1] for counts in labels.values()):
        message = "There is no abnormal image: no metric is defined. Check the folder and its labels."
        return [Problem("no_defects_at_all", "error", ".", message)]
    problems = []
    for name, counts in labels.items():
        if not counts[1]:
            message = "No abnormal images: metrics of the class are undefined."
            problems.append(Problem("no_defects", "warning", name, message))
        if not counts[0]:
            message = "No normal images: image metrics of the class are undefined, pixel metrics are not."
            problems.append(Problem("no_sound", "warning", name, message))
    return problems


def _training_problems(labels: Mapping[str, Counter[int]]) -> list[Problem]:
    problems = []
    for name, counts in labels.items():
        if not counts[1]:
            problems.append(
                Problem("no_defects", "warning", name, "One label only: no defects. Add some, or leave the class out.")
            )
        if not counts[0]:
            message = "One label only: no normal images. Image scores of the class cannot be validated."
            problems.append(Problem("no_sound", "warning", name, message))
        few = [
            f"{counts[label]} {word}"
            for label, word in ((0, "normal"), (1, "defects"))
            if 0 < counts[label] < FEWEST_TO_HOLD_OUT
        ]
        if few:
            message = f"{' and '.join(few)}: too few to hold any out; {FEWEST_TO_HOLD_OUT} of a label are needed."
            problems.append(Problem("too_few", "warning", name, message))
    return problems


def _nothing_to_learn(labels: Mapping[str, Counter[int]], masks: int) -> list[Problem]:
    if not any(counts[1] for counts in labels.values()):
        message = "There is no image with a defect. Training needs some, with masks."
        return [Problem("no_defects_at_all", "error", ".", message)]
    if not masks:
        message = "No defect has a mask. Training needs pixel labels; check the paths of the masks."
        return [Problem("no_pixel_labels", "error", ".", message)]
    return []


def class_counts(data: DataSet) -> dict[str, dict[str, int]]:
    """Numbers of images, normal ones (`sound`), defects, and defects with a mask, by class in alphabetic order."""
    counts: dict[str, dict[str, int]] = {}
    for record in sorted(data.records, key=lambda record: record.class_name):
        row = counts.setdefault(record.class_name, {"images": 0, "sound": 0, "defects": 0, "masks": 0})
        row["images"] += 1
        row["defects" if record.label else "sound"] += 1
        row["masks"] += record.label == 1 and record.mask is not None
    for problem in data.problems:
        if problem.kind == "empty_class":
            counts.setdefault(problem.subject, {"images": 0, "sound": 0, "defects": 0, "masks": 0})
    return counts


def data_text(data: DataSet, purpose: Purpose = "training") -> str:
    """A table of what was found, then the problems by kind with counts and the first ten of each."""
    counts = class_counts(data)
    columns = ("images", "sound", "defects", "masks")
    words = ("images", "normal", "defects" if purpose == "training" else "abnormal", "masks")
    total = {column: sum(row[column] for row in counts.values()) for column in columns}
    width = max([5, *(len(name) for name in counts)])
    lines = [f"{purpose.capitalize()} data: {data.root} (layout {data.layout})", ""]
    lines.append(f"{'class':<{width}}" + "".join(f"{word:>9}" for word in words))
    for name, row in (*counts.items(), ("total", total)):
        lines.append(f"{name:<{width}}" + "".join(f"{row[column]:>9}" for column in columns))
    by_kind: dict[tuple[str, str], list[Problem]] = defaultdict(list)
    for problem in data.problems:
        by_kind[problem.severity, problem.kind].append(problem)
    errors = sum(problem.severity == "error" for problem in data.problems)
    numbers = ((errors, "error"), (len(data.problems) - errors, "warning"))
    summary = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in numbers)
    lines += ["", summary if data.problems else "No problems found."]
    for (severity, kind), problems in sorted(by_kind.items()):
        lines += ["", f"{severity} {kind}: {len(problems)}"]
        lines += [f"  {problem.subject}: {problem.message}" for problem in problems[:_EXAMPLES]]
        if len(problems) > _EXAMPLES:
            lines.append(f"  and {len(problems) - _EXAMPLES} more")
    return "\n".join(lines) + "\n"


def data_json(data: DataSet) -> str:
    """The same as JSON, with every problem."""
    content = {
        "root": str(data.root),
        "layout": data.layout,
        "classes": class_counts(data),
        "problems": [asdict(problem) for problem in data.problems],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
