"""Benchmarks of volumes: found in their layouts, each volume checked against its labels by the headers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from medzsad.datasets.benchmarks import Benchmark, find_benchmark
from medzsad.datasets.folders import subfolders
from medzsad.datasets.records import FoundVolumes, Problem, VolumeRecord, VolumeSet, relative_name
from medzsad.datasets.volume_layouts import read_brats, read_lits, read_msd
from medzsad.datasets.volume_pairs import read_volume_pairs
from medzsad.errors import ConfigError, RefusedError
from medzsad.scan.guard import refusing

__all__ = ["AFFINE_TOLERANCE_MM", "VolumeRecord", "VolumeSet", "read_volumes", "volumes_without_bad"]

# Of every entry of the affine. Programs store affines in float32 and in quaternions, which differ by less.
AFFINE_TOLERANCE_MM = 1e-3


def read_volumes(
    name: str,
    folder: Path,
    *,
    lesion_values: Sequence[int] | None = None,
    frame: int | str | None = None,
) -> VolumeSet:
    """The volumes of a benchmark with their labels, and the problems that the headers show.

    Args:
        name: Of a benchmark of volumes.
        folder: The set's own folder, or for `msd` and `pairs` one that holds it.
        lesion_values: Labels that are lesions; None takes those of the benchmark, or for `msd` those whose names tell.
        frame: Index along the fourth axis of 4D images, or for `msd` also the name of a modality.

    Raises:
        ConfigError: The name is unknown or no set of volumes, nothing of the layout is there, or a value is impossible.
    """
    benchmark = find_benchmark(name)
    if benchmark.kind != "volumes":
        raise ConfigError(f"The benchmark {name} holds {benchmark.kind}, not volumes.")
    root = folder.resolve()
    if not root.is_dir():
        raise ConfigError(f"There is no folder {root}. Name the folder of {benchmark.title}: {benchmark.layout}.")
    given = tuple(sorted(set(lesion_values))) if lesion_values is not None else None
    if given is not None and (not given or given[0] < 1):
        raise ConfigError(f"Lesion values must be labels above 0, not {list(lesion_values or ())}.")
    if isinstance(frame, str) and name != "msd":
        raise ConfigError(f"Only msd has modalities by name; give the index of the frame instead of {frame!r}.")
    root, (records, problems), index, values = _found(root, benchmark, given, frame)
    if not records and not problems:
        content = ", ".join(sorted(entry.name for entry in root.iterdir())[:10]) or "nothing"
        raise ConfigError(
            f"No volumes of {benchmark.title} found in {root}. Expected: {benchmark.layout}. Found: {content}."
        )
    checked = [_checked(root, replace(record, lesion_values=values), index) for record in records]
    problems += [problem for _, found in checked for problem in found] + _same_names(root, records)
    return VolumeSet(root, name, tuple(record for record, _ in checked), tuple(problems))


def volumes_without_bad(volumes: VolumeSet) -> VolumeSet:
    """The set without the volumes that an error names; those errors become warnings."""
    bad = {problem.subject for problem in volumes.problems if problem.severity == "error"}
    problems = tuple(
        problem
        if problem.severity == "warning"
        else replace(problem, severity="warning", message=f"Left out. {problem.message}")
        for problem in volumes.problems
    )
    records = tuple(r for r in volumes.records if relative_name(volumes.root, r.image) not in bad)
    if not records:
        problems += (Problem("no_volumes", "error", ".", "All volumes were left out. Mend some."),)
    return replace(volumes, records=records, problems=problems)


def _found(
    root: Path, benchmark: Benchmark, given: tuple[int, ...] | None, frame: int | str | None
) -> tuple[Path, FoundVolumes, int | None, tuple[int, ...] | None]:
    """Root, what was found, the frame of 4D images, and the lesions' labels."""
    values = given or benchmark.lesion_values
    index = frame if isinstance(frame, int) else None
    if benchmark.name == "brats":
        return root, read_brats(root), index, values
    if benchmark.name == "lits":
        return root, read_lits(root), index, values
    if benchmark.name == "pairs":
        return root, read_volume_pairs(root), index, values
    tasks = [path for path in (root, *subfolders(root)) if (path / "dataset.json").is_file()]
    if not tasks:
        raise ConfigError(f"There is no dataset.json in {root} or in a folder in it. Expected: {benchmark.layout}.")
    if len(tasks) > 1 and tasks[0] != root:
        raise ConfigError(f"{root} holds several tasks: {', '.join(path.name for path in tasks)}. Name one of them.")
    found, index, values = read_msd(tasks[0], frame, given)
    return tasks[0], found, index, values


def _checked(root: Path, record: VolumeRecord, frame: int | None) -> tuple[VolumeRecord, list[Problem]]:
    subject = relative_name(root, record.image)
    if record.label is None:
        message = "There are no labels for the volume. Add them, or leave the volume out."
        missing = [Problem("missing_label", "error", subject, message)]
    else:
        missing = []
    try:
        with refusing(subject):
            image = _grid(record.image)
    except RefusedError as error:
        return record, [*missing, Problem("unreadable", "error", subject, str(error))]
    problems = missing + _frame_problems(subject, image, frame)
    if len(image[0]) > 3 and frame is not None and not problems[len(missing) :]:
        record = replace(record, frame=frame if image[0][3] > 1 else None)
    if record.label is not None:
        name = relative_name(root, record.label)
        try:
            with refusing(name):
                label = _grid(record.label)
        except RefusedError as error:
            return record, [*problems, Problem("unreadable", "error", subject, f"Of its labels: {error}")]
        problems += _differences(subject, name, image, label)
    return record, problems


def _grid(path: Path) -> tuple[tuple[int, ...], Any]:
    """Shape, with trailing axes of length 1 beyond the third dropped and a single slice as the third, and affine."""
    header: Any = nib.load(path)
    shape = tuple(int(n) for n in header.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    affine = np.asarray(header.affine, np.float64)
    if len(shape) not in (3, 4) or min(shape) < 1 or not np.isfinite(affine).all():
        raise ValueError("neither a volume nor a series of volumes")
    return shape, affine


def _frame_problems(subject: str, image: tuple[tuple[int, ...], Any], frame: int | None) -> list[Problem]:
    frames = image[0][3] if len(image[0]) > 3 else 1
    if frames > 1 and frame is None:
        message = f"The image has {frames} frames. Choose one, 0 to {frames - 1}."
        return [Problem("several_frames", "error", subject, message)]
    if frames > 1 and frame is not None and not 0 <= frame < frames:
        message = f"The image has {frames} frames, so there is no frame {frame}. Choose one from 0 to {frames - 1}."
        return [Problem("missing_frame", "error", subject, message)]
    return []


def _differences(
    subject: str, name: str, image: tuple[tuple[int, ...], Any], label: tuple[tuple[int, ...], Any]
) -> list[Problem]:
    if image[0][:3] != label[0]:
        sizes = f"{_sides(label[0])}, the image {_sides(image[0][:3])}"
        message = f"The labels {name} have {sizes} voxels. Labels must lie in the grid of the image."
        return [Problem("shape_mismatch", "error", subject, message)]
    largest = float(np.abs(image[1] - label[1]).max())
    if largest <= AFFINE_TOLERANCE_MM:
        return []
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], np.float64)
    corners[:, :3] *= np.array(label[0]) - 1
    apart = float(np.linalg.norm((corners @ (image[1] - label[1]).T)[:, :3], axis=1).max())
    message = (
        f"The labels {name} lie elsewhere than the image: the affines differ by up to {largest:.4g} mm "
        f"({AFFINE_TOLERANCE_MM} mm are allowed), corners by up to {apart:.4g} mm. "
        "If the voxels correspond all the same, correct the header of the labels; if not, resample them onto the image."
    )
    return [Problem("affine_mismatch", "error", subject, message)]


def _sides(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _same_names(root: Path, records: Sequence[VolumeRecord]) -> list[Problem]:
    counts = Counter(record.case for record in records)
    return [
        Problem(
            "same_name",
            "error",
            relative_name(root, record.image),
            f"{counts[record.case]} volumes are called {record.case}. Rename all but one.",
        )
        for record in records
        if counts[record.case] > 1
    ]
