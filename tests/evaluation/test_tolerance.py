"""A model is held against published values only if they are of such a model under such a protocol."""

from dataclasses import replace

import pytest

from medzsad.evaluation.published import training_set
from medzsad.evaluation.results import MetricRecord
from medzsad.evaluation.tolerance import (
    EvaluatedModel,
    incomparable_benchmarks,
    outside_tolerance,
    published_rows,
)
from tests.evaluation.records import MODEL, benchmark, evaluation

PUBLISHED = EvaluatedModel("bayes_pfl", "ViT-L-14-336", "VisA", "bayes-pfl")
VISA = (
    "candle, capsules, cashew, chewinggum, fryum, macaroni1, macaroni2, pcb1, pcb2, pcb3, pcb4, pipe_fryum. "
    "Data sha256 0123456789ab."
)


def _reasons(model: EvaluatedModel) -> set[str]:
    rows = published_rows("bmad_liver", {}, model)
    return {row.not_comparable for row in rows if row.method == "Bayes-PFL"}


def test_the_published_model_under_its_protocol_is_held_against_its_own_values_only() -> None:
    rows = published_rows("bmad_liver", {}, PUBLISHED)
    assert {row.method for row in rows if not row.not_comparable} == {"Bayes-PFL"}
    assert len({row.method for row in rows}) > 3
    assert all(row.note.startswith("trained on VisA") for row in rows if not row.not_comparable)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"method": "cops"}, "the model is of cops"),
        ({"tower": "medzsad-hybrid"}, "tower ViT-L-14-336"),
        ({"trained_on": "MVTec AD"}, "the model on MVTec AD"),
        ({"trained_on": ""}, "unknown data"),
        ({"protocol": "plain"}, "by the protocol bayes-pfl, here by plain"),
        ({"protocol": "cops"}, "here by cops"),
    ],
)
def test_another_model_or_protocol_has_nothing_to_be_held_against(changes: dict[str, str], word: str) -> None:
    (reason,) = _reasons(replace(PUBLISHED, **changes))
    assert word in reason


def test_a_source_that_does_not_say_what_it_trained_on_is_not_compared() -> None:
    rows = [row for row in published_rows("brain_mri", {}, PUBLISHED) if row.method == "Bayes-PFL"]
    assert {row.not_comparable for row in rows} == {"the source does not say what its model was trained on"}


def test_weights_trained_here_on_all_classes_of_a_set_are_trained_on_it() -> None:
    assert training_set(VISA) == "VisA"
    assert training_set("visa. Data sha256 1.") == "VisA"
    assert training_set("candle, capsules. Data sha256 1.") == "candle, capsules"
    assert _reasons(replace(PUBLISHED, trained_on=VISA, tower="ViT-L-14-336/openai")) == {""}


def test_only_comparable_values_can_be_outside_the_tolerance() -> None:
    mean = {name: MetricRecord(value=0.5) for name in ("image_auroc", "image_ap", "pixel_auroc")}
    near = benchmark(name="liver", published=published_rows("bmad_liver", mean, PUBLISHED))
    assert [line.split(":")[0] for line in outside_tolerance(near, 10)] == [
        "liver pixel_auroc", "liver pixel_ap", "liver image_auroc",
    ]  # fmt: skip
    other = benchmark(published=published_rows("bmad_liver", mean, replace(PUBLISHED, protocol="plain")))
    assert outside_tolerance(other, 0) == []


def test_each_benchmark_that_cannot_be_judged_is_named_with_the_reason() -> None:
    judged = benchmark(name="liver", published=published_rows("bmad_liver", {}, PUBLISHED))
    plain = benchmark(name="plain", published=published_rows("bmad_liver", {}, replace(PUBLISHED, protocol="plain")))
    own = benchmark(name="own", published=())
    told = incomparable_benchmarks(evaluation(judged, plain, own))
    assert len(told) == 2
    assert told[0].startswith("plain: ")
    assert "by the protocol bayes-pfl, here by plain" in told[0]
    assert told[1] == "own: no values are published that medzsad knows of."
    cops = evaluation(plain).model_copy(update={"model": MODEL.model_copy(update={"method": "cops"})})
    assert "none is of cops" in incomparable_benchmarks(cops)[0]


def test_values_of_guided_features_are_for_guided_models_alone() -> None:
    plain = EvaluatedModel("crane", "ViT-L-14-336", "MVTec AD", "anomalyclip")
    for model, own, other in ((plain, "Crane", "Crane+"), (replace(plain, guided=True), "Crane+", "Crane")):
        rows = [row for row in published_rows("head_ct", {}, model) if row.method in {own, other}]
        assert {row.method for row in rows} == {own, other}
        assert all(("guided features" in row.not_comparable) == (row.method == other) for row in rows)
    assert any(not row.not_comparable for row in published_rows("head_ct", {}, plain) if row.method == "Crane")
