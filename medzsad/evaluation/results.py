"""What results.json holds, as pydantic models. Metrics are shares in [0, 1]; published ones are in percent."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from medzsad.metrics.metric import Metric
from medzsad.output.schema import NOTICE
from medzsad.weights.card import ModelCard

SCHEMA_VERSION: Literal["2.0"] = "2.0"

# Ten digits: enough to compare at 1e-6, few enough that the last bits of a sum do not show.
Number = Annotated[float, Field(allow_inf_nan=False), AfterValidator(lambda value: round(value, 10) + 0.0)]

# Names of files may hold bytes that no text file can hold; they are shown as question marks.
Text = Annotated[str, AfterValidator(lambda value: value.encode("utf-8", "replace").decode("utf-8"))]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MetricRecord(_Record):
    """A metric with its 95 % bootstrap interval; without a value, `reason` says why."""

    value: Number | None
    low: Number | None = None
    high: Number | None = None
    reason: str = ""


class ClassRecord(_Record):
    """The metrics of one class.

    Attributes:
        name: Of the class.
        images: Images, or volumes, that were scored.
        abnormal: Those with a lesion.
        masks: Abnormal ones with a pixel label.
        subjects: Units of the resamples: patients where known, else images.
        metrics: By name, see `medzsad.metrics.metric.METRICS`.
        flagged_normal: Normal ones whose highest pixel or voxel reaches the threshold; None without a threshold.
        flagged_abnormal: Abnormal ones of which the same holds.
    """

    name: Text
    images: int
    abnormal: int
    masks: int
    subjects: int
    metrics: dict[str, MetricRecord]
    flagged_normal: int | None = None
    flagged_abnormal: int | None = None


class ProblemRecord(_Record):
    """Something wrong with the data."""

    kind: str
    severity: Literal["error", "warning"]
    subject: Text
    message: Text


class ComparisonRecord(_Record):
    """A published value beside ours, in percent.

    Attributes:
        metric: Such as "image_auroc".
        method: Who was measured, such as "Bayes-PFL".
        ours: Mean over classes; None where it is not defined.
        published: As printed there.
        difference: Ours minus theirs.
        source: Where the value was published.
        note: What to know before comparing.
        not_comparable: Why it is not a value of the evaluated model under the same protocol; empty if it is one.
    """

    metric: str
    method: str
    ours: Number | None
    published: Number
    difference: Number | None
    source: str
    note: str = ""
    not_comparable: str = ""


class BenchmarkRecord(_Record):
    """The metrics of one benchmark.

    Attributes:
        name: As on the command line.
        title: For people.
        kind: What was scored.
        classes: One per class.
        mean: Mean over the classes that define a metric.
        problems: Of the data; what is an error was left out on request.
        left_out: Images or volumes that were left out because of an error.
        published: Values that others published for the same set.
        data_sha256: Over names and bytes of all images and labels.
    """

    name: str
    title: str
    kind: Literal["pictures", "volumes"]
    classes: tuple[ClassRecord, ...]
    mean: dict[str, MetricRecord]
    problems: tuple[ProblemRecord, ...]
    left_out: int
    published: tuple[ComparisonRecord, ...] = ()
    data_sha256: str = ""


class EvaluationRecord(_Record):
    """All of results.json.

    Attributes:
        protocol: Name of the protocol of picture sets.
        protocol_text: The protocol in one sentence.
        threshold: For Dice and the lesion-wise metrics; None where none is known.
        threshold_provenance: Who chose it.
        seed: Of the prompt samples and of the resamples.
        options: All options as resolved.
        versions: Of the libraries that measured.
    """

    schema_version: Literal["2.0"] = SCHEMA_VERSION
    notice: str = NOTICE
    medzsad_version: str
    model: ModelCard
    protocol: str
    protocol_text: str
    threshold: float | None
    threshold_provenance: str
    seed: int
    options: dict[str, Any]
    benchmarks: tuple[BenchmarkRecord, ...]
    versions: dict[str, str] = Field(default_factory=dict)


class SettingRecord(_Record):
    """One thing in which two evaluations differ.

    Attributes:
        benchmark: Its name in the results; "" for all of them.
        setting: What it is, such as "weights sha256".
        a: In the first evaluation; "" where it is not set or not known.
        b: In the second one.
    """

    benchmark: Text
    setting: str
    a: Text
    b: Text


class DifferenceRecord(_Record):
    """One metric of two models on the same images.

    Attributes:
        benchmark: Its name in the results.
        name: Class, or "mean" over the classes.
        kind: What was scored.
        metric: Name of the metric.
        a: Of the first model; None where it is not defined.
        b: Of the second one.
        difference: b - a.
        low: Lower end of the difference's 95 % interval, both models measured on the same resamples.
        high: Upper end.
        reason: Why there is no difference; empty if there is one.
    """

    benchmark: str
    name: Text
    kind: Literal["pictures", "volumes"]
    metric: str
    a: Number | None
    b: Number | None
    difference: Number | None
    low: Number | None = None
    high: Number | None = None
    reason: str = ""


class ModelComparison(_Record):
    """All of comparison.json: two models on the same data.

    Attributes:
        a: The first model.
        b: The second one.
        protocol: Name of the protocol of picture sets.
        protocol_text: The protocol in one sentence.
        seed: Of the resamples.
        rows: One per benchmark, class and metric.
        differing: All settings in which the two evaluations differ.
    """

    schema_version: Literal["2.0"] = SCHEMA_VERSION
    notice: str = NOTICE
    medzsad_version: str
    a: ModelCard
    b: ModelCard
    protocol: str
    protocol_text: str
    seed: int
    rows: tuple[DifferenceRecord, ...]
    differing: tuple[SettingRecord, ...] = ()


class SeveralComparison(_Record):
    """All of comparison.json of several weights: the first one, and each other compared with it.

    Attributes:
        weights: Their names, which are those of their folders of results.
        comparisons: Of the first (`a`) with each other one (`b`), in their order.
    """

    schema_version: Literal["2.0"] = SCHEMA_VERSION
    notice: str = NOTICE
    medzsad_version: str
    weights: tuple[str, ...]
    comparisons: tuple[ModelComparison, ...]


def metric_records(metrics: Mapping[str, Metric]) -> dict[str, MetricRecord]:
    """The metrics as they are written."""
    return {
        name: MetricRecord(value=one.value, low=one.low, high=one.high, reason=one.reason)
        for name, one in metrics.items()
    }
