"""What a model reaches on the development data: `python benchmarks/yardsticks.py ../shared/data [--weights NAME]`.

Prints one table. Beside the model stand what raw brightness reaches on the same pixels, and the fixed threshold of the
weights where one is used. None of this data was seen in training, and nothing is chosen on it here.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, label
from sklearn.metrics import average_precision_score, roc_auc_score

from medzsad.config import make_config
from medzsad.methods.base import Detector
from medzsad.pipeline import detect, detect_scan, load_detector
from medzsad.scan.records import Scan, Source


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks."""
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def picture_scan(pixels: NDArray[np.float32], name: str) -> Scan:
    """A picture (rows, columns) in [0, 255] as a scan of one slice."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    return Scan(name, np.ascontiguousarray(pixels.T[..., None]), affine, "PICTURE", 2, Source("picture"))


def volume_lines(detector: Detector, image: Path, truth: Path) -> Iterator[str]:
    """Figures of one volume with lesion masks."""
    result = detect(image, detector=detector)
    region = np.asarray(nib.load(truth).dataobj) > 0
    if result.mask is None or result.score is None or result.scan is None:
        raise click.ClickException(f"{image} was not scored.")
    mask, score = result.mask > 0, result.score
    components, _ = label(mask)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    largest = components == sizes.argmax() if sizes.any() else np.zeros_like(mask)
    bright = gaussian_filter(result.scan.voxels, 1.0)
    regions, count = label(region)
    found = len(set(np.unique(regions[mask])) - {0})
    name = image.parent.name
    yield f"{name:14} Dice at the fixed threshold {dice(mask, region):.3f}, largest lesion {dice(largest, region):.3f}"
    yield f"{'':14} best Dice over thresholds {best_dice(score, region):.3f}"
    yield (
        f"{'':14} voxel AUROC {roc_auc_score(region.ravel(), score.ravel()):.3f}, AP "
        f"{average_precision_score(region.ravel(), score.ravel()):.3f}   (brightness: AUROC "
        f"{roc_auc_score(region.ravel(), bright.ravel()):.3f}, AP "
        f"{average_precision_score(region.ravel(), bright.ravel()):.3f})"
    )
    yield f"{'':14} lesions touched {found} of {count}, lesions reported {len(result.lesions)}"


def best_dice(score: NDArray[np.float32], region: NDArray[np.bool_]) -> float:
    """Largest Dice over 200 thresholds."""
    return max(dice(score >= t, region) for t in np.linspace(score.min(), score.max(), 201)[1:])


def lgg_lines(detector: Detector, folder: Path) -> Iterator[str]:
    """Pixel figures of the lower-grade glioma slices (FLAIR channel)."""
    config = make_config({"batch_size": 1})
    scores, truths, brightness = [], [], []
    for path in sorted((folder / "images").iterdir()):
        flair = np.asarray(Image.open(path), np.float32)[..., 1]
        mask = np.asarray(Image.open(next((folder / "masks").glob(path.stem + "*"))).convert("L")) > 0
        result = detect_scan(picture_scan(flair, path.stem), detector, config)
        if result.score is None:
            raise click.ClickException(f"{path} was not scored.")
        scores.append(result.score[..., 0].T)
        truths.append(mask)
        brightness.append(gaussian_filter(flair, 2.0))
    flat = [np.concatenate([x.ravel() for x in part]) for part in (truths, scores, brightness)]
    yield (
        f"{'LGG':14} {len(truths)} slices, pixel AUROC {roc_auc_score(flat[0], flat[1]):.3f}, AP "
        f"{average_precision_score(flat[0], flat[1]):.3f}   (brightness: AUROC {roc_auc_score(flat[0], flat[2]):.3f}, "
        f"AP {average_precision_score(flat[0], flat[2]):.3f})"
    )
    flagged = np.mean([(s >= (detector.info.threshold or 0.5)).any() for s in scores])
    yield f"{'':14} slices with a pixel over the threshold {flagged:.0%}"


def brain_mri_lines(detector: Detector, folder: Path) -> Iterator[str]:
    """Image figures of the BrainMRI benchmark."""
    config = make_config({"batch_size": 1})
    labels, images, maps, bright = [], [], [], []
    for kind in ("no", "yes"):
        for path in sorted((folder / kind).iterdir()):
            pixels = np.asarray(Image.open(path).convert("L"), np.float32)
            result = detect_scan(picture_scan(pixels, path.stem), detector, config)
            labels.append(kind == "yes")
            images.append(result.slices[0].image_score)
            maps.append(result.slices[0].max_score)
            bright.append(float(pixels.mean()))
    for name, scores in (("image score", images), ("largest pixel score", maps), ("mean brightness", bright)):
        yield (
            f"{'BrainMRI':14} {len(labels)} images, {name}: AUROC {roc_auc_score(labels, scores):.3f}, "
            f"AP {average_precision_score(labels, scores):.3f}"
        )
    flags = np.asarray(maps) >= (detector.info.threshold or 0.5)
    truth = np.asarray(labels)
    shares = f"{flags[~truth].mean():.0%} of the normal, {flags[truth].mean():.0%} of the tumor images"
    yield f"{'':14} over the threshold: {shares}"


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--weights", default="medzsad-mini", show_default=True)
def main(data: Path, weights: str) -> None:
    """Prints the table for the development data in DATA."""
    detector = load_detector(weights)
    info = detector.info
    click.echo(f"{info.name} {info.sha256[:12]}, threshold {info.threshold} ({info.threshold_provenance})")
    volumes = data / "volumes"
    for lines in (
        volume_lines(detector, volumes / "brainix" / "FLAIR.nii.gz", volumes / "brainix" / "ROI.nii.gz"),
        volume_lines(detector, volumes / "ms_patient07" / "FLAIR.nii.gz", volumes / "ms_patient07" / "lesions.nii.gz"),
        lgg_lines(detector, data / "medical" / "brain_mri_lgg"),
        brain_mri_lines(detector, data / "medical" / "brain_mri"),
    ):
        for line in lines:
            click.echo(line)


if __name__ == "__main__":
    main()
