"""What a case costs beside its scoring: `python benchmarks/overhead.py [--cases 100]`.

Runs a whole `medzsad run` in this process over small phantoms (104 x 124 x 15, every other one a DICOM series, half of
them with a lesion), once as it is, reading and writing beside the scoring, and once with one thing after the other.
Tells the wall time per case of both, the time that scoring takes when nothing else goes on, and what all the rest adds
to it: finding, reading, restoring, lesions, writing, checking, pictures, reports.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.make_scans import head
from medzsad.config import make_config
from medzsad.run import pipeline
from medzsad.run.batch import RunOrder, run_cases
from medzsad.run.executor import ReadAhead
from medzsad.scoring.engine import ScoreVolume
from tests.phantoms import write_dicom_series, write_nifti


class Clock:
    """`score_stack`, its seconds added up."""

    def __init__(self) -> None:
        self.work, self.seconds, self.slices = pipeline.score_stack, 0.0, 0

    def __call__(self, *args: Any, **options: Any) -> ScoreVolume:
        """The scores."""
        started = time.perf_counter()
        found = self.work(*args, **options)
        self.seconds += time.perf_counter() - started
        self.slices += int(found.scored.sum())
        return found


def write_scans(folder: Path, cases: int) -> None:
    """So many phantoms, no two the same."""
    for number in range(cases):
        phantom = head(seed=number, lesion=number % 4 < 2)
        if number % 2:
            write_dicom_series(folder / f"case{number:03d}", phantom, uid_seed=f"case{number}")
        else:
            write_nifti(folder / f"case{number:03d}.nii.gz", phantom)


def timed_run(scans: Path, out: Path, weights: str, executor: ReadAhead | None = None) -> tuple[float, Clock]:
    """Wall seconds of a run, and the clock of its scoring."""
    clock = Clock()
    pipeline.score_stack = clock  # type: ignore[assignment]
    started = time.perf_counter()
    summary = run_cases(RunOrder((scans,), out, make_config({"weights": weights})), executor=executor)
    seconds = time.perf_counter() - started
    pipeline.score_stack = clock.work
    if summary.exit_code:
        raise click.ClickException(summary.text())
    return seconds, clock


@click.command()
@click.option("--cases", default=100, show_default=True)
@click.option("--weights", default="medzsad-mini", show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Also write the numbers here.")
def main(cases: int, weights: str, path: Path | None) -> None:
    """Prints the numbers as one JSON object."""
    with tempfile.TemporaryDirectory() as temporary:
        scans = Path(temporary, "scans")
        scans.mkdir()
        write_scans(scans, cases)
        together, _ = timed_run(scans, Path(temporary, "together"), weights)
        apart, clock = timed_run(scans, Path(temporary, "apart"), weights, ReadAhead(large_voxels=1))
    found = {
        "cases": cases,
        "threads": torch.get_num_threads(),
        "slices_scored": clock.slices,
        "seconds_per_case": round(together / cases, 3),
        "seconds_per_case_one_after_the_other": round(apart / cases, 3),
        "scoring_per_case": round(clock.seconds / cases, 3),
        "rest_over_scoring": round(together / clock.seconds - 1, 3),
        "slices_per_second": round(clock.slices / together, 2),
    }
    text = json.dumps(found, indent=1)
    click.echo(text)
    if path is not None:
        path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
