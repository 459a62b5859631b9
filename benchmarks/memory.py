"""Peak memory of `medzsad run` on a large CT: `python benchmarks/memory.py [--slices 300] [--side 512]`.

Makes a CT-like phantom of side x side x slices voxels, runs the command on it in a process of its own, and prints the
largest resident memory of that process as one JSON object.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import nibabel as nib
import numpy as np


def write_ct(path: Path, side: int, slices: int) -> None:
    """Writes a body with organs of slightly different density and one dense lesion, in HU, slice by slice."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    voxels = np.full((side, side, slices), -1000, np.int16)
    for k in range(slices):
        z = 2 * k / (slices - 1) - 1
        plane = voxels[:, :, k]
        body = (x / 0.8) ** 2 + (y / 0.6) ** 2 < 1
        plane[body] = 40 + rng.normal(0, 12, int(body.sum()))
        plane[((x + 0.3) / 0.3) ** 2 + (y / 0.35) ** 2 + z**2 < 1] += 20
        plane[((x + 0.35) / 0.06) ** 2 + ((y - 0.1) / 0.06) ** 2 + (z / 0.08) ** 2 < 1] += 90
    nib.save(nib.Nifti1Image(voxels, np.diag([0.8, 0.8, 1.0, 1.0])), path)


@click.command()
@click.option("--side", default=512, show_default=True)
@click.option("--slices", default=300, show_default=True)
def main(side: int, slices: int) -> None:
    """Prints peak memory in GB and the seconds that the command took."""
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder, "ct.nii.gz")
        write_ct(scan, side, slices)
        started = time.perf_counter()
        command = [sys.executable, "-m", "medzsad", "run", str(scan), "-o", str(Path(folder, "out"))]
        subprocess.run([*command, "--modality", "CT", "-q"], check=True)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    click.echo(
        json.dumps({"voxels": [side, side, slices], "peak_gb": round(peak / 1e9, 2), "seconds": round(seconds, 1)})
    )


if __name__ == "__main__":
    main()
