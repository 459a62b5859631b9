"""`medzsad run` and `medzsad inspect`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medzsad.cli.errors import reported_errors

if TYPE_CHECKING:
    from medzsad.config import RunConfig

_SCANS = click.argument("scans", nargs=-1, required=True, type=click.Path(path_type=Path))


def _run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds one flag per key of RunConfig; a flag that is not given leaves the configuration file's value."""
    for option in reversed(
        [
            click.option("--weights", help="Name of installed weights, or a weights file.  [medzsad-mini]"),
            click.option("--clip-weights", help="CLIP tower: a file, or a name in local caches."),
            click.option("--class-name", help="Word for the organ in the prompts.  [stored with the weights]"),
            click.option("--modality", help="Overrides the modality of the file, e.g. CT for a NIfTI of a CT."),
            click.option(
                "--axis",
                type=click.Choice(["acquisition", "axial", "coronal", "sagittal"]),
                help="Which slices are scored.  [acquisition]",
            ),
            click.option("--slice-step", type=int, help="Score every so many slices, interpolate the others.  [1]"),
            click.option("--window", help="auto, percentiles, a CT preset such as lung, or LOW,HIGH.  [auto]"),
            click.option(
                "--resize",
                type=click.Choice(["fit", "stretch"]),
                help="fit: millimetre-true with padding; stretch: square, as in the papers.  [fit]",
            ),
            click.option("--samples", type=int, help="Prompt samples per slice.  [stored with the weights]"),
            click.option("--seed", type=int, help="Seed of the prompt samples.  [0]"),
            click.option("--threshold", type=float, help="Score from which a voxel is lesion.  [of the weights]"),
            click.option("--smooth-mm", type=float, help="Gaussian over the scores, sigma in mm.  [0]"),
            click.option("--min-volume-mm3", type=float, help="Smaller lesions are dropped.  [0]"),
            click.option("--series", multiple=True, help="Only this series: UID, its beginning, number or case name."),
            click.option("--frame", type=int, help="Which frame of 4D data is scored."),
            click.option("--all-frames", is_flag=True, default=None, help="Score every frame of 4D data."),
            click.option(
                "--allow-irregular",
                is_flag=True,
                default=None,
                help="Score tilted, gapped and short series slice by slice.",
            ),
            click.option(
                "--allow-labels", is_flag=True, default=None, help="Score volumes that look like masks or label maps."
            ),
            click.option("--min-slices", type=int, help="Fewest slices of a volume.  [4]"),
            click.option("--max-voxels", type=int, help="Larger scans are refused.  [1000000000]"),
            click.option("--max-archive-bytes", type=int, help="Larger archives are refused.  [16 GiB]"),
            click.option(
                "--score-dtype", type=click.Choice(["float32", "float16-scaled"]), help="Storage of score.nii.gz."
            ),
            click.option("--device", help="auto, cpu, cuda, cuda:N or mps.  [auto]"),
            click.option(
                "--precision",
                type=click.Choice(["auto", "float32", "bfloat16"]),
                help="auto: bfloat16 where the device multiplies it in hardware.  [auto]",
            ),
            click.option("--batch-size", type=int, help="Slices scored at once; changes no result.  [by memory]"),
        ]
    ):
        command = option(command)
    return click.option(
        "--config", type=click.Path(path_type=Path), help="YAML file with these options; flags override it."
    )(command)


def _config(path: Path | None, flags: dict[str, Any]) -> "RunConfig":
    from medzsad.config import make_config, read_options

    given = {key: value for key, value in flags.items() if value is not None and value != ()}
    options = {} if path is None else read_options(path)
    return make_config({**options, **given}, where=str(path) if path else "options")


@click.command()
@_SCANS
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder for the results.")
@_run_options
@click.option("--overwrite", is_flag=True, help="Redo cases that are done; without it they are skipped.")
@click.option("--dry-run", is_flag=True, help="List what would be done, and do nothing.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, only errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say more.")
def run(
    scans: tuple[Path, ...],
    out: Path,
    config: Path | None,
    overwrite: bool,
    dry_run: bool,
    quiet: bool,
    verbose: bool,
    **flags: Any,
) -> None:
    """Find lesions in SCANS: folders, files and archives of DICOM, NIfTI, NRRD, MHA and pictures.

    Writes OUT/report.html, report.json, report.csv, and per case a mask and a score map in the scan's own grid.
    A run that was interrupted goes on where it stopped when it is started again.
    """
    with reported_errors(quiet, verbose):
        options = _config(config, flags)
        from medzsad.batch import RunOrder, plan_run, run_cases
        from medzsad.progress import progress_observer

        order = RunOrder(paths=scans, out=out, config=options, overwrite=overwrite)
        if dry_run:
            for line in plan_run(order):
                click.echo(line)
            return
        with progress_observer(enabled=not quiet) as observer:
            summary = run_cases(order, observer)
        if not quiet:
            click.echo(summary.text())
        sys.exit(summary.exit_code)


@click.command()
@_SCANS
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option("--series", multiple=True, help="Only this series: UID, its beginning, number or case name.")
@click.option("--frame", type=int, help="Which frame of 4D data is meant.")
@click.option("--all-frames", is_flag=True, default=None, help="List every frame of 4D data.")
@click.option("--allow-irregular", is_flag=True, default=None, help="Judge as `run --allow-irregular` would.")
@click.option("--allow-labels", is_flag=True, default=None, help="Judge as `run --allow-labels` would.")
@click.option("--min-slices", type=int, help="Fewest slices of a volume.  [4]")
@click.option("--max-voxels", type=int, help="Larger scans are refused.  [1000000000]")
@click.option("--max-archive-bytes", type=int, help="Larger archives are refused.  [16 GiB]")
@click.option("-v", "--verbose", is_flag=True, help="List the files that were not understood.")
def inspect(scans: tuple[Path, ...], as_json: bool, verbose: bool, **flags: Any) -> None:
    """List every series and file in SCANS with its grid, and what `run` would do with it and why."""
    with reported_errors(quiet=False, verbose=verbose):
        from medzsad.inspection import inspect_scans, inspection_json, inspection_table

        candidates = inspect_scans(scans, _config(None, flags))
        click.echo(inspection_json(candidates) if as_json else inspection_table(candidates))
