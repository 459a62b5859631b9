"""Time and memory of the pixel metrics: `python benchmarks/metrics.py [--images 1805] [--compared 30] [--json FILE]`.

First all metrics of a set as large as BMAD's RESC (1805 maps of 512 x 1024), in a process of its own whose peak memory
is told. Then, on fewer maps and side by side in one process, the usual way of research code: scikit-learn on all pixels
in memory, and for AUPRO 200 thresholds with a loop over the regions of each mask. Making the maps is not timed.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom
from skimage.measure import label, regionprops
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from medzsad.metrics.counts import ScoreCounts
from medzsad.metrics.pixels import PixelScores, bin_edges
from medzsad.metrics.regions import pro_areas, region_weights

SIDES = (512, 1024)
_ABNORMAL = 0.42  # share of images with a lesion, as in RESC
_EDGES_FROM = 16


def make_map(number: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A smooth map as from 37 x 37 patches, and a mask of up to three lesions that score a little higher."""
    random = np.random.default_rng(number)
    coarse = random.beta(2, 8, (37, 37))
    scores = zoom(coarse, (SIDES[0] / 37, SIDES[1] / 37), order=1, mode="nearest", grid_mode=True).astype(np.float32)
    mask = np.zeros(SIDES, bool)
    if random.random() < _ABNORMAL:
        y, x = np.ogrid[: SIDES[0], : SIDES[1]]
        for _ in range(random.integers(1, 4)):
            center, radii = random.random(2) * SIDES, random.uniform(10, 60, 2)
            mask |= ((y - center[0]) / radii[0]) ** 2 + ((x - center[1]) / radii[1]) ** 2 < 1
    scores[mask] = 0.8 * scores[mask] + 0.15
    return scores, mask


def maps(images: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """So many maps and masks, made one at a time."""
    return (make_map(number) for number in range(images))


def ours(images: int) -> tuple[dict[str, float | None], float]:
    """All pixel metrics with intervals, and the seconds that they took."""
    sample = [make_map(number) for number in range(min(_EDGES_FROM, images))]
    started = time.perf_counter()
    scores = PixelScores(bin_edges(*(list(part) for part in zip(*sample, strict=True))), 0.3)
    seconds = time.perf_counter() - started
    del sample
    for number, (one, mask) in enumerate(maps(images)):
        started = time.perf_counter()
        scores.add(one, mask, str(number))
        seconds += time.perf_counter() - started
    started = time.perf_counter()
    measured = scores.metrics(seed=0)
    return {name: one.value for name, one in measured.items()}, seconds + time.perf_counter() - started


def our_aupro(scores: NDArray[np.float32], masks: NDArray[np.bool_]) -> dict[str, float]:
    """The rescaled AUPRO alone, by the functions that `PixelScores` uses for it."""
    counts, regions = ScoreCounts(), 0
    for one, mask in zip(scores, masks, strict=True):
        weights, found = region_weights(mask)
        order = np.argsort(one[mask], kind="stable")
        counts.add(np.sort(one[~mask]), one[mask][order], weights[order])
        regions += found
    low, high = float(scores.min()), float(scores.max())
    return {"aupro_rescaled": pro_areas(counts.tallies(), counts.negatives, regions, low, high).rescaled}


def usual_ranking(scores: NDArray[np.float32], masks: NDArray[np.bool_]) -> dict[str, float]:
    """AUROC, AP and best F1 by scikit-learn on all pixels."""
    flat, truth = scores.ravel(), masks.ravel()
    precision, recall, _ = precision_recall_curve(truth, flat)
    return {
        "pixel_auroc": float(roc_auc_score(truth, flat)),
        "pixel_ap": float(average_precision_score(truth, flat)),
        "pixel_f1max": float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))),
    }


def usual_aupro(scores: NDArray[np.float32], masks: NDArray[np.bool_]) -> dict[str, float]:
    """The rescaled AUPRO by thresholding all maps 200 times and walking over all regions each time."""
    low, high = float(scores.min()), float(scores.max())
    rates, overlaps = [], []
    for step in range(200):
        marked = scores > low + (high - low) / 200 * step
        shares = [
            marked[place][tuple(region.coords.T)].mean()
            for place, mask in enumerate(masks)
            for region in regionprops(label(mask))
        ]
        rates.append(np.logical_and(marked, ~masks).sum() / (~masks).sum())
        overlaps.append(np.mean(shares))
    x, y = np.array(rates), np.array(overlaps)
    x, y = x[x < 0.3], y[x < 0.3]
    x = (x - x.min()) / (x.max() - x.min())
    order = np.argsort(x, kind="stable")
    return {"aupro_rescaled": float(np.trapezoid(y[order], x[order]))}


def timed(work: Callable[[], dict[str, float]]) -> tuple[dict[str, float], float]:
    """The result of some work and its seconds."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def compare(count: int) -> dict[str, Any]:
    """Both ways on the same maps."""
    scores, masks = (np.stack(part) for part in zip(*maps(count), strict=True))
    measured, seconds = ours(count)
    ours_alone, our_seconds = timed(lambda: our_aupro(scores, masks))
    ranked, ranking_seconds = timed(lambda: usual_ranking(scores, masks))
    areas, area_seconds = timed(lambda: usual_aupro(scores, masks))
    usual = {**ranked, **areas}
    return {
        "images": count,
        "ours_all_figures_s": seconds,
        "ours_aupro_s": our_seconds,
        "usual_ranking_s": ranking_seconds,
        "usual_aupro_s": area_seconds,
        "aupro_ratio": area_seconds / our_seconds,
        "ratio": (ranking_seconds + area_seconds) / seconds,
        "largest_difference": max(
            abs(value - other)
            for name, value in usual.items()
            for other in (measured[name] or 0, ours_alone.get(name, value))
        ),
    }


@click.command()
@click.option("--images", default=1805, show_default=True, help="Maps of the large set.")
@click.option("--compared", default=30, show_default=True, help="Maps for the comparison.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Also write the numbers here.")
@click.option("--alone", is_flag=True, hidden=True)
def main(images: int, compared: int, path: Path | None, alone: bool) -> None:
    """Prints seconds, peak memory and the ratio as one JSON object."""
    if alone:
        click.echo(json.dumps({"images": images, "seconds": ours(images)[1]}))
        return
    command = [sys.executable, __file__, "--alone", "--images", str(images)]
    large = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    large["peak_gb"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
    found = json.dumps({"large": large, "compared": compare(compared)}, indent=1)
    click.echo(found)
    if path is not None:
        path.write_text(found + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
