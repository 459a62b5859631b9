"""Metrics in words and in rows: for the terminal, the report and results.csv."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from medzsad.evaluation.results import (
    BenchmarkRecord,
    ComparisonRecord,
    EvaluationRecord,
    MetricRecord,
    ModelComparison,
)
from medzsad.output.report import safe_cell

_NAMES = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1max": "image F1-max",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_f1max": "pixel F1-max",
    "aupro": "AUPRO (exact to FPR 0.3)",
    "aupro_rescaled": "AUPRO (200 thresholds, rescaled)",
    "dice": "Dice at the threshold",
    "best_dice": "best Dice (threshold chosen on these data)",
    "lesion_recall": "lesion-wise recall",
    "false_positives_per_scan": "false positives per scan",
}
_COUNTS = ("false_positives_per_scan",)
MEAN = "mean"

# The last four are for rows of published values; `origin` tells these from ours.
CSV_COLUMNS = (
    "benchmark", "class", "metric", "value", "low", "high", "reason", "protocol", "model",
    "origin", "difference", "source", "note",
)  # fmt: skip


def metric_name(name: str, kind: str) -> str:
    """What people call a metric.

    Args:
        name: Such as "image_auroc".
        kind: "pictures" or "volumes".
    """
    words = _NAMES.get(name, name.replace("_", " "))
    if kind == "volumes":
        words = words.replace("image ", "volume ").replace("pixel ", "voxel ")
    return words


def number_text(name: str, value: float | None) -> str:
    """A value in percent, or as it is for counts; a dash if there is none.

    Args:
        name: Of the metric.
        value: A share in [0, 1], or a count.
    """
    if value is None:
        return "–"
    return f"{value:.2f}" if name in _COUNTS else f"{100 * value:.1f}"


def metric_text(name: str, metric: MetricRecord) -> str:
    """A metric as "83.1 [78.0, 87.9]" in percent, or "undefined: " and the reason.

    Args:
        name: Of the metric.
        metric: With its interval.
    """
    if metric.value is None:
        return f"undefined: {metric.reason}"
    text = number_text(name, metric.value)
    if metric.low is None or metric.high is None:
        return text
    return f"{text} [{number_text(name, metric.low)}, {number_text(name, metric.high)}]"


def groups(record: BenchmarkRecord) -> list[tuple[str, Mapping[str, MetricRecord]]]:
    """Metrics by class, and their mean where there are several classes.

    Args:
        record: Of a benchmark.
    """
    found: list[tuple[str, Mapping[str, MetricRecord]]] = [(one.name, one.metrics) for one in record.classes]
    return [*found, (MEAN, record.mean)] if len(found) > 1 else found


def results_text(record: EvaluationRecord, published: bool = False) -> str:
    """The tables for a terminal, the protocol over each of them.

    Args:
        record: Of the evaluation.
        published: Add the values that others published.
    """
    threshold = "no threshold"
    if record.threshold is not None:
        threshold = f"threshold {record.threshold:.4g} ({record.threshold_provenance})"
    lines = [
        f"Model {record.model.name} ({record.model.sha256[:8]}), {threshold}",
        "95 % intervals by subject; percent unless it is a count.",
    ]
    for one in record.benchmarks:
        lines += ["", _headline(one), *_protocol_lines(record, one), f"  {counts_text(one)}"]
        lines += [f"  {flagged}"] if (flagged := flagged_text(one)) else []
        lines += aligned_rows([("class", "metric", "ours [95 % interval]"), *benchmark_lines(one)])
        if one.published and published:
            by = f", ours by the protocol {record.protocol}" if one.kind == "pictures" else ""
            lines += ["", f"  values that others published for this set{by}:"]
            header = ("metric", "method", "ours", "published", "difference", "source")
            lines += aligned_rows([header, *(row[:6] for row in published_rows(one))])
    return "\n".join(lines)


def comparison_text(comparison: ModelComparison) -> str:
    """The differences of two models for a terminal.

    Args:
        comparison: Of the two.
    """
    header = ("benchmark", "class", "metric", "A", "B", "B - A [95 % interval]")
    return "\n".join(
        [
            f"A: {comparison.a.name} ({comparison.a.sha256[:8]})",
            f"B: {comparison.b.name} ({comparison.b.sha256[:8]})",
            comparison.protocol_text,
            *_differing_lines(comparison),
            "Both measured on the same resamples of subjects; percent unless it is a count.",
            *aligned_rows([header, *difference_rows(comparison)]),
        ]
    )


def difference_rows(comparison: ModelComparison) -> list[tuple[str, ...]]:
    """A row of text per metric of two models.

    Args:
        comparison: Of the two.
    """
    rows: list[tuple[str, ...]] = []
    for row in comparison.rows:
        values = number_text(row.metric, row.a), number_text(row.metric, row.b)
        difference = f"undefined: {row.reason}"
        if row.difference is not None:
            shown = MetricRecord(value=row.difference, low=row.low, high=row.high)
            difference = metric_text(row.metric, shown)
        rows.append((row.benchmark, row.name, metric_name(row.metric, row.kind), *values, difference))
    return rows


def results_csv(record: EvaluationRecord) -> str:
    """results.csv: one row per benchmark, class and metric; values as shares, not percent.

    Each published value has a row of its own after those of its benchmark, with origin "published", its method as the
    model, and the difference ours - published.

    Args:
        record: Of the evaluation.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for one in record.benchmarks:
        for group, metrics in groups(one):
            for name, metric in metrics.items():
                values = ("" if value is None else value for value in (metric.value, metric.low, metric.high))
                row = (one.name, group, name, *values, metric.reason, record.protocol, record.model.name)
                writer.writerow([safe_cell(cell) for cell in (*row, "ours", "", "", "")])
        # Set beside the mean, which of a single class is that class.
        group = MEAN if len(one.classes) > 1 else one.classes[0].name
        for published in one.published:
            writer.writerow([safe_cell(cell) for cell in (one.name, group, *_published_cells(published))])
    return text.getvalue()


def _published_cells(row: ComparisonRecord) -> tuple[float | str, ...]:
    difference = "" if row.difference is None else round(row.difference / 100, 10)
    value = round(row.published / 100, 10)
    return row.metric, value, "", "", "", "", row.method, "published", difference, row.source, row.note


def comparison_csv(comparison: ModelComparison) -> str:
    """comparison.csv: one row per benchmark, class and metric; values as shares, not percent.

    Args:
        comparison: Of two models.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("benchmark", "class", "metric", "a", "b", "difference", "low", "high", "reason"))
    for row in comparison.rows:
        values = ("" if value is None else value for value in (row.a, row.b, row.difference, row.low, row.high))
        writer.writerow([safe_cell(cell) for cell in (row.benchmark, row.name, row.metric, *values, row.reason)])
    return text.getvalue()


def _differing_lines(comparison: ModelComparison) -> list[str]:
    if not comparison.differing:
        return ["A and B agree in model, data, options and versions."]
    return ["A and B differ in:", *aligned_rows([("benchmark", "setting", "A", "B"), *setting_rows(comparison)])]


def setting_rows(comparison: ModelComparison) -> list[tuple[str, str, str, str]]:
    """Rows of text: benchmark or "all", setting, and its value in A and in B; digests are shortened.

    Args:
        comparison: Of two evaluations.
    """
    return [
        (row.benchmark or "all", row.setting, _setting_text(row.setting, row.a), _setting_text(row.setting, row.b))
        for row in comparison.differing
    ]


def _setting_text(setting: str, value: str) -> str:
    return value[:12] if setting.endswith("sha256") and value else value or "–"


def _headline(one: BenchmarkRecord) -> str:
    return one.title if one.name in one.title else f"{one.title}: {one.name}"


def _protocol_lines(record: EvaluationRecord, one: BenchmarkRecord) -> list[str]:
    if one.kind == "volumes":
        return ["  volumes scored as `medzsad run` does, on their own grid"]
    return [f"  protocol {record.protocol_text}"]


def counts_text(one: BenchmarkRecord) -> str:
    """What was measured, in words.

    Args:
        one: The benchmark.
    """
    images, abnormal = (sum(getattr(part, key) for part in one.classes) for key in ("images", "abnormal"))
    noun = "images" if one.kind == "pictures" else "volumes"
    text = f"{images} {noun}, {abnormal} with a lesion, {sum(part.masks for part in one.classes)} with a mask"
    text += f", {one.left_out} left out" if one.left_out else ""
    remarks = f"{len(one.problems)} remark{'s' * (len(one.problems) != 1)}"
    return text + (f"; {remarks} on the data in the report" if one.problems else "")


def flagged_text(one: BenchmarkRecord) -> str:
    """How many normal and abnormal ones have a pixel or voxel at the threshold, in words; empty without a threshold.

    Args:
        one: The benchmark.
    """
    if any(part.flagged_normal is None or part.flagged_abnormal is None for part in one.classes):
        return ""
    abnormal = sum(part.abnormal for part in one.classes)
    halves = (
        (
            "normal",
            sum(part.flagged_normal or 0 for part in one.classes),
            sum(p.images for p in one.classes) - abnormal,
        ),
        ("abnormal", sum(part.flagged_abnormal or 0 for part in one.classes), abnormal),
    )
    shares = [f"{count} of {of} {word} ({100 * count / of:.1f} %)" for word, count, of in halves if of]
    noun = "images" if one.kind == "pictures" else "volumes"
    return f"flagged at the threshold: {' and '.join(shares)} {noun}" if shares else ""


def benchmark_lines(record: BenchmarkRecord) -> list[tuple[str, str, str]]:
    """Rows of text: class or "mean", metric, and its value with interval or the reason why there is none.

    Args:
        record: Of a benchmark.
    """
    return [
        (group, metric_name(name, record.kind), metric_text(name, metric))
        for group, metrics in groups(record)
        for name, metric in metrics.items()
    ]


def published_rows(one: BenchmarkRecord) -> Iterator[tuple[str, ...]]:
    """Rows of text: metric, method, ours, published, difference, source, note, why not comparable; in percent.

    Args:
        one: The benchmark.
    """
    for row in one.published:
        ours = "–" if row.ours is None else f"{row.ours:.1f}"
        difference = "–" if row.difference is None else f"{row.difference:+.1f}"
        numbers = ours, f"{row.published:g}", difference
        yield metric_name(row.metric, one.kind), row.method, *numbers, row.source, row.note, row.not_comparable


def aligned_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with aligned columns, the first one underlined."""
    # A name from a file must not steer the terminal.
    rows = [["".join(sign if sign.isprintable() else "?" for sign in cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "  " + "  ".join("-" * width for width in widths))
    return [line.rstrip() for line in lines]
