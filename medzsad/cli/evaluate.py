"""`medzsad evaluate`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medzsad.cli.errors import reported_errors
from medzsad.errors import ExitCode

if TYPE_CHECKING:
    from medzsad.evaluation.config import EvaluateConfig
    from medzsad.evaluation.results import EvaluationRecord

_PROTOCOLS = ("plain", "bayes-pfl", "cops", "anomalyclip", "april-gan")
_OF_THE_BENCHMARK = ("benchmark", "data", "class_name", "modality", "lesion_values", "frame")


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for metrics, report and kept scores.")
@click.option("--benchmark", help="A known data set; `--benchmark list` explains all of them.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of the benchmark; with CONFIG, that of its relative `data:` paths.",
)
@click.option("--class-name", help="Word for the organ in the prompts.  [that of the benchmark]")
@click.option("--modality", help="Of volumes, e.g. CT.  [that of the benchmark or the file]")
@click.option("--lesion-values", help="Values in the labels of volumes that are lesions, e.g. 1,3.")
@click.option("--frame", help="Frame of 4D volumes: its number or, for msd, its name.")
@click.option("--protocol", type=click.Choice(_PROTOCOLS), help="How metrics of pictures are taken.  [plain]")
@click.option("--weights", help="Name of installed weights, or a weights file.  [medzsad-mini]")
@click.option("--clip-weights", help="CLIP tower: a file, or a name in local caches.")
@click.option("--samples", type=int, help="Prompt samples per image.  [stored with the weights]")
@click.option("--seed", type=int, help="Seed of the prompt samples and of the bootstrap resampling.  [0]")
@click.option("--threshold", type=float, help="For Dice and lesions.  [of the weights]")
@click.option("--device", help="auto, cpu, cuda, cuda:N or mps.  [auto]")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), help="[float32]")
@click.option("--batch-size", type=int, help="Images scored at once; changes no metric.  [8]")
@click.option("--skip-bad", is_flag=True, default=None, help="Leave out images or volumes that have errors.")
@click.option("--tolerance", type=float, help="End with 1 if a value published of this model is missed by more points.")
@click.option("--published", is_flag=True, help="Also print the values that others published for the same set.")
@click.option("--scores-from", type=click.Path(path_type=Path), help="Measure the kept scores of this folder again.")
@click.option("--compare", nargs=2, type=click.Path(path_type=Path), help="Two folders of results of the same data.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no tables, only errors.")
def evaluate(
    config: Path | None,
    out: Path | None,
    compare: tuple[Path, Path] | None,
    published: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Measure a detector on benchmarks.

    Give a CONFIG such as configs/evaluate_synthetic.yaml, or --benchmark with --data. Writes OUT/results.json,
    results.csv and report.html and keeps the scores; an evaluation that was interrupted goes on when it is started
    again. `medzsad evaluate --benchmark synthetic -o OUT` needs no data.
    """
    with reported_errors(quiet, verbose=False):
        if flags["benchmark"] == "list":
            from medzsad.datasets.benchmarks import list_benchmarks_text

            click.echo(list_benchmarks_text(), nl=False)
            return
        if out is None:
            raise click.UsageError("Missing option '-o' / '--out', the folder for the results.")
        from medzsad.progress import console_observer

        with console_observer(enabled=not quiet) as observer:
            if compare is not None:
                from medzsad.evaluation.compare import compare_evaluations
                from medzsad.evaluation.report import write_comparison_report
                from medzsad.evaluation.tables import comparison_text

                comparison = compare_evaluations(*compare, observer)
                write_comparison_report(out, comparison)
                if not quiet:
                    click.echo(comparison_text(comparison))
                return
            from medzsad.evaluation.evaluate import evaluate as evaluate_benchmarks
            from medzsad.evaluation.tables import results_text

            options = _options(config, {key: value for key, value in flags.items() if value is not None})
            record = evaluate_benchmarks(options, out, observer)
        if not quiet:
            click.echo(results_text(record, published))
            click.echo(out / "report.html")
        if options.tolerance is not None:
            sys.exit(_within_tolerance(record, options.tolerance))


def _within_tolerance(record: "EvaluationRecord", tolerance: float) -> ExitCode:
    """Tells what is further from the published values of the same model than the tolerance, or cannot be judged."""
    from medzsad.evaluation.tolerance import incomparable_benchmarks, outside_tolerance

    missed = [line for one in record.benchmarks for line in outside_tolerance(one, tolerance)]
    for line in missed:
        click.echo(f"Outside the tolerance of {tolerance:g} points: {line}", err=True)
    unjudged = incomparable_benchmarks(record)
    for line in unjudged:
        click.echo(f"Not held against published values: {line}", err=True)
    if len(unjudged) == len(record.benchmarks):
        click.echo(
            "--tolerance had nothing to compare: no value is published of this model under this protocol on these data."
            " Evaluate published weights under their protocol, or leave --tolerance out.",
            err=True,
        )
        return ExitCode.FAILED
    return ExitCode.FAILED if missed else ExitCode.OK


def _options(config: Path | None, flags: dict[str, Any]) -> "EvaluateConfig":
    from medzsad.evaluation.config import earlier_benchmarks, make_evaluate_config, read_evaluate_config

    own = {key: value for key, value in flags.items() if key not in _OF_THE_BENCHMARK}
    one = {key: _parsed(key, value) for key, value in flags.items() if key in _OF_THE_BENCHMARK}
    if config is not None:
        data = one.pop("data", None)
        if one:
            option = next(iter(one)).replace("_", "-")
            raise click.UsageError(f"--{option} belongs into {config}, beside its benchmark.")
        return read_evaluate_config(config, own, data)
    if "benchmark" in one:
        return make_evaluate_config({**own, "benchmarks": [one]}, "options")
    if "scores_from" in own:
        return make_evaluate_config({**own, "benchmarks": earlier_benchmarks(own["scores_from"], one)}, "options")
    raise click.UsageError("Give a CONFIG, or --benchmark NAME with --data, or --benchmark list.")


def _parsed(key: str, value: Any) -> Any:
    if key == "frame" and str(value).isdigit():
        return int(value)
    if key != "lesion_values":
        return value
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.UsageError(f"--lesion-values {value!r} must be whole numbers with commas, e.g. 1,3.") from None
