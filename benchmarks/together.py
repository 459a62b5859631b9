"""What several scans of one head gain: `python benchmarks/together.py --weights medzsad-mini --heads 8`.

Scores generated heads with lesions under several kinds of scan in one frame of reference, and prints for each kind
alone, for the mean of their logits (what `medzsad run --together` takes) and for their maximum: the mean voxel AP over
the heads, with respect to the lesions that can be seen on the scan with the smallest voxels.
"""

from collections import defaultdict

import click
import numpy as np
from numpy.typing import NDArray

from medzsad.config import RunConfig
from medzsad.context.sequences import SequenceScore, fuse_sequences
from medzsad.metrics.ranking import array_ranking
from medzsad.phantoms import make_phantom_sequences
from medzsad.run.pipeline import load_detector, score_scan, settled
from medzsad.run.together import ScansTogether, scored_sequence


def measure(weights: str, heads: int, families: tuple[str, ...]) -> dict[str, list[float]]:
    """The voxel AP of each kind alone and of their fusions, one value per head."""
    detector = load_detector(weights)
    config = settled(RunConfig(), detector)
    found: dict[str, list[float]] = defaultdict(list)
    for seed in range(heads):
        phantoms = {one.name: one for one in make_phantom_sequences(seed, families)}
        together = ScansTogether.of(f"head {seed}", [one.scan() for one in phantoms.values()])
        finest = phantoms[together.scans[0].name]
        if not finest.mask.any():
            continue
        parts = {
            phantoms[scan.name].family: scored_sequence(score_scan(scan, detector, config)) for scan in together.scans
        }
        for family, part in parts.items():
            found[family].append(_precision(_on(finest.voxels.shape, finest.affine_ras, [part]), finest.mask))
        fused = _on(finest.voxels.shape, finest.affine_ras, list(parts.values()))
        found["mean of the logits"].append(_precision(fused, finest.mask))
        each = [_on(finest.voxels.shape, finest.affine_ras, [part]) for part in parts.values()]
        found["maximum"].append(_precision(np.max(each, axis=0), finest.mask))
    return found


def _on(shape: tuple[int, ...], affine_ras: NDArray[np.float64], parts: list[SequenceScore]) -> NDArray[np.float32]:
    i, j, k = shape
    return fuse_sequences(parts, (i, j, k), affine_ras)


def _precision(score: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    return float(array_ranking(score.ravel(), mask.ravel()).average_precision)


@click.command()
@click.option("--weights", default="medzsad-mini", show_default=True)
@click.option("--heads", default=8, show_default=True, type=click.IntRange(1))
@click.option("--families", default="flair,t1,t2", show_default=True, help="Kinds of scan, with commas between.")
def main(weights: str, heads: int, families: str) -> None:
    """Print what scoring several scans of one head together gains on generated heads."""
    for name, values in measure(weights, heads, tuple(families.split(","))).items():
        click.echo(f"{name:>20}: voxel AP {np.mean(values):.3f} (mean of {len(values)} heads)")


if __name__ == "__main__":
    main()
