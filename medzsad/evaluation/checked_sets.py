"""Data of benchmarks, read and checked before a model is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medzsad.datasets.benchmarks import Benchmark, find_benchmark
from medzsad.datasets.check import check_data, without_bad
from medzsad.datasets.read_benchmark import read_benchmark
from medzsad.datasets.records import DataSet, Problem, data_sha256, files_sha256
from medzsad.datasets.volumes import VolumeSet, read_volumes, volumes_without_bad
from medzsad.errors import ConfigError
from medzsad.evaluation.config import BenchmarkOptions
from medzsad.evaluation.synthetic import write_synthetic
from medzsad.progress import Observer

_LISTED = 20
# What changes the figures of a whole set without an error: said at once, not in the report alone.
_SAID = ("paired_by_order", "gray_masks", "unknown_folders", "subjects_from_names")


@dataclass(frozen=True, slots=True)
class CheckedSet:
    """One benchmark's data.

    Attributes:
        options: As asked for.
        benchmark: What is known of it.
        pictures: Set for pictures.
        volumes: Set for volumes, generated ones too.
        left_out: Records left out because of an error.
    """

    options: BenchmarkOptions
    benchmark: Benchmark
    pictures: DataSet | None
    volumes: VolumeSet | None
    left_out: int = 0

    @property
    def kind(self) -> Literal["pictures", "volumes"]:
        """What is scored."""
        return "volumes" if self.pictures is None else "pictures"

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Of the data."""
        found = self.pictures or self.volumes
        return found.problems if found is not None else ()

    @property
    def word(self) -> str:
        """Word for the organ in the prompts of all classes; "" calls each class by its own name."""
        if self.options.class_name is not None:
            return self.options.class_name
        return self.benchmark.class_name if self.pictures is None else ""

    def sha256(self) -> str:
        """The sha256 over names and bytes of all images and labels.

        Raises:
            ConfigError: A file cannot be read.
        """
        if self.pictures is not None:
            return data_sha256(self.pictures.root, self.pictures.records)
        assert self.volumes is not None
        pairs = ((record.image, record.label) for record in self.volumes.records)
        return files_sha256(self.volumes.root, (path for pair in pairs for path in pair if path is not None))

    @property
    def modality(self) -> str | None:
        """Of volumes; None as the files say."""
        return self.options.modality or self.benchmark.modality


def checked_sets(
    options: Sequence[BenchmarkOptions], out: Path, skip_bad: bool, observer: Observer
) -> list[CheckedSet]:
    """All benchmarks' data, or one error that lists everything wrong with them.

    Args:
        options: What is evaluated.
        out: Where generated sets are written.
        skip_bad: Leave bad records out.
        observer: Receives the progress events.

    Raises:
        ConfigError: Data are missing or of another layout, or a record is bad and `skip_bad` is not given.
    """
    sets = []
    for one in options:
        observer.note(f"{one.called}: reading and checking the data")
        found = _read(one, out)
        sets.append(_without_bad(found) if skip_bad else found)
        observer.note(f"{one.called}: {_summary(sets[-1])}")
        for problem in sets[-1].problems:
            if problem.kind in _SAID:
                observer.note(f"{one.called}: {problem.message}")
    errors = [
        f"{one.options.called}: {problem.subject}: {problem.message}"
        for one in sets
        for problem in one.problems
        if problem.severity == "error"
    ]
    if errors:
        more = [f"and {len(errors) - _LISTED} more"] if len(errors) > _LISTED else []
        raise ConfigError(
            "\n  ".join([f"{len(errors)} errors in the data:", *errors[:_LISTED], *more])
            + "\nMend them, or leave those records out with --skip-bad."
        )
    return sets


def _read(options: BenchmarkOptions, out: Path) -> CheckedSet:
    benchmark = find_benchmark(options.benchmark)
    if benchmark.kind == "generated":
        folder = out / options.called / "data"
        write_synthetic(folder)
        return CheckedSet(options, benchmark, None, read_volumes("pairs", folder))
    if options.data is None:
        raise ConfigError(f"The benchmark {options.benchmark} needs its folder: give --data, or 'data' in the file.")
    if benchmark.kind == "volumes":
        volumes = read_volumes(
            options.benchmark, options.data, lesion_values=options.lesion_values, frame=options.frame
        )
        return CheckedSet(options, benchmark, None, volumes)
    pictures = check_data(read_benchmark(options.benchmark, options.data), "evaluation")
    return CheckedSet(options, benchmark, pictures, None)


def _without_bad(found: CheckedSet) -> CheckedSet:
    if found.pictures is not None:
        pictures = without_bad(found.pictures, "evaluation")
        left_out = len(found.pictures.records) - len(pictures.records)
        return CheckedSet(found.options, found.benchmark, pictures, None, left_out)
    assert found.volumes is not None
    volumes = volumes_without_bad(found.volumes)
    return CheckedSet(found.options, found.benchmark, None, volumes, len(found.volumes.records) - len(volumes.records))


def _summary(found: CheckedSet) -> str:
    left_out = f", {found.left_out} left out" if found.left_out else ""
    warnings = sum(problem.severity == "warning" for problem in found.problems)
    told = f", {warnings} warnings in the report" if warnings else ""
    if found.pictures is None:
        return f"{len(found.volumes.records) if found.volumes else 0} volumes{left_out}{told}"
    records = found.pictures.records
    abnormal = sum(record.label for record in records)
    masks = sum(record.mask is not None for record in records if record.label)
    return f"{len(records) - abnormal} normal, {abnormal} abnormal images, {masks} with a mask{left_out}{told}"
