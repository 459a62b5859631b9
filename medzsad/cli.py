"""The command line: parse, call one function, map the result to an exit code.

Nothing heavy is imported at the top, so that `medzsad --help` answers at once.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medzsad.errors import ExitCode, MedzsadError
from medzsad.version import __version__

if TYPE_CHECKING:
    from medzsad.config import RunConfig

_SCANS = click.argument("scans", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="medzsad")
def main() -> None:
    """Zero-shot anomaly detection for medical scans. Research use, not a medical device.

    Exit codes: 0 every case is lesion or no_lesion; 1 at least one case failed; 2 usage or configuration;
    3 at least one case was refused and none failed.
    """


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
            click.option("--min-slices", type=int, help="Fewest slices of a DICOM stack.  [4]"),
            click.option("--max-voxels", type=int, help="Larger scans are refused.  [1000000000]"),
            click.option("--max-archive-bytes", type=int, help="Larger archives are refused.  [16 GiB]"),
            click.option(
                "--score-dtype", type=click.Choice(["float32", "float16-scaled"]), help="Storage of score.nii.gz."
            ),
            click.option("--device", help="auto, cpu, cuda, cuda:N or mps.  [auto]"),
            click.option("--precision", type=click.Choice(["float32", "bfloat16"]), help="[float32]"),
            click.option("--batch-size", type=int, help="Slices scored at once; changes no result.  [8]"),
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


@main.command()
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
    with _reported_errors(quiet, verbose):
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


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for the weights, figures and the state.")
@click.option("--check", is_flag=True, help="List what the training data hold and what is wrong, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --check: machine-readable.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, only errors.")
def train(config: Path, out: Path | None, check: bool, as_json: bool, quiet: bool) -> None:
    """Learn prompts from industrial defects as CONFIG says, a YAML file such as configs/train_visa.yaml.

    Writes OUT/weights.safetensors, history.json, curves.png and contact_sheet.png. A training that was interrupted
    goes on where it was when it is started again. --check ends with 2 if the data have errors.
    """
    with _reported_errors(quiet, verbose=False):
        if out is None and not check:
            raise click.UsageError("Missing option '-o' / '--out', the folder for the weights.")
        from medzsad.training.config import read_train_config

        options = read_train_config(config)
        from medzsad.training.observer import training_observer
        from medzsad.training.train import checked_data
        from medzsad.training.train import train as train_weights

        if out is None or check:
            from medzsad.datasets.check import data_json, data_text

            data = checked_data(options)
            click.echo(data_json(data) if as_json else data_text(data), nl=False)
            bad = any(problem.severity == "error" for problem in data.problems)
            sys.exit(ExitCode.USAGE if bad else ExitCode.OK)
        with training_observer(enabled=not quiet) as observer:
            path = train_weights(options, out, observer)
        if not quiet:
            click.echo(f"Weights: {path}" if path else "Paused, the time is over. Start the same command to go on.")


@main.command()
@_SCANS
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option("--series", multiple=True, help="Only this series: UID, its beginning, number or case name.")
@click.option("--frame", type=int, help="Which frame of 4D data is meant.")
@click.option("--all-frames", is_flag=True, default=None, help="List every frame of 4D data.")
@click.option("--allow-irregular", is_flag=True, default=None, help="Judge as `run --allow-irregular` would.")
@click.option("--min-slices", type=int, help="Fewest slices of a DICOM stack.  [4]")
@click.option("--max-voxels", type=int, help="Larger scans are refused.  [1000000000]")
@click.option("--max-archive-bytes", type=int, help="Larger archives are refused.  [16 GiB]")
def inspect(scans: tuple[Path, ...], as_json: bool, **flags: Any) -> None:
    """List every series and file in SCANS with its grid, and what `run` would do with it and why."""
    with _reported_errors(quiet=False, verbose=False):
        from medzsad.inspection import inspect_scans, inspection_json, inspection_table

        candidates = inspect_scans(scans, _config(None, flags))
        click.echo(inspection_json(candidates) if as_json else inspection_table(candidates))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def info(as_json: bool) -> None:
    """Versions, devices, decodable transfer syntaxes and installed weights."""
    with _reported_errors(quiet=False, verbose=False):
        from medzsad.inspection import environment_json, environment_text

        click.echo(environment_json() if as_json else environment_text())


@main.group()
def weights() -> None:
    """List, fetch, verify and import model weights. Only `fetch` uses the network."""


@weights.command("list")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def weights_list(as_json: bool) -> None:
    """List the weights that medzsad knows by name, and whether they are installed."""
    with _reported_errors(quiet=False, verbose=False):
        from medzsad.inspection import weights_json, weights_text

        click.echo(weights_json() if as_json else weights_text())


@weights.command("fetch")
@click.argument("name")
def weights_fetch(name: str) -> None:
    """Download the weights NAME, verify them against the pinned digest, and install them."""
    with _reported_errors(quiet=False, verbose=False):
        from medzsad.methods.fetch import fetch_weights

        click.echo(fetch_weights(name))


@weights.command("verify")
@click.argument("weights_name", metavar="NAME_OR_FILE")
def weights_verify(weights_name: str) -> None:
    """Read all of a weights file and say what it is, with its sha256."""
    with _reported_errors(quiet=False, verbose=False):
        from medzsad.methods.fetch import verify_weights

        found = verify_weights(weights_name)
        click.echo(f"{found.path}\nsha256 {found.sha256}, {found.size_bytes:,} bytes\n{found.verdict}")


@weights.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", default="", help="Name to install under.  [that of the published file]")
@click.option("--stage", type=click.IntRange(1, 2), help="Training stage of the file.  [2, or as its name says]")
def weights_import(file: Path, name: str, stage: int | None) -> None:
    """Install weights from FILE, a .pth as Bayes-PFL's authors publish and train them."""
    with _reported_errors(quiet=False, verbose=False):
        from medzsad.methods.fetch import import_weights

        click.echo(import_weights(file, name, stage=stage))


@weights.command("path")
@click.argument("name")
def weights_path(name: str) -> None:
    """Print where the weights NAME are, or would be, installed."""
    with _reported_errors(quiet=False, verbose=False):
        from medzsad.clip.weights import weights_path as path_of

        click.echo(path_of(name))


@contextmanager
def _reported_errors(quiet: bool, verbose: bool) -> Iterator[None]:
    """Sets up the log and turns errors raised on purpose into one sentence on stderr and an exit code."""
    from rich.console import Console
    from rich.logging import RichHandler

    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.WARNING
    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False)
    logger = logging.getLogger("medzsad")
    logger.setLevel(level)
    logger.handlers = [handler]
    logger.propagate = False
    try:
        yield
    except MedzsadError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("Interrupted. Start the same command again to go on.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`medzsad inspect ... | head`); nothing is wrong.
        sys.stderr.close()
        sys.exit(ExitCode.OK)
