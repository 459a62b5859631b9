"""What models reach on the development data, before and after, beside detectors that know nothing.

`python benchmarks/yardsticks.py ../shared/data --weights A.safetensors --weights medzsad-mini` prints three tables. The
first has a column per weights file, then smoothed brightness and darkness, nearness to the center, and an untrained
tower like that of the last weights. The second says on which sets the models rank pixels better than all of these, the
third what they mark in healthy volumes. `--before FILE.json` puts the columns of an earlier `--json` in front.

Everything is zero-shot; every picture and volume is a case of its own, read, scored and decided as `medzsad run` does
by default, at the fixed threshold that each weights file brings. Nothing is trained or chosen on this data here.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from yardstick_columns import Column, untrained_column, weights_column
from yardstick_data import Volume
from yardstick_groups import Group, healthy_records, read_groups, read_healthy
from yardstick_measures import Measure
from yardstick_tables import figure_lines, healthy_lines, precision_lines, weights_lines
from yardstick_trivial import trivial_columns


def column_record(column: Column, groups: Sequence[Group], healthy: Sequence[Volume]) -> dict[str, Any]:
    """One column, measured, as plain JSON values."""
    measured = {group.key: group.rows(column) for group in groups}
    return {
        "name": column.name,
        "kind": column.kind,
        "sha256": column.sha256,
        "threshold": column.threshold,
        "provenance": column.provenance,
        "values": {
            group: {row: asdict(value) if isinstance(value, Measure) else value for row, value in rows.items()}
            for group, rows in measured.items()
        },
        "healthy": {name: asdict(record) for name, record in healthy_records(healthy, column).items()},
    }


def column_records(groups: Sequence[Group], healthy: Sequence[Volume], weights: Sequence[str]) -> list[dict[str, Any]]:
    """The columns of all weights, the trivial detectors and the untrained tower."""
    columns = [weights_column(name) for name in weights] + list(trivial_columns())
    untrained = untrained_column(weights[-1])
    records = []
    for column in [*columns, *([untrained] if untrained else [])]:
        started = time.monotonic()
        records.append(column_record(column, groups, healthy))
        click.echo(f"{column.name}: {time.monotonic() - started:.0f} s", err=True)
    return records


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


def report_lines(columns: list[dict[str, Any]], groups: Sequence[Group], *, markdown: bool) -> list[str]:
    """The three tables and what the columns are."""
    lines = figure_lines(columns, {group.key: group.title for group in groups}, markdown=markdown)
    lines += ["", "Average precision (AP) beside that of detectors that learned nothing:", ""]
    lines += precision_lines(columns, {group.key: group.name for group in groups}, markdown=markdown)
    lines += ["", "Healthy volumes, where all that is marked is false:", ""]
    lines += healthy_lines(columns, markdown=markdown)
    lines += ["", *weights_lines(columns)]
    lines.append("Intervals: 95 %, 1000 bootstrap resamples. Zero-shot: nothing was trained on these images.")
    lines.append("Tissue is what is brighter than half of Otsu's cut, holes filled slice by slice; air is the rest.")
    return lines


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--weights", multiple=True, default=("medzsad-mini",), show_default=True, help="Name or file; repeatable."
)
@click.option("--before", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="JSON of an earlier run.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the metrics here.")
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
@click.option("--limit", type=click.IntRange(min=4), help="Only so many pictures per set and slices per volume.")
def main(
    data: Path, weights: tuple[str, ...], before: Path | None, json_path: Path | None, markdown: bool, limit: int | None
) -> None:
    """Prints the tables for the development data in DATA."""
    with tempfile.TemporaryDirectory() as folder:
        groups = read_groups(data, limit, Path(folder))
        columns = column_records(groups, read_healthy(data, limit, Path(folder)), weights)
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        record = {"limit": limit, "headings": {group.key: group.title for group in groups}, "columns": columns}
        json_path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if limit is not None:
        click.echo(f"LIMITED to {limit} pictures of each set and {limit} slices of each volume: for trying out only.\n")
    for line in report_lines(read_before(before, limit) + columns, groups, markdown=markdown):
        click.echo(line)


if __name__ == "__main__":
    main()
