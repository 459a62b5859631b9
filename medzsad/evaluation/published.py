"""The published values that ours are set beside: assets/published.yaml."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from medzsad.errors import ConfigError

PublishedMetric = Literal["image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "pixel_f1max", "aupro"]
PerCent = Annotated[float, Field(gt=0, le=100)]


@dataclass(frozen=True, slots=True)
class PublishedValue:
    """The value of one metric of one method on one benchmark, as one source gives it.

    Attributes:
        benchmark: Name as in the catalog of benchmarks; sets that are not in it, such as mvtec, have names too.
        metric: One of PublishedMetric.
        method: Name of the method.
        value: In percent.
        source: Where it stands, spelled out.
        note: What to know before comparing; "" for nothing.
        trained_on: Data that its model learned from; "" where the source does not say.
        table: Section of METHODS that it comes from.
    """

    benchmark: str
    metric: PublishedMetric
    method: str
    value: float
    source: str
    note: str
    trained_on: str
    table: str


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Table(_Part):
    table: str
    source: str
    metrics: tuple[PublishedMetric, ...]
    note: str = ""
    trained_on: str = ""
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


class PublishedModel(_Part):
    """The model that a method's published values belong to.

    Attributes:
        method: Its name here.
        tower: Name of its CLIP tower.
        protocol: By which its authors measure.
        guided: Whether a second backbone guides its features.
    """

    method: str
    tower: str
    protocol: str
    guided: bool = False


class _Published(_Part):
    sources: dict[str, str]
    models: dict[str, PublishedModel]
    training_sets: dict[str, tuple[str, ...]]
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
    published = _read()
    return tuple(value for table in published.tables for value in _values(table, published.sources[table.source]))


def published_models() -> dict[str, PublishedModel]:
    """By the name of a published method what a model must be to be held against its values."""
    return dict(_read().models)


def training_set(trained_on: str) -> str:
    """Name of the set that weights learned from, as their description states or as its list of classes tells.

    Args:
        trained_on: Of the description of the weights; what stands behind the first full stop does not count.
    """
    told = trained_on.split(".")[0].strip()
    classes = sorted(name.strip() for name in told.split(","))
    for name, known in _read().training_sets.items():
        if told.lower() == name.lower() or classes == sorted(known):
            return name
    return told


@cache
def _read() -> _Published:
    text = files("medzsad").joinpath("assets/published.yaml").read_text(encoding="utf-8")
    return _Published.model_validate(yaml.safe_load(text))


def _values(table: _Table, source: str) -> Iterator[PublishedValue]:
    for method, sets in table.values.items():
        for benchmark, values in sets.items():
            for metric, value in zip(table.metrics, values, strict=True):
                if value is not None:
                    yield PublishedValue(
                        benchmark, metric, method, value, source, table.note, table.trained_on, table.table
                    )
