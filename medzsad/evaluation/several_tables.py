"""Several weights in rows: for the terminal, the report and comparison.csv."""

import csv
import io

from medzsad.evaluation.results import DifferenceRecord, MetricRecord, SeveralComparison
from medzsad.evaluation.tables import aligned_rows, metric_name, metric_text, number_text
from medzsad.output.report import safe_cell

_CSV_COLUMNS = ("benchmark", "class", "metric", "weights", "value", "difference", "low", "high", "reason")


def several_rows(found: SeveralComparison) -> list[tuple[str, ...]]:
    """A heading, then a row of text per benchmark, class and metric: the first value, others with their difference.

    Args:
        found: Of several weights.
    """
    first, *others = found.weights
    rows = [("benchmark", "class", "metric", first, *(f"{name} [difference, 95 % interval]" for name in others))]
    for same in zip(*(one.rows for one in found.comparisons), strict=True):
        row = same[0]
        names = row.benchmark, row.name, metric_name(row.metric, row.kind)
        rows.append((*names, number_text(row.metric, row.a), *(_cell(one) for one in same)))
    return rows


def _cell(row: DifferenceRecord) -> str:
    value = number_text(row.metric, row.b)
    if row.difference is None:
        return f"{value} (undefined: {row.reason})" if row.reason else value
    change = metric_text(row.metric, MetricRecord(value=row.difference, low=row.low, high=row.high))
    return f"{value} ({'' if row.difference < 0 else '+'}{change})"


def several_text(found: SeveralComparison) -> str:
    """The table for a terminal.

    Args:
        found: Of several weights.
    """
    first = found.comparisons[0]
    return "\n".join(
        [
            first.protocol_text,
            f"Differences are to {found.weights[0]}, measured on the same resamples of subjects; percent unless "
            "it is a count.",
            *aligned_rows(several_rows(found)),
        ]
    )


def several_csv(found: SeveralComparison) -> str:
    """comparison.csv: one row per benchmark, class, metric and weights; values as shares, not percent.

    Args:
        found: Of several weights.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for same in zip(*(one.rows for one in found.comparisons), strict=True):
        lines = [(found.weights[0], same[0].a, None, None, None, "")]
        lines += [
            (name, row.b, row.difference, row.low, row.high, row.reason)
            for name, row in zip(found.weights[1:], same, strict=True)
        ]
        for line in lines:
            cells = (same[0].benchmark, same[0].name, same[0].metric, *line)
            writer.writerow([safe_cell("" if cell is None else cell) for cell in cells])
    return text.getvalue()
