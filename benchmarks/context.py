"""What context is worth: `python benchmarks/context.py --weights medzsad-mini --volumes 16 --data ../shared/data`.

Scores generated volumes, and those of --data, once along each plane, puts the scores together in every setting, and
prints for each set of volumes and each setting:

* AP: voxel average precision, the mean over the volumes with a lesion;
* Dice: the mean over the same volumes at the common threshold that makes it largest;
* false ml: what is marked in a healthy volume, on average, at the threshold that finds 80 % of the lesion volume;
* processor seconds per volume, from the volume in memory to its scores.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medzsad import discover, read_scan
from medzsad.config import Axis
from medzsad.context.logits import logit_of
from medzsad.context.planes import PLANES, why_one_plane
from medzsad.context.score import ScoredPlane, score_in_context
from medzsad.methods.detector import Detector
from medzsad.methods.noise import SharedNoise
from medzsad.phantoms import make_phantom
from medzsad.run.pipeline import load_detector
from medzsad.scan.records import ReadLimits, Scan
from medzsad.scoring.device import batch_that_fits
from medzsad.scoring.engine import score_stack
from medzsad.slices.stack import stack_slices
from medzsad.weights.card import ContextCard

_EDGES = np.linspace(-14.0, 14.0, 2801)  # of the logits
_FOUND = 0.8
_PROBABILITIES = "planes all, mean of probabilities"
SETTINGS = {
    "none": ContextCard(),
    "air": ContextCard(air="ignore"),
    **{f"smoothing {mm} mm": ContextCard(smooth_axis_mm=mm) for mm in (2, 4, 6, 8)},
    "planes all": ContextCard(planes="all"),
    _PROBABILITIES: ContextCard(planes="all"),
    "smoothing 6 mm, air": ContextCard(smooth_axis_mm=6.0, air="ignore"),
    "all together": ContextCard(planes="all", smooth_axis_mm=6.0, air="ignore"),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A volume and the mask (i, j, k) of its lesion, empty for a healthy one."""

    scan: Scan
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Counts:
    """Voxels of a volume in each bin of the logit, those of the lesion and the others, and milliliters per voxel."""

    lesion: NDArray[np.int64]
    other: NDArray[np.int64]
    voxel_ml: float
    seconds: float


@dataclass(slots=True)
class Planes:
    """The scores of a scan along its planes, each scored when it is first asked for."""

    scan: Scan
    detector: Detector
    seconds: dict[Axis, float] = field(default_factory=dict)
    _kept: dict[Axis, ScoredPlane] = field(default_factory=dict)

    def __call__(self, axis: Axis) -> ScoredPlane:
        """The slices along an axis and their scores."""
        if axis not in self._kept:
            started = time.process_time()
            stack = stack_slices(self.scan, size=self.detector.spec.image_size, axis=axis)
            device = self.detector.device
            scores = score_stack(
                self.detector,
                stack,
                class_name=self.detector.word(None),
                noise=SharedNoise(0),
                device=device,
                batch_size=batch_that_fits(stack.size, device),
            )
            self._kept[axis] = stack, scores.score
            self.seconds[axis] = time.process_time() - started
        return self._kept[axis]

    def mean_of_probabilities(self) -> NDArray[np.float32]:
        """Three planes fused as they are not fused in `medzsad run`."""
        if why_one_plane(self.scan):
            stack, scores = self("acquisition")
            return stack.restore(scores)
        total, count = np.zeros(self.scan.shape, np.float32), np.zeros(self.scan.shape, np.float32)
        for axis in PLANES:
            stack, scores = self(axis)
            total += stack.restore(scores)
            scored = np.zeros(len(stack), np.float32)
            scored[stack.indices] = stack.tissue
            count += scored.reshape([-1 if a == stack.plan.axis else 1 for a in range(3)])
        return np.asarray(total / np.maximum(count, 1), np.float32)


def measured(case: Case, detector: Detector) -> dict[str, Counts]:
    """The counts of one volume in every setting."""
    planes, found = Planes(case.scan, detector), {}
    voxel_ml = float(np.prod(case.scan.spacing_mm)) / 1000
    for name, context in SETTINGS.items():
        main = planes("acquisition")
        started, before = time.process_time(), sum(planes.seconds.values())
        if name == _PROBABILITIES:
            score = planes.mean_of_probabilities()
        else:
            score = score_in_context(case.scan, main, context, planes).score
        ended = time.process_time() - started - (sum(planes.seconds.values()) - before)
        used: set[Axis] = {"acquisition"}
        if context.planes == "all" and not why_one_plane(case.scan):
            used |= {axis for axis in PLANES if axis != main[0].plan.plane}
        logits = logit_of(score)
        lesion, other = (np.histogram(logits[at], _EDGES)[0] for at in (case.mask, ~case.mask))
        found[name] = Counts(lesion, other, voxel_ml, ended + sum(planes.seconds[axis] for axis in used))
    return found


def row(name: str, counts: list[Counts]) -> str:
    """The line of one setting: AP, Dice, false ml, seconds; a dash for what the volumes do not tell."""
    with_lesion = [one for one in counts if one.lesion.any()]
    healthy = [one for one in counts if not one.lesion.any()]
    ap = dice = false_ml = float("nan")
    if with_lesion:
        ap = float(np.mean([_average_precision(one) for one in with_lesion]))
        dice = float(np.mean([_dice(one) for one in with_lesion], axis=0).max())
    if with_lesion and healthy:
        volume_ml = np.sum([_from_above(one.lesion) * one.voxel_ml for one in with_lesion], axis=0)
        at = int(np.flatnonzero(volume_ml >= _FOUND * volume_ml[0]).max())
        false_ml = float(np.mean([_from_above(one.other)[at] * one.voxel_ml for one in healthy]))
    cells = (f"{value:{form}}" if np.isfinite(value) else "-" for value, form in ((ap, ".3f"), (dice, ".3f")))
    marked = f"{false_ml:.1f}" if np.isfinite(false_ml) else "-"
    return f"| {name} | {' | '.join(cells)} | {marked} | {np.mean([one.seconds for one in counts]):.1f} |"


def _from_above(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many lie in each bin or above it."""
    return np.cumsum(counts[::-1])[::-1]


def _average_precision(one: Counts) -> float:
    true, false = (_from_above(counts).astype(np.float64) for counts in (one.lesion, one.other))
    return float(one.lesion @ (true / np.maximum(true + false, 1)) / one.lesion.sum())


def _dice(one: Counts) -> NDArray[np.float64]:
    true, false = _from_above(one.lesion), _from_above(one.other)
    return np.asarray(2 * true / (true + false + one.lesion.sum()))


def generated(count: int, first: int) -> Iterator[Case]:
    """`count` generated volumes with a lesion and as many without."""
    for seed in range(first, first + count):
        for lesion in (True, False):
            phantom = make_phantom(seed, lesion=lesion)
            yield Case(phantom.scan(), phantom.mask)


def development(data: Path) -> Iterator[Case]:
    """The volumes of the development data, with and without lesions."""
    for folder, mask in (("brainix", "ROI"), ("ms_patient07", "lesions")):
        truth = np.asarray(nib.load(data / "volumes" / folder / f"{mask}.nii.gz").dataobj) > 0
        yield Case(_read(data / "volumes" / folder / "FLAIR.nii.gz"), truth)
    for path in sorted((data / "development" / "healthy_volumes").glob("*.nii.gz")):
        scan = _read(path)
        yield Case(scan, np.zeros(scan.shape, bool))


def _read(path: Path) -> Scan:
    scan = read_scan(discover([path], limits=ReadLimits())[0], ReadLimits())
    # NIfTI does not say; the only CT of the development data does in its name.
    return replace(scan, modality="CT" if path.name.startswith("ct_") else "MR")


@click.command()
@click.option("--weights", default="medzsad-mini", show_default=True, help="Name or file of weights.")
@click.option(
    "--volumes", default=16, show_default=True, help="Generated volumes with a lesion, and as many without; 0 for none."
)
@click.option("--first", default=0, show_default=True, help="Seed of the first generated volume.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Folder of the development data.")
def main(weights: str, volumes: int, first: int, data: Path | None) -> None:
    """Prints a table for the generated volumes, and one for the development data."""
    detector = load_detector(weights)
    sets: dict[str, Iterator[Case]] = {}
    if volumes:
        sets[f"{volumes} generated volumes with a lesion and {volumes} without"] = generated(volumes, first)
    if data is not None:
        sets["development data"] = development(data)
    for title, cases in sets.items():
        found = []
        for case in cases:
            found.append(measured(case, detector))
            click.echo(f"{case.scan.name} {case.scan.shape}", err=True)
        click.echo(
            f"\n{title}, {weights}\n\n| setting | AP | Dice | false ml | s |\n| --- | ---: | ---: | ---: | ---: |"
        )
        for name in SETTINGS:
            click.echo(row(name, [counts[name] for counts in found]))


if __name__ == "__main__":
    main()
