"""Our metrics beside published values, and which of these the evaluated model can be held against."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from medzsad.evaluation.published import PublishedValue, published_models, published_values, training_set
from medzsad.evaluation.results import BenchmarkRecord, ComparisonRecord, EvaluationRecord, MetricRecord

# The AUPRO of the papers is that of the code that most of them share.
_OURS = {"aupro": "aupro_rescaled"}


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """What decides whether a published value is one of this model.

    Attributes:
        method: Name of the method.
        tower: Name of the CLIP tower.
        trained_on: What the description of the weights says of their training data.
        protocol: By which it is measured.
        guided: Whether a second backbone guides its features.
    """

    method: str
    tower: str
    trained_on: str
    protocol: str
    guided: bool = False


def published_rows(
    benchmark: str, mean: Mapping[str, MetricRecord], model: EvaluatedModel
) -> tuple[ComparisonRecord, ...]:
    """Every published value of a benchmark beside ours, in percent.

    Args:
        benchmark: Its name.
        mean: Our means over classes.
        model: That was evaluated.
    """
    rows = []
    for one in published_values(benchmark):
        metric = _OURS.get(one.metric, one.metric)
        found = mean.get(metric)
        ours = None if found is None or found.value is None else 100 * found.value
        notes = [f"trained on {one.trained_on}"] if one.trained_on else []
        notes += [one.note] if one.note else []
        notes += ["ours not by the papers' protocol"] if model.protocol == "plain" else []
        rows.append(
            ComparisonRecord(
                metric=metric,
                method=one.method,
                ours=ours,
                published=one.value,
                difference=None if ours is None else ours - one.value,
                source=one.source,
                note="; ".join(notes),
                not_comparable=why_not_comparable(one, model),
            )
        )
    return tuple(rows)


def why_not_comparable(value: PublishedValue, model: EvaluatedModel) -> str:
    """Why a published value is not one of this model under this protocol; "" if it is.

    Args:
        value: Of a source.
        model: That was evaluated.
    """
    theirs = published_models().get(value.method)
    if theirs is None or theirs.method != model.method:
        return f"a value of {value.method}, the model is of {model.method}"
    if theirs.guided != model.guided:
        with_or_without = ["with" if guided else "without" for guided in (theirs.guided, model.guided)]
        return "measured {} guided features, the model is {}".format(*with_or_without)
    if theirs.tower != model.tower.split("/")[0]:
        return f"measured on the tower {theirs.tower}, the model is on {model.tower or 'another one'}"
    if not value.trained_on:
        return "the source does not say what its model was trained on"
    if value.trained_on != training_set(model.trained_on):
        return f"trained on {value.trained_on}, the model on {training_set(model.trained_on) or 'unknown data'}"
    if theirs.protocol != model.protocol:
        return f"measured by the protocol {theirs.protocol}, here by {model.protocol}"
    return ""


def outside_tolerance(record: BenchmarkRecord, tolerance: float) -> list[str]:
    """Which metrics are further from the values published of the same model than the tolerance, in words.

    Where sources disagree, the nearest one counts. A metric that is not defined here is outside.

    Args:
        record: Of a benchmark.
        tolerance: In points of percent.
    """
    own = _comparable(record.published)
    told = []
    for metric in dict.fromkeys(row.metric for row in own):
        rows = [row for row in own if row.metric == metric]
        nearest = min(rows, key=lambda row: float("inf") if row.difference is None else abs(row.difference))
        if nearest.difference is None:
            told.append(f"{record.name} {metric}: undefined, published {nearest.published:g}")
        elif abs(nearest.difference) > tolerance:
            told.append(f"{record.name} {metric}: {nearest.ours:.1f}, published {nearest.published:g}")
    return told


def incomparable_benchmarks(record: EvaluationRecord) -> list[str]:
    """A sentence on each benchmark without any value published of the evaluated model and protocol.

    Args:
        record: Of the evaluation.
    """
    told = []
    for one in record.benchmarks:
        if _comparable(one.published):
            continue
        if not one.published:
            told.append(f"{one.name}: no values are published that medzsad knows of.")
            continue
        same = [row for row in one.published if _method(row.method) == record.model.method]
        reasons = "; ".join(dict.fromkeys(row.not_comparable for row in same)) or f"none is of {record.model.method}"
        told.append(f"{one.name}: {len(one.published)} published values, none of this model and protocol ({reasons}).")
    return told


def _method(published: str) -> str | None:
    model = published_models().get(published)
    return None if model is None else model.method


def _comparable(rows: Iterable[ComparisonRecord]) -> list[ComparisonRecord]:
    return [row for row in rows if not row.not_comparable]
