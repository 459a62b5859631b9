"""`medzsad report`."""

import sys
from pathlib import Path

import click

from medzsad.cli.errors import reported_errors


@click.command(short_help="Rebuild the reports in OUT from its cases.")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; only errors.")
def report(out: Path, quiet: bool) -> None:
    """Rebuild report.html, report.json and report.csv in OUT from the results of all cases there.

    Runs over parts of the scans that write into one folder are joined so. Damaged and unfinished cases are named.
    """
    with reported_errors(quiet, verbose=False):
        from medzsad.run.summary import report_folder

        summary = report_folder(out)
        if not quiet:
            click.echo(summary.text())
        sys.exit(summary.exit_code)
