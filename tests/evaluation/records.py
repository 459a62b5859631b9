"""Records of a made-up evaluation."""

from typing import Any

from medzsad.evaluation.results import (
    BenchmarkRecord,
    ClassRecord,
    ComparisonRecord,
    DifferenceRecord,
    EvaluationRecord,
    MetricRecord,
    ModelComparison,
    ProblemRecord,
)
from medzsad.output.schema import ModelRecord

MODEL = ModelRecord(
    name="a model",
    method="bayes_pfl",
    stage=2,
    sha256="0" * 64,
    clip_name="tower",
    clip_sha256="1" * 64,
    samples=4,
    class_name="brain",
    threshold=0.5,
    threshold_provenance="chosen on phantoms",
    licence="MIT",
    source="nowhere",
    description="for tests",
)
KNOWN = {
    "image_auroc": MetricRecord(value=0.8314, low=0.78, high=0.8794),
    "pixel_ap": MetricRecord(value=0.25),
    "dice": MetricRecord(value=None, reason="no threshold is fixed"),
    "false_positives_per_scan": MetricRecord(value=2.5, low=1.0, high=4.25),
}


def benchmark(**changes: Any) -> BenchmarkRecord:
    """A benchmark of one class with a published metric and a problem."""
    one = ClassRecord(name="brain", images=20, abnormal=12, masks=11, subjects=9, metrics=KNOWN)
    fields: dict[str, Any] = {
        "name": "brain_mri",
        "title": "Brains",
        "kind": "pictures",
        "classes": (one,),
        "mean": KNOWN,
        "problems": (ProblemRecord(kind="missing_mask", severity="warning", subject="<b>a</b>.png", message="None."),),
        "left_out": 3,
        "published": (
            ComparisonRecord(
                metric="image_auroc",
                method="Bayes-PFL",
                ours=83.14,
                published=94.3,
                difference=-11.16,
                source="[P] a paper",
                note="second-hand",
            ),
        ),
    }
    return BenchmarkRecord(**{**fields, **changes})


def evaluation(*benchmarks: BenchmarkRecord) -> EvaluationRecord:
    """An evaluation of these benchmarks, or of one."""
    return EvaluationRecord(
        medzsad_version="0",
        model=MODEL,
        protocol="plain",
        protocol_text="plain: as it is.",
        threshold=0.5,
        threshold_provenance="chosen on phantoms",
        seed=0,
        options={"device": "cpu"},
        benchmarks=benchmarks or (benchmark(),),
    )


def comparison() -> ModelComparison:
    """Two models with one difference and one that is not defined."""
    rows = (
        DifferenceRecord(
            benchmark="brain_mri", name="brain", kind="pictures", metric="pixel_ap",
            a=0.25, b=0.375, difference=0.125, low=0.05, high=0.2,
        ),
        DifferenceRecord(
            benchmark="brain_mri", name="brain", kind="pictures", metric="image_auroc",
            a=None, b=None, difference=None, reason="there are no normal images",
        ),
    )  # fmt: skip
    return ModelComparison(
        medzsad_version="0", a=MODEL, b=MODEL, protocol="plain", protocol_text="plain: as it is.", seed=0, rows=rows
    )
