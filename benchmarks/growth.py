"""How time and memory grow: `python benchmarks/growth.py --json benchmarks/results/growth.json --figure FILE.png`.

`medzsad run` in a process of its own for each row: more slices, more voxels in a slice, more prompt samples, more
cases, each from the same starting point. Prints a table of seconds (loading the program and the weights included) and
peak memory, and draws both.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import matplotlib
import nibabel as nib
import numpy as np
import torch
from matplotlib.figure import Figure

from medzsad.generator.images import generate

matplotlib.use("Agg")

_KINDS = {
    "slices": (20, 40, 80, 160),
    "side": (128, 256, 512),
    "samples": (1, 4, 10, 20),
    "cases": (1, 4, 16),
}
_TITLES = {"slices": "slices", "side": "voxels along a side", "samples": "prompt samples", "cases": "cases"}


@dataclass(frozen=True, slots=True)
class Load:
    """What a run is given: cases of side x side x slices voxels, and prompt samples per slice."""

    slices: int = 40
    side: int = 256
    samples: int = 4
    cases: int = 1


@dataclass(frozen=True, slots=True)
class Row:
    """Seconds and peak memory of one run, and which size was varied."""

    varied: str
    load: Load
    seconds: float
    peak_gb: float


def write_cases(folder: Path, load: Load) -> None:
    """Generated heads with a little noise, a NIfTI each."""
    plane = generate(1, load.side, torch.Generator().manual_seed(1)).images[0, 0].numpy().T
    for number in range(load.cases):
        noise = np.random.default_rng(number).normal(0, 5, (load.side, load.side, load.slices))
        voxels = (400 * plane[..., None] + noise).clip(0).astype(np.int16)
        spacing = 256 / load.side
        nib.save(nib.Nifti1Image(voxels, np.diag([spacing, spacing, 1.0, 1.0])), folder / f"case{number}.nii.gz")


def measure(varied: str, load: Load, weights: str) -> Row:
    """The row of one run."""
    with tempfile.TemporaryDirectory() as temporary:
        scans = Path(temporary, "scans")
        scans.mkdir()
        write_cases(scans, load)
        command = [sys.executable, "-m", "medzsad", "run", str(scans), "-o", str(Path(temporary, "out")), "-q"]
        command += ["--weights", weights, "--samples", str(load.samples)]
        program = f"import json, resource, subprocess; subprocess.run({command!r}, check=True); "
        program += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - started
    return Row(varied, load, round(seconds, 2), round(int(done.stdout) * 1024 / 1e9, 2))


def draw(rows: list[Row], path: Path) -> None:
    """Seconds and memory over each size, one panel each."""
    figure = Figure(figsize=(11, 3), layout="constrained")
    for place, kind in enumerate(_KINDS):
        axes = figure.add_subplot(1, len(_KINDS), place + 1)
        part = [row for row in rows if row.varied == kind]
        x = [getattr(row.load, kind) for row in part]
        axes.plot(x, [row.seconds for row in part], "o-", color="#0b6e99", label="seconds")
        axes.set_xlabel(_TITLES[kind])
        axes.set_ylim(0, 1.1 * max(row.seconds for row in part))
        axes.set_ylabel("seconds" if place == 0 else "")
        other = axes.twinx()
        other.plot(x, [row.peak_gb for row in part], "s--", color="#c44e52", label="peak memory")
        other.set_ylim(0, 1.3 * max(row.peak_gb for row in part))
        other.set_ylabel("GB" if place == len(_KINDS) - 1 else "")
        if place == 0:
            lines = [*axes.get_lines(), *other.get_lines()]
            axes.legend(lines, [str(line.get_label()) for line in lines], fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| slices | side | samples | cases | seconds | peak GB |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        sizes = [str(value) for value in asdict(row.load).values()]
        lines.append(f"| {' | '.join(sizes)} | {row.seconds:.1f} | {row.peak_gb:.2f} |")
    return "\n".join(lines)


@click.command()
@click.option("--weights", default="medzsad-mini", show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Also write the numbers here.")
@click.option("--figure", type=click.Path(path_type=Path), help="Also draw them here.")
def main(weights: str, path: Path | None, figure: Path | None) -> None:
    """Prints the table."""
    rows = [measure(kind, replace(Load(), **{kind: size}), weights) for kind, sizes in _KINDS.items() for size in sizes]
    click.echo(f"{weights}, {torch.get_num_threads()} threads\n\n{table(rows)}")
    if path is not None:
        path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    if figure is not None:
        draw(rows, figure)


if __name__ == "__main__":
    main()
