"""From the command to the prompt: `python benchmarks/startup.py [--rounds 7] [--json benchmarks/results/startup.json]`.

Starts each command in a process of its own, in turns, and tells its wall time and processor time, the smallest and the
median of the rounds, and their ratio to `python -c "import torch, open_clip"`, which every scoring needs.
The scan of `medzsad run` is a generated NIfTI of four slices, the model the embedded one. Numbers are comparable only
within one run; one round goes by uncounted, so that the files are in memory.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import click
import nibabel as nib
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
_YARDSTICK = "import torch, open_clip"
# What `medzsad run` does as well (medzsad/cli/startup.py), so that its own share can be told apart from it.
_WITHOUT_COLLECTOR = "import gc; gc.disable(); import torch, open_clip; gc.freeze()"


@dataclass
class Times:
    """Seconds of a command, one of each per round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def write_scan(path: Path) -> None:
    """A bright disk of 64 x 64 pixels in four slices, with noise."""
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    disk = np.where(rows**2 + columns**2 < 0.7, 100.0, 0.0)[:, :, None]
    voxels = disk + np.random.default_rng(0).normal(0.0, 5.0, (64, 64, 4))
    nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.diag([2.0, 2.0, 5.0, 1.0])), path)


def commands(scan: Path, out: Path) -> dict[str, list[str]]:
    """What is timed, by name; the first is what the others are compared with."""
    program = [sys.executable, "-m", "medzsad"]
    return {
        _YARDSTICK: [sys.executable, "-c", _YARDSTICK],
        "the same, gc off": [sys.executable, "-c", _WITHOUT_COLLECTOR],
        "run": [*program, "run", str(scan), "-o", str(out), "--quiet", "--overwrite"],
        "inspect": [*program, "inspect", str(scan)],
        "weights list": [*program, "weights", "list"],
        "info": [*program, "info"],
        "--help": [*program, "--help"],
    }


def seconds(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a process and its children."""
    started, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    wall, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu


def measure(rounds: int) -> dict[str, Times]:
    """The times of all commands, taken in turns."""
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder, "four.nii.gz")
        write_scan(scan)
        timed = commands(scan, Path(folder, "out"))
        found = {name: Times() for name in timed}
        for number in range(rounds + 1):
            for name, command in timed.items():
                wall, cpu = seconds(command)
                if number:
                    found[name].wall.append(wall)
                    found[name].cpu.append(cpu)
    return found


def summary(found: dict[str, Times]) -> dict[str, dict[str, float]]:
    """Per command: smallest and median seconds, and ratios of both to the yardstick."""
    rows: dict[str, dict[str, float]] = {}
    for name, times in found.items():
        row = {}
        for kind, values in (("wall", times.wall), ("cpu", times.cpu)):
            base = getattr(found[_YARDSTICK], kind)
            row[f"{kind}_s_min"] = round(min(values), 3)
            row[f"{kind}_s_median"] = round(statistics.median(values), 3)
            row[f"{kind}_ratio_min"] = round(min(values) / min(base), 2)
            row[f"{kind}_ratio_median"] = round(statistics.median(values) / statistics.median(base), 2)
        rows[name] = row
    return rows


@click.command()
@click.option("--rounds", default=7, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Also write the numbers here.")
def main(rounds: int, path: Path | None) -> None:
    """Prints a table of the times and ratios."""
    found = summary(measure(rounds))
    print(f"{'':26}{'wall s':>8}{'ratio':>7}{'median':>8}   {'cpu s':>8}{'ratio':>7}{'median':>8}")
    for name, row in found.items():
        wall, cpu = (
            f"{row[f'{kind}_s_min']:8.2f}{row[f'{kind}_ratio_min']:7.2f}{row[f'{kind}_ratio_median']:8.2f}"
            for kind in ("wall", "cpu")
        )
        print(f"{name:26}{wall}   {cpu}")
    if path is not None:
        threads = os.environ.get("OMP_NUM_THREADS", "all")
        path.write_text(
            json.dumps({"rounds": rounds, "threads": threads, "commands": found}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
