"""Our figures beside published ones."""

from collections.abc import Mapping

from medzsad.evaluation.published import published_figures
from medzsad.evaluation.results import BenchmarkRecord, ComparisonRecord, FigureRecord

OUR_METHOD = "Bayes-PFL"
# The AUPRO of the papers is that of the code that most of them share.
_OURS = {"aupro": "aupro_rescaled"}


def published_rows(benchmark: str, mean: Mapping[str, FigureRecord], protocol: str) -> tuple[ComparisonRecord, ...]:
    """Every published figure of a benchmark beside ours, in per cent.

    Args:
        benchmark: Its name.
        mean: Our means over classes.
        protocol: Name of the protocol; one that is not of a paper is said in the note.
    """
    rows = []
    for one in published_figures(benchmark):
        metric = _OURS.get(one.metric, one.metric)
        found = mean.get(metric)
        ours = None if found is None or found.value is None else 100 * found.value
        notes = [one.note] if one.note else []
        if protocol == "plain":
            notes.append("ours not by the papers' protocol")
        rows.append(
            ComparisonRecord(
                metric=metric,
                method=one.method,
                ours=ours,
                published=one.value,
                difference=None if ours is None else ours - one.value,
                source=one.source,
                note="; ".join(notes),
            )
        )
    return tuple(rows)


def outside_tolerance(record: BenchmarkRecord, tolerance: float) -> list[str]:
    """Which of our figures are further from those published of our method than the tolerance, in words.

    Where sources disagree, the nearest one counts. A figure that we do not define is outside.

    Args:
        record: Of a benchmark.
        tolerance: In points of per cent.
    """
    own = [row for row in record.published if row.method == OUR_METHOD]
    told = []
    for metric in dict.fromkeys(row.metric for row in own):
        rows = [row for row in own if row.metric == metric]
        nearest = min(rows, key=lambda row: float("inf") if row.difference is None else abs(row.difference))
        if nearest.difference is None:
            told.append(f"{record.name} {metric}: undefined, published {nearest.published:g}")
        elif abs(nearest.difference) > tolerance:
            told.append(f"{record.name} {metric}: {nearest.ours:.1f}, published {nearest.published:g}")
    return told
