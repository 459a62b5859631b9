"""results.json for programs, results.csv for tables, report.html for eyes; likewise for comparisons."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from pydantic.json_schema import models_json_schema

from medzsad.errors import OutputError
from medzsad.evaluation.results import (
    SCHEMA_VERSION,
    BenchmarkRecord,
    EvaluationRecord,
    ModelComparison,
    SeveralComparison,
)
from medzsad.evaluation.several_tables import several_csv, several_rows
from medzsad.evaluation.tables import (
    comparison_csv,
    counts_text,
    difference_rows,
    flagged_text,
    groups,
    metric_name,
    metric_text,
    published_rows,
    results_csv,
    setting_rows,
)
from medzsad.files import write_text_atomic
from medzsad.output.report import MOST_EMBEDDED_CASES, embedded_picture, page
from medzsad.output.schema import json_text


@dataclass(frozen=True, slots=True)
class _Part:
    """One benchmark as the page shows it."""

    record: BenchmarkRecord
    counts: str
    groups: list[str]
    rows: list[tuple[str, list[str]]]
    published: list[tuple[str, ...]]
    pictures: list[tuple[str, Markup]]


def write_evaluation_report(out: Path, record: EvaluationRecord, pictures: Mapping[str, Mapping[str, Path]]) -> None:
    """Writes results.json, results.csv and report.html, each of them whole or not at all.

    Args:
        out: Folder for them; it is there.
        record: What was found.
        pictures: By benchmark and title.

    Raises:
        OutputError: A file cannot be written, or a picture not be read.
    """
    html = evaluation_html(record, pictures, out)
    write_text_atomic(out / "results.json", json_text(record))
    write_text_atomic(out / "results.csv", results_csv(record))
    write_text_atomic(out / "report.html", html)


def evaluation_html(
    record: EvaluationRecord, pictures: Mapping[str, Mapping[str, Path]], out: Path | None = None
) -> str:
    """The report as one HTML file with all styles and pictures inside; no scripts.

    Pictures are reduced to 150 kB each. More than 200 of them are linked instead, if they lie in `out`, so that the
    file stays small enough to open.

    Args:
        record: What was found.
        pictures: By benchmark and title.
        out: Folder of the page; None embeds all pictures.

    Raises:
        OutputError: A picture cannot be read.
    """
    many = sum(len(named) for named in pictures.values()) > MOST_EMBEDDED_CASES
    folder = out if many else None
    parts = [_part(one, pictures.get(one.name, {}), folder) for one in record.benchmarks]
    return page("evaluation.html.j2", record=record, parts=parts)


def write_comparison_report(out: Path, comparison: ModelComparison) -> None:
    """Writes comparison.json, comparison.csv and comparison.html, each of them whole or not at all.

    Args:
        out: Folder for them, made if it is not there.
        comparison: Of two models.

    Raises:
        OutputError: A file cannot be written.
    """
    _make_folder(out)
    html = page(
        "comparison.html.j2", comparison=comparison, rows=difference_rows(comparison), settings=setting_rows(comparison)
    )
    write_text_atomic(out / "comparison.json", json_text(comparison))
    write_text_atomic(out / "comparison.csv", comparison_csv(comparison))
    write_text_atomic(out / "comparison.html", html)


def write_several_report(out: Path, found: SeveralComparison, pictures: Mapping[str, Path]) -> None:
    """Writes comparison.json, comparison.csv and comparison.html of several weights, each whole or not at all.

    Args:
        out: Folder for them, made if it is not there.
        found: What was found.
        pictures: Of each benchmark of pictures.

    Raises:
        OutputError: A file cannot be written, or a picture not be read.
    """
    _make_folder(out)
    header, *rows = several_rows(found)
    shown = {name: _address(path, None) for name, path in pictures.items()}
    html = page("several.html.j2", found=found, header=header, rows=rows, pictures=shown)
    write_text_atomic(out / "comparison.json", json_text(found))
    write_text_atomic(out / "comparison.csv", several_csv(found))
    write_text_atomic(out / "comparison.html", html)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made: {error.strerror}. Choose another output folder.") from error


def evaluation_schema() -> dict[str, Any]:
    """The JSON schema of results.json; `#/$defs/ModelComparison` in it is the one of comparison.json.

    Of several weights, comparison.json is a `#/$defs/SeveralComparison`.
    """
    _, definitions = models_json_schema(
        [(one, "serialization") for one in (EvaluationRecord, ModelComparison, SeveralComparison)],
        ref_template="#/$defs/{model}",
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"medzsad evaluation {SCHEMA_VERSION}",
        "$ref": "#/$defs/EvaluationRecord",
        "$defs": definitions["$defs"],
    }


def _part(record: BenchmarkRecord, pictures: Mapping[str, Path], folder: Path | None) -> _Part:
    tables = groups(record)
    names = dict.fromkeys(name for _, metrics in tables for name in metrics)
    return _Part(
        record=record,
        counts="; ".join(text for text in (counts_text(record), flagged_text(record)) if text),
        groups=[group for group, _ in tables],
        rows=[
            (metric_name(name, record.kind), [metric_text(name, metrics[name]) for _, metrics in tables])
            for name in names
        ],
        published=list(published_rows(record)),
        pictures=[(title, _address(path, folder)) for title, path in pictures.items()],
    )


def _address(path: Path, folder: Path | None) -> Markup:
    """Where the picture is found: inside of the page, or as a link from `folder`."""
    if folder is not None and path.is_relative_to(folder):
        return Markup(quote(path.relative_to(folder).as_posix()))  # quoted: no HTML sign is left
    try:
        return embedded_picture(path)
    except OSError as error:
        raise OutputError(f"The picture {path} cannot be read back. Evaluate again.") from error
