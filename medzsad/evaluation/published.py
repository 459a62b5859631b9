"""The published values that ours are set beside (assets/published.yaml), and the rows that do so."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from medzsad.errors import ConfigError
from medzsad.evaluation.results import BenchmarkRecord, ComparisonRecord, MetricRecord

PublishedMetric = Literal["image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "pixel_f1max", "aupro"]
OUR_METHOD = "Bayes-PFL"
# The AUPRO of the papers is that of the code that most of them share.
_OURS = {"aupro": "aupro_rescaled"}
PerCent = Annotated[float, Field(gt=0, le=100)]


@dataclass(frozen=True, slots=True)
class PublishedValue:
    """The value of one metric of one method on one benchmark, as one source gives it.

    Attributes:
        benchmark: Name as in the catalog of benchmarks; sets that are not in it, such as mvtec, have names too.
        metric: One of PublishedMetric.
        method: Name of the method.
        value: In per cent.
        source: Where it stands, spelled out.
        note: What to know before comparing; "" for nothing.
        table: Section of METHODS that it comes from.
    """

    benchmark: str
    metric: PublishedMetric
    method: str
    value: float
    source: str
    note: str
    table: str


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Table(_Part):
    table: str
    source: str
    metrics: tuple[PublishedMetric, ...]
    note: str = ""
    values: dict[str, dict[str, tuple[PerCent | None, ...]]]

    @model_validator(mode="after")
    def _as_many_values_as_metrics(self) -> "_Table":
        for method, sets in self.values.items():
            for benchmark, values in sets.items():
                if len(values) != len(self.metrics):
                    raise ValueError(
                        f"{method} on {benchmark} has {len(values)} values for {len(self.metrics)} metrics"
                    )
        return self


class _Published(_Part):
    sources: dict[str, str]
    tables: tuple[_Table, ...]

    @model_validator(mode="after")
    def _sources_are_spelled_out(self) -> "_Published":
        if unknown := {table.source for table in self.tables} - set(self.sources):
            raise ValueError(f"sources that are not spelled out: {', '.join(sorted(unknown))}")
        return self


def published_values(
    benchmark: str, metric: str | None = None, method: str | None = None
) -> tuple[PublishedValue, ...]:
    """The values on a benchmark, in the order of METHODS; several where sources disagree, none where none were found.

    Args:
        benchmark: Its name.
        metric: Only this one.
        method: Only this one; upper and lower case do not count.

    Raises:
        ConfigError: There is no such metric.
    """
    if metric is not None and metric not in get_args(PublishedMetric):
        raise ConfigError(f"Unknown metric {metric!r}. Known are {', '.join(get_args(PublishedMetric))}.")
    return tuple(
        one
        for one in all_published_values()
        if one.benchmark == benchmark
        and metric in (None, one.metric)
        and (method is None or one.method.lower() == method.lower())
    )


@cache
def all_published_values() -> tuple[PublishedValue, ...]:
    """Every published value that is known, in the order of METHODS."""
    text = files("medzsad").joinpath("assets/published.yaml").read_text(encoding="utf-8")
    published = _Published.model_validate(yaml.safe_load(text))
    return tuple(value for table in published.tables for value in _values(table, published.sources[table.source]))


def _values(table: _Table, source: str) -> Iterator[PublishedValue]:
    for method, sets in table.values.items():
        for benchmark, values in sets.items():
            for metric, value in zip(table.metrics, values, strict=True):
                if value is not None:
                    yield PublishedValue(benchmark, metric, method, value, source, table.note, table.table)


def published_rows(benchmark: str, mean: Mapping[str, MetricRecord], protocol: str) -> tuple[ComparisonRecord, ...]:
    """Every published value of a benchmark beside ours, in per cent.

    Args:
        benchmark: Its name.
        mean: Our means over classes.
        protocol: Name of the protocol; one that is not of a paper is said in the note.
    """
    rows = []
    for one in published_values(benchmark):
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
    """Which of our metrics are further from those published of our method than the tolerance, in words.

    Where sources disagree, the nearest one counts. A metric that we do not define is outside.

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
