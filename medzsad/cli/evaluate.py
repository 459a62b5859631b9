"""`medzsad evaluate`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medzsad.cli.errors import reported_errors
from medzsad.cli.options import ConfiguredCommand, given
from medzsad.cli.startup import quick_imports
from medzsad.errors import ExitCode

if TYPE_CHECKING:
    from medzsad.evaluation.config import EvaluateConfig
    from medzsad.evaluation.results import EvaluationRecord
    from medzsad.progress import Observer

_CONFIG = "medzsad.evaluation.config"


@click.command(
    cls=ConfiguredCommand,
    models=[f"{_CONFIG}:BenchmarkOptions", f"{_CONFIG}:EvaluateConfig"],
    without=["benchmarks", "name", "data", "weights"],
)
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for metrics, report and kept scores.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of the benchmark; with CONFIG the folder that its relative `data` count from.  [that of CONFIG]",
)
@click.option(
    "--weights",
    multiple=True,
    help="Name of installed weights, or a weights file. Given several times, each is evaluated into OUT/NAME and "
    "all are compared with the first.  [medzsad-mini]",
)
@click.option("--published", is_flag=True, help="Also print the values that others published for the same set.")
@click.option("--compare", nargs=2, type=click.Path(path_type=Path), help="Two folders of results of the same data.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no tables, only errors.")
def evaluate(
    config: Path | None,
    out: Path | None,
    data: Path | None,
    weights: tuple[str, ...],
    compare: tuple[Path, Path] | None,
    published: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Measure a detector on benchmarks.

    Give a CONFIG such as configs/evaluate_synthetic.yaml, or --benchmark with --data. Writes OUT/results.json,
    results.csv and report.html and keeps the scores; an interrupted evaluation continues when it is started again.
    `medzsad evaluate --benchmark synthetic -o OUT` needs no data.
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
            if len(weights) > 1:
                _several(_options(config, data, given(flags)), weights, out, observer, quiet=quiet)
                return
            options = _options(config, data, given(flags) | ({"weights": weights[0]} if weights else {}))
            with quick_imports():
                from medzsad.evaluation.evaluate import evaluate as evaluate_benchmarks
                from medzsad.evaluation.tables import results_text

            record = evaluate_benchmarks(options, out, observer)
        if not quiet:
            click.echo(results_text(record, published))
            click.echo(out / "report.html")
        if options.tolerance is not None:
            sys.exit(_within_tolerance(record, options.tolerance))


def _several(
    options: "EvaluateConfig", weights: tuple[str, ...], out: Path, observer: "Observer", *, quiet: bool
) -> None:
    if options.scores_from is not None or options.tolerance is not None:
        raise click.UsageError("--scores-from and --tolerance are for one --weights; give one of them at a time.")
    from medzsad.evaluation.several import evaluate_several
    from medzsad.evaluation.several_tables import several_text

    found = evaluate_several(options, weights, out, observer)
    if not quiet:
        click.echo(several_text(found))
        click.echo(out / "comparison.html")


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


def _options(config: Path | None, data: Path | None, flags: dict[str, Any]) -> "EvaluateConfig":
    from medzsad.evaluation.config import (
        BenchmarkOptions,
        earlier_benchmarks,
        make_evaluate_config,
        read_evaluate_config,
    )

    own = {key: value for key, value in flags.items() if key not in BenchmarkOptions.model_fields}
    one = {key: value for key, value in flags.items() if key in BenchmarkOptions.model_fields}
    if config is not None:
        if one:
            option = next(iter(one)).replace("_", "-")
            raise click.UsageError(f"--{option} belongs into {config}, beside its benchmark.")
        return read_evaluate_config(config, own, data)
    if data is not None:
        one["data"] = data
    if str(one.get("frame", "")).isdigit():
        one["frame"] = int(one["frame"])
    if "benchmark" in one:
        return make_evaluate_config({**own, "benchmarks": [one]}, "options")
    if "scores_from" in own:
        return make_evaluate_config({**own, "benchmarks": earlier_benchmarks(own["scores_from"], one)}, "options")
    raise click.UsageError("Give a CONFIG, or --benchmark NAME with --data, or --benchmark list.")
