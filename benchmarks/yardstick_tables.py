"""The tables as text: all figures, the models' average precision beside the trivial detectors', the healthy volumes."""

from collections.abc import Sequence
from typing import Any

from yardstick_measures import Measure

_NONE = "–"
_BRIGHTNESS = "brightness"
_PRECISIONS = ("pixel AP", "voxel AP", "image AP")

Record = dict[str, Any]
Row = list[str] | str


def figure_lines(columns: Sequence[Record], titles: dict[str, str], *, markdown: bool) -> list[str]:
    """All figures: a heading per data set, a row per figure, a column per detector.

    Args:
        columns: As in the JSON file; the last one tells the rows.
        titles: Heading of each group.
        markdown: Whether the table is Markdown.
    """
    body: list[Row] = []
    for group, title in titles.items():
        body.append(title)
        for row in columns[-1]["values"][group]:
            body.append([row, *(cell(row, _value(column, group, row)) for column in columns)])
    return aligned(["", *(column["name"] for column in columns)], body, markdown=markdown)


def cell(row: str, value: Record | str | None) -> str:
    """A figure as printed, with its interval where it has one."""
    if value is None or isinstance(value, str):
        return value or _NONE
    figure = Measure(**value)
    if row.startswith("lesions") or row == "false components":
        return f"{figure.value:.0f}"
    if "ml" in row.split():
        return f"{figure.value:.2f}"
    if row.startswith("share"):
        return f"{figure.value:.0%}" + ("" if figure.low is None else f" [{figure.low:.0%}, {figure.high:.0%}]")
    return f"{figure.value:.3f}" + ("" if figure.low is None else f" [{figure.low:.3f}, {figure.high:.3f}]")


def precision_lines(columns: Sequence[Record], names: dict[str, str], *, markdown: bool) -> list[str]:
    """Per set, whether each model's average precision is above that of the best detector that learned nothing.

    Args:
        columns: As in the JSON file.
        names: Short name of each group.
        markdown: Whether the table is Markdown.
    """
    models = [column for column in columns if column["kind"] == "weights"]
    rivals = [column for column in columns if column["kind"] != "weights"]
    body: list[Row] = []
    for group, name in names.items():
        for row in (row for row in columns[-1]["values"][group] if row.partition(",")[0] in _PRECISIONS):
            known = {rival["name"]: value["value"] for rival in rivals if (value := _value(rival, group, row))}
            best = max(known, key=lambda rival: known[rival])
            parts = [name, row, f"{best} {known[best]:.3f}"]
            for model in models:
                value = _value(model, group, row)
                parts.append(_NONE if value is None else _compared(value["value"], known[best], known[_BRIGHTNESS]))
            body.append(parts)
    return aligned(["", "", "best trivial detector", *(model["name"] for model in models)], body, markdown=markdown)


def _compared(precision: float, best: float, brightness: float) -> str:
    verdict = "above" if precision > best else "NOT above"
    return f"{precision:.3f} {verdict}, {precision / max(brightness, 1e-9):.2f} x {_BRIGHTNESS}"


def healthy_lines(columns: Sequence[Record], *, markdown: bool) -> list[str]:
    """Per model, what it says of each healthy volume, and how many of them it calls a lesion."""
    head = ["", "outcome", "lesions", "marked ml", "in tissue", "in air", "largest lesion, ml"]
    body: list[Row] = []
    for column in columns:
        records = column.get("healthy") or {}
        if not records:
            continue
        body.append(column["name"])
        for name, record in records.items():
            sizes = (record[key] for key in ("marked_ml", "tissue_ml", "air_ml", "largest_ml"))
            body.append([name, record["outcome"], str(record["lesions"]), *(f"{size:.2f}" for size in sizes)])
        called = sum(record["outcome"] == "lesion" for record in records.values())
        most = max(record["marked_ml"] for record in records.values())
        body.append(["all", f"called lesion: {called} of {len(records)}", "", f"largest: {most:.2f}", "", "", ""])
    return aligned(head, body, markdown=markdown) if body else []


def aligned(head: list[str], body: Sequence[Row], *, markdown: bool) -> list[str]:
    """Lines of a table; a row that is one text is a heading within it."""
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


def weights_lines(columns: Sequence[Record]) -> list[str]:
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


def _value(column: Record, group: str, row: str) -> Any:
    return column["values"].get(group, {}).get(row)
