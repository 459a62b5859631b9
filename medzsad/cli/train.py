"""`medzsad train`."""

import sys
from pathlib import Path

import click

from medzsad.cli.errors import reported_errors
from medzsad.cli.startup import quick_imports
from medzsad.errors import ExitCode


@click.command(short_help="Learn prompts from images of industrial defects.")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for the weights, the plots and the state.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder that the relative paths of data in CONFIG count from.  [that of CONFIG]",
)
@click.option("--check", is_flag=True, help="List what the training data hold and what is wrong, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --check: machine-readable.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, only errors.")
def train(config: Path, out: Path | None, data: Path | None, check: bool, as_json: bool, quiet: bool) -> None:
    """Learn prompts from industrial defects as CONFIG says, a YAML file such as configs/train_visa.yaml.

    Writes OUT/weights.safetensors, history.json, curves.png and contact_sheet.png. An interrupted
    training continues where it stopped when it is started again. A method that learns nothing by steps
    leaves the first two only. --check ends with 2 if the data have errors.
    """
    with reported_errors(quiet, verbose=False):
        if out is None and not check:
            raise click.UsageError("Missing option '-o' / '--out', the folder for the weights.")
        from medzsad.training.config import read_train_config

        options = read_train_config(config, data)
        with quick_imports():
            from medzsad.progress import console_observer
            from medzsad.training.prepare import checked_data
            from medzsad.training.train import train as train_weights

        if out is None or check:
            from medzsad.datasets.check import data_json, data_text

            found = checked_data(options)
            click.echo(data_json(found) if as_json else data_text(found), nl=False)
            bad = any(problem.severity == "error" for problem in found.problems)
            sys.exit(ExitCode.USAGE if bad else ExitCode.OK)
        with console_observer(enabled=not quiet) as observer:
            path = train_weights(options, out, observer)
        if not quiet:
            click.echo(f"Weights: {path}" if path else "Paused, the time is over. Start the same command to go on.")
