"""How long a 256 x 256 x 155 volume takes on the embedded model: `python benchmarks/volume_time.py`.

Prints the seconds from the volume in memory to lesions, and the ratio to the bare vision tower on as many slices,
measured in the same run: what prompts, maps, slicing and restoring cost beside the network itself.
"""

import time

import click
import numpy as np
import torch

from medzsad.clip.vision import image_features
from medzsad.config import make_config
from medzsad.generator.images import generate
from medzsad.run.pipeline import detect_scan, load_detector
from medzsad.scan.records import Scan, Source

_SHAPE = (256, 256, 155)
_BATCH = 8


def volume() -> Scan:
    """A generated head, the same slice 155 times with other noise."""
    slice_ = generate(1, 256, torch.Generator().manual_seed(1)).images[0, 0].numpy().T
    noise = np.random.default_rng(0).normal(0, 5, _SHAPE).astype(np.float32)
    voxels = 400 * slice_[..., None] + noise
    return Scan("phantom", voxels, np.diag([1.0, 1.0, 1.0, 1.0]), "MR", 2, Source("nifti"))


@click.command()
@click.option("--weights", default="medzsad-mini", show_default=True)
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
def main(weights: str, precision: str) -> None:
    """Prints the time of one volume and its ratio to the bare tower."""
    detector = load_detector(weights)
    config = make_config({"precision": precision, "threshold": 0.5})
    scan = volume()
    detect_scan(scan, detector, config)
    started = time.perf_counter()
    result = detect_scan(scan, detector, config)
    whole = time.perf_counter() - started
    side, slices = detector.spec.image_size, len(result.slices)
    images = torch.zeros(_BATCH, 3, side, side)
    started = time.perf_counter()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        for _ in range(-(-slices // _BATCH)):
            image_features(detector.clip, detector.spec, images)
    bare = time.perf_counter() - started
    click.echo(
        f"{scan.voxels.shape}, {slices} slices scored at {side} px, {precision}, {torch.get_num_threads()} threads"
    )
    click.echo(f"volume to lesions {whole:.1f} s; bare tower {bare:.1f} s; ratio {whole / bare:.2f}")


if __name__ == "__main__":
    main()
