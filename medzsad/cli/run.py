"""`medzsad run`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medzsad.cli.errors import reported_errors
from medzsad.cli.options import ConfiguredCommand, given
from medzsad.cli.startup import quick_imports

if TYPE_CHECKING:
    from medzsad.config import RunConfig


@click.command(
    cls=ConfiguredCommand, models=["medzsad.config:RunConfig"], short_help="Find lesions in SCANS and write masks."
)
@click.argument("scans", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder for the results.")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file with options; flags override it.")
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
    An interrupted run continues where it stopped when it is started again.
    """
    with reported_errors(quiet, verbose):
        options = _config(config, given(flags))
        with quick_imports():
            from medzsad.progress import console_observer
            from medzsad.run.batch import RunOrder, plan_run, run_cases

        order = RunOrder(paths=scans, out=out, config=options, overwrite=overwrite)
        if dry_run:
            for line in plan_run(order):
                click.echo(line)
            return
        with console_observer(enabled=not quiet, plain_lines=False) as observer:
            summary = run_cases(order, observer)
        if not quiet:
            click.echo(summary.text())
        sys.exit(summary.exit_code)


def _config(path: Path | None, flags: dict[str, Any]) -> "RunConfig":
    from medzsad.config import make_config, read_options

    options = {} if path is None else read_options(path)
    return make_config({**options, **flags}, where=str(path) if path else "options")
