"""What models reach on the development data, before and after, beside detectors that know nothing.

`python benchmarks/yardsticks.py ../shared/data --weights A.safetensors --weights medzsad-mini` prints one table: a
column per weights file, then smoothed brightness and darkness, nearness to the center, and an untrained tower like that
of the last weights. `--before FILE.json` puts the columns of an earlier `--json` in front. Everything is zero-shot, at
the fixed threshold that each weights file brings; nothing is trained or chosen on this data here.
"""

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from yardstick_columns import Column, trivial_columns, untrained_column, weights_column
from yardstick_measures import Measure
from yardstick_rows import Data, Rows, headings, measure, read_all

_COUNTS = ("lesions touched", "false components")
_NONE = "–"


def column_record(column: Column, groups: dict[str, Rows]) -> dict[str, Any]:
    """One column as plain JSON values."""
    return {
        "name": column.name,
        "kind": column.kind,
        "sha256": column.sha256,
        "threshold": column.threshold,
        "provenance": column.provenance,
        "values": {
            group: {row: None if value is None else asdict(value) for row, value in rows.items()}
            for group, rows in groups.items()
        },
    }


def cell(row: str, value: dict[str, float | None] | None) -> str:
    """A figure as printed, with its interval where it has one."""
    if value is None:
        return _NONE
    figure = Measure(**value)  # type: ignore[arg-type]
    if row in _COUNTS:
        return f"{figure.value:.0f}"
    if row.startswith("share"):
        return f"{figure.value:.0%}" + ("" if figure.low is None else f" [{figure.low:.0%}, {figure.high:.0%}]")
    return f"{figure.value:.3f}" + ("" if figure.low is None else f" [{figure.low:.3f}, {figure.high:.3f}]")


def table_lines(columns: list[dict[str, Any]], titles: dict[str, str], *, markdown: bool) -> list[str]:
    """The table as lines of text: a heading per data set, a row per figure, a column per detector."""
    head = ["", *(column["name"] for column in columns)]
    body: list[list[str] | str] = []
    for group, title in titles.items():
        body.append(title)
        for row in columns[-1]["values"][group]:
            values = (column["values"].get(group, {}).get(row) for column in columns)
            body.append([row, *(cell(row, value) for value in values)])
    rows = [head, *(row for row in body if not isinstance(row, str))]
    widths = [max(len(row[n]) for row in rows) for n in range(len(head))]

    def line(row: list[str]) -> str:
        padded = [part.ljust(width) for part, width in zip(row, widths, strict=True)]
        return "| " + " | ".join(padded) + " |" if markdown else "  ".join(padded).rstrip()

    lines = [line(head)]
    if markdown:
        lines.append("| " + " | ".join("-" * max(3, width) for width in widths) + " |")
    for row in body:
        if not isinstance(row, str):
            lines.append(line(row))
        elif markdown:
            lines.append(f"| **{row}** |" + " |" * (len(head) - 1))
        else:
            lines += ["", row]
    return lines


def weights_lines(columns: list[dict[str, Any]]) -> list[str]:
    """Which files were measured, their thresholds, and how many normal images they flag."""
    lines = []
    for column in columns:
        if column["kind"] != "weights":
            continue
        lines.append(f"{column['name']}: sha256 {column['sha256'][:12]}, threshold {column['threshold']}")
        lines.append(f"    {column['provenance']}")
        flagged = column["values"]["brain_mri"]["share of normal images flagged"]
        if flagged is not None:
            lines.append(f"    It flags {flagged['value']:.1%} of the normal BrainMRI images.")
    return lines


def read_before(path: Path | None, limit: int | None) -> list[dict[str, Any]]:
    """The weights' columns of an earlier run."""
    if path is None:
        return []
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["limit"] != limit:
        click.echo(f"NOT COMPARABLE: {path.name} has limit {record['limit']}, this run {limit}.\n")
    return [
        column | {"name": f"before: {column['name']}"} for column in record["columns"] if column["kind"] == "weights"
    ]


def measured(data: Data, weights: tuple[str, ...]) -> list[dict[str, Any]]:
    """The columns of all weights, the trivial detectors and the untrained tower."""
    columns = [weights_column(name) for name in weights] + list(trivial_columns())
    untrained = untrained_column(weights[-1])
    records = []
    for column in [*columns, *([untrained] if untrained else [])]:
        started = time.monotonic()
        records.append(column_record(column, measure(data, column)))
        click.echo(f"{column.name}: {time.monotonic() - started:.0f} s", err=True)
    return records


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--weights", multiple=True, default=("medzsad-mini",), show_default=True, help="Name or file; repeatable."
)
@click.option("--before", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="JSON of an earlier run.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the metrics here.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@click.option("--limit", type=click.IntRange(min=4), help="Only so many pictures per set and slices per volume.")
def main(
    data: Path, weights: tuple[str, ...], before: Path | None, json_path: Path | None, markdown: bool, limit: int | None
) -> None:
    """Prints the table for the development data in DATA."""
    with tempfile.TemporaryDirectory() as folder:
        given = read_all(data, limit, Path(folder))
        titles = headings(given)
        columns = measured(given, weights)
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        record = {"limit": limit, "headings": titles, "columns": columns}
        json_path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if limit is not None:
        click.echo(f"LIMITED to {limit} pictures of each set and {limit} slices of each volume: for trying out only.\n")
    shown = read_before(before, limit) + columns
    for line in table_lines(shown, titles, markdown=markdown):
        click.echo(line)
    click.echo()
    for line in weights_lines(shown):
        click.echo(line)
    click.echo("Intervals: 95 %, 1000 bootstrap resamples. Zero-shot: nothing was trained on these images.")


if __name__ == "__main__":
    main()
