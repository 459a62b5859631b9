"""`medzsad calibrate`."""

import sys
from pathlib import Path
from typing import Any

import click

from medzsad.cli.errors import reported_errors
from medzsad.cli.options import ConfiguredCommand, given
from medzsad.cli.startup import quick_imports

# Of the options of `run`, those that say what is made of scores, or how its files look.
_NOT_HERE = ("threshold", "sensitivity", "calibration", "score_dtype", "with_uids", "workers")


@click.command(
    cls=ConfiguredCommand,
    models=["medzsad.config:RunConfig"],
    without=_NOT_HERE,
    short_help="Set the cut-offs for a site by its own normal scans.",
)
@click.argument("healthy_scans", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The JSON file to write.")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file with options; flags override it.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, only errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say more.")
def calibrate(
    healthy_scans: tuple[Path, ...], out: Path, config: Path | None, quiet: bool, verbose: bool, **flags: Any
) -> None:
    """Set the cut-offs for a site's scanners by HEALTHY_SCANS: folders, files and archives of normal scans.

    Each is read and scored as `medzsad run` would with the same options; OUT holds one number per scan and the
    cut-offs, no name, date or path. Give it to `medzsad run --calibration`. Nothing is trained. Use 20 scans or more,
    of one scanner and protocol; volumes and pictures by themselves.
    """
    with reported_errors(quiet, verbose):
        from medzsad.config import read_options

        options = {**({} if config is None else read_options(config)), **given(flags)}
        with quick_imports():
            from medzsad.progress import console_observer
            from medzsad.run.site_calibration import calibrate_site

        with console_observer(enabled=not quiet, plain_lines=False) as observer:
            summary = calibrate_site(healthy_scans, out, observer=observer, **options)
        if not quiet:
            click.echo(summary.text())
        sys.exit(summary.exit_code)
