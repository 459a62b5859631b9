"""A benchmark of pictures found under a folder, in whatever layout it lies, and compared with its known counts."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from medzsad.datasets.benchmark_layouts import READERS, read_list
from medzsad.datasets.benchmarks import (
    Benchmark,
    all_benchmarks,
    counts_text,
    find_benchmark,
    names_of_others,
    own_names,
    plain_name,
)
from medzsad.datasets.folders import subfolders
from medzsad.datasets.layouts import read_data
from medzsad.datasets.meta import Found, missing_masks
from medzsad.datasets.records import DataSet, Problem, Record, is_there, relative_name
from medzsad.datasets.subjects import subjects_from_names
from medzsad.errors import ConfigError


def read_benchmark(name: str, folder: Path) -> DataSet:
    """The images to evaluate of a benchmark, with the problems that show without opening an image.

    All have the class name of the benchmark, except in sets of several classes, and the patient or volume where every
    file name tells it. Of layouts with splits the test split is read. A record of label 1 without a mask has no pixel
    label.

    Args:
        name: Of a benchmark of pictures.
        folder: The set's own folder, one that holds it, or its json, jsonl or csv file.

    Raises:
        ConfigError: The name is unknown or no set of pictures, nothing is there, no layout fits, several folders do,
            or a list is malformed.
    """
    benchmark = find_benchmark(name)
    if benchmark.kind != "pictures":
        raise ConfigError(f"The benchmark {name} holds {benchmark.kind}, not single pictures.")
    path = folder.resolve()
    if not path.exists():
        raise ConfigError(f"There is nothing at {path}. Name the folder of {benchmark.title}. {_where(benchmark)}")
    if benchmark.readers == ("any",):
        data = read_data(path)
        named, remarks = subjects_from_names(data.records)
        remarks += _unexpected_counts(named, benchmark)
        return replace(data, records=tuple(named), problems=(*data.problems, *remarks))
    root, layout, (_, found, problems) = _found(path, benchmark)
    records = _finished(found, benchmark)
    problems += _foreign(root, found, benchmark)
    if benchmark.pixel_masks:
        problems += missing_masks(root, records)
    return DataSet(root, layout, records, (*problems, *_unexpected_counts(records, benchmark)))


def _where(benchmark: Benchmark) -> str:
    at = f" at {benchmark.address}" if benchmark.address else ""
    return f"Expected: {benchmark.layout}. It is handed out by {benchmark.source}{at}."


def _found(path: Path, benchmark: Benchmark) -> tuple[Path, str, Found]:
    if path.is_file():
        return path.parent, path.suffix.lower().removeprefix("."), read_list(path, benchmark)
    stale: tuple[Path, str, Found] | None = None
    for reader in benchmark.readers:
        for folders in _nearer_first(path, benchmark):
            read = [(folder, READERS[reader](folder, benchmark)) for folder in folders]
            fitting = [(folder, found) for folder, found in read if found is not None and _any_to_test(found)]
            if len(fitting) > 1:
                names = ", ".join(folder.relative_to(path).as_posix() for folder, _ in fitting)
                raise ConfigError(f"Several folders in {path} could be {benchmark.title}: {names}. Name one of them.")
            if fitting and any(is_there(record.image) for record in fitting[0][1][1]):
                folder, (classes, records, problems) = fitting[0]
                return folder, reader, (classes, records, problems + _unused_list(path, stale))
            if fitting and stale is None:
                stale = (fitting[0][0], reader, fitting[0][1])
    if stale is not None:
        return stale
    content = ", ".join(sorted(entry.name for entry in path.iterdir())[:10]) or "nothing"
    raise ConfigError(f"No images of {benchmark.title} found in {path}. {_where(benchmark)} Found there: {content}.")


def _unused_list(path: Path, stale: tuple[Path, str, Found] | None) -> list[Problem]:
    """A warning that a list was passed over, since none of its images is there: made elsewhere, with absolute paths."""
    if stale is None:
        return []
    folder = relative_name(path, stale[0])
    message = f"The {stale[1]} list in {folder} names no image that is there, so the folders were read. Mend its paths."
    return [Problem("unused_list", "warning", ".", message)]


def _any_to_test(found: Found) -> bool:
    _, records, problems = found
    return any(record.split != "train" for record in records) or any(
        problem.severity == "error" for problem in problems
    )


def _nearer_first(path: Path, benchmark: Benchmark) -> Iterator[list[Path]]:
    """Where the set may lie: here, in folders of its name and inside them, then in other folders two levels down.

    Beside folders that go by the names of other benchmarks no other folder is guessed at. A single one whose name is
    also that of a class folder of this benchmark is taken for that.
    """
    yield [path]
    others = names_of_others(benchmark)
    inside = subfolders(path)
    named = [folder for folder in inside if plain_name(folder.name) in own_names(benchmark)]
    deeper = [inner for folder in named for inner in subfolders(folder)]
    expected = frozenset(map(plain_name, benchmark.inner))
    deeper = [folder for folder in deeper if plain_name(folder.name) not in others - expected]
    yield named
    yield deeper
    yield [inner for folder in deeper for inner in subfolders(folder)]
    foreign = [folder for folder in inside if plain_name(folder.name) in others]
    if len(foreign) == 1 and not named and plain_name(foreign[0].name) in expected:
        foreign = []
    if not foreign:
        rest = [folder for folder in inside if folder not in named]
        yield rest
        yield [inner for folder in rest for inner in subfolders(folder) if plain_name(inner.name) not in others]


def _finished(records: Sequence[Record], benchmark: Benchmark) -> tuple[Record, ...]:
    tested = [
        replace(
            record,
            class_name=benchmark.class_name,
            dataset=benchmark.name,
            mask=record.mask if benchmark.pixel_masks else None,
            more_masks=record.more_masks if benchmark.pixel_masks else (),
        )
        for record in records
        if record.split != "train"
    ]
    subjects = _subjects([record.image.stem for record in tested], benchmark.subjects)
    return tuple(replace(record, subject=subject) for record, subject in zip(tested, subjects, strict=True))


def _subjects(stems: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The first groups of the first pattern that fits every stem and finds several subjects, else nothing."""
    for pattern in patterns:
        matches = [re.fullmatch(pattern, stem) for stem in stems]
        subjects = [match.group(1) for match in matches if match]
        if len(subjects) == len(stems) and len(set(subjects)) > 1:
            return subjects
    return [""] * len(stems)


def _foreign(root: Path, records: Sequence[Record], benchmark: Benchmark) -> list[Problem]:
    """A warning where the folder or the list itself says that it is another benchmark."""
    others = names_of_others(benchmark) - set(map(plain_name, benchmark.inner))
    said = {record.dataset for record in records if plain_name(record.dataset) in others}
    said |= {root.name} if plain_name(root.name) in others else set()
    message = f"This says that it is {', '.join(sorted(said))}, and is read as {benchmark.name}. Check the folder."
    return [Problem("other_dataset", "warning", ".", message)] if said else []


def _unexpected_counts(records: Sequence[Record], benchmark: Benchmark) -> list[Problem]:
    found = Counter(record.label for record in records)
    known = benchmark.counts
    wanted = ((found[0], known.normal), (found[1], known.abnormal), (found.total(), known.total))
    if all(number is None or count == number for count, number in wanted):
        return []
    halves = [(found[0], known.normal, "normal"), (found[1], known.abnormal, "abnormal")]
    differences = [
        f"{abs(number - count)} {word} {'missing' if count < number else 'too many'}"
        for count, number, word in (*halves, (found.total(), known.total if known.normal is None else None, "images"))
        if number is not None and count != number
    ]
    message = (
        f"Known of {benchmark.title}: {counts_text(known)}. Found: {found[0]} normal{_endings(records, 0)}, "
        f"{found[1]} abnormal{_endings(records, 1)}. So {' and '.join(differences)}."
    )
    return [Problem("unexpected_count", "warning", ".", f"{message} {_hint(found, benchmark)}")]


def _endings(records: Sequence[Record], label: int) -> str:
    counts = Counter(record.image.suffix for record in records if record.label == label)
    return f" ({', '.join(f'{count} {ending}' for ending, count in sorted(counts.items()))})" if counts else ""


def _hint(found: Counter[int], benchmark: Benchmark) -> str:
    for other in all_benchmarks():
        same = (other.counts.normal, other.counts.abnormal) == (found[0], found[1])
        if same and other.name != benchmark.name and set(other.folders) & set(benchmark.folders):
            return f"That is what {other.name} has ({other.title}): name that benchmark, or fetch the whole set."
    return "Metrics of other images cannot be compared with published ones. Add the missing images, or say so."
