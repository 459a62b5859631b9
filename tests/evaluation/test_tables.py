"""Metrics in words and rows say what was measured, and nothing that was not."""

import csv
import io

from medzsad.evaluation.results import BenchmarkRecord, ClassRecord
from medzsad.evaluation.tables import (
    CSV_COLUMNS,
    benchmark_lines,
    comparison_csv,
    comparison_text,
    flagged_text,
    metric_name,
    metric_text,
    results_csv,
    results_text,
)
from medzsad.metrics.metric import METRICS
from tests.evaluation.records import KNOWN, benchmark, comparison, evaluation


def test_shares_are_per_cent_and_counts_are_not() -> None:
    assert metric_text("image_auroc", KNOWN["image_auroc"]) == "83.1 [78.0, 87.9]"
    assert metric_text("pixel_ap", KNOWN["pixel_ap"]) == "25.0"
    assert metric_text("false_positives_per_scan", KNOWN["false_positives_per_scan"]) == "2.50 [1.00, 4.25]"


def test_undefined_comes_with_its_reason_and_never_as_zero() -> None:
    assert metric_text("dice", KNOWN["dice"]) == "undefined: no threshold is fixed"
    assert "undefined: no threshold is fixed" in results_text(evaluation())


def test_rows_name_class_metric_and_value() -> None:
    assert benchmark_lines(benchmark()) == [
        ("brain", "image AUROC", "83.1 [78.0, 87.9]"),
        ("brain", "pixel AP", "25.0"),
        ("brain", "Dice at the threshold", "undefined: no threshold is fixed"),
        ("brain", "false positives per scan", "2.50 [1.00, 4.25]"),
    ]


def test_every_metric_has_a_name_for_people() -> None:
    for name in METRICS:
        assert "_" not in metric_name(name, "pictures")
        assert metric_name(name, "pictures") != name
    assert len({metric_name(name, "pictures") for name in METRICS}) == len(METRICS)


def test_the_terminal_says_which_model_and_who_chose_the_threshold() -> None:
    head = results_text(evaluation()).splitlines()[0]
    assert head == "Model a model (00000000), threshold 0.5 (chosen on phantoms)"
    unknown = evaluation().model_copy(update={"threshold": None})
    assert "no threshold" in results_text(unknown).splitlines()[0]


def test_names_from_files_cannot_steer_the_terminal() -> None:
    one = ClassRecord(name="a\x1b[2J\nb", images=2, abnormal=1, masks=1, subjects=2, metrics=KNOWN)
    text = results_text(evaluation(benchmark(classes=(one,))))
    assert "\x1b" not in text
    assert "a?[2J?b" in text


def test_volumes_have_voxels() -> None:
    assert metric_name("image_auroc", "volumes") == "volume AUROC"
    assert metric_name("pixel_ap", "volumes") == "voxel AP"
    assert metric_name("pixel_ap", "pictures") == "pixel AP"


def test_the_protocol_stands_over_every_table() -> None:
    text = results_text(evaluation(benchmark(), benchmark(name="other")), published=True)
    assert text.count("protocol plain: as it is.") == 2
    assert "3 left out; 1 remark on the data" in text
    assert text.count("ours by the protocol plain:") == 2


def test_published_values_stand_beside_ours_with_sign_and_source() -> None:
    (line,) = [line for line in results_text(evaluation(), published=True).splitlines() if "Bayes-PFL" in line]
    assert line.split("  ")[1:] != []
    for word in ("83.1", "94.3", "-11.2", "[P]"):
        assert word in line


def test_the_csv_holds_every_metric_once_with_full_precision() -> None:
    found = list(csv.DictReader(io.StringIO(results_csv(evaluation()))))
    rows = [row for row in found if row["origin"] == "ours"]
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["metric"] for row in rows] == list(KNOWN)
    assert float(rows[0]["value"]) == 0.8314
    assert rows[2]["value"] == ""
    assert rows[2]["reason"] == "no threshold is fixed"


def test_the_csv_holds_published_values_as_rows_of_their_own() -> None:
    found = list(csv.DictReader(io.StringIO(results_csv(evaluation()))))
    (row,) = [row for row in found if row["origin"] == "published"]
    assert (row["benchmark"], row["class"], row["metric"]) == ("brain_mri", "brain", "image_auroc")
    assert (float(row["value"]), float(row["difference"])) == (0.943, -0.1116)
    assert (row["model"], row["source"], row["note"]) == ("Bayes-PFL", "[P] a paper", "second-hand")


def test_spreadsheets_run_no_name_as_a_formula() -> None:
    one = ClassRecord(name="=1+1", images=2, abnormal=1, masks=1, subjects=2, metrics=KNOWN)
    rows = list(csv.DictReader(io.StringIO(results_csv(evaluation(benchmark(classes=(one,)))))))
    assert {row["class"] for row in rows} == {"'=1+1"}


def test_several_classes_have_a_mean() -> None:
    classes = tuple(
        ClassRecord(name=name, images=2, abnormal=1, masks=1, subjects=2, metrics=KNOWN) for name in ("a", "b")
    )
    rows = list(csv.DictReader(io.StringIO(results_csv(evaluation(benchmark(classes=classes))))))
    assert [row["class"] for row in rows] == ["a"] * 4 + ["b"] * 4 + ["mean"] * 4 + ["mean"]
    assert rows[-1]["origin"] == "published"


def test_comparisons_tell_the_difference_with_its_interval() -> None:
    text = comparison_text(comparison())
    assert "12.5 [5.0, 20.0]" in text
    assert "undefined: there are no normal images" in text
    rows = list(csv.DictReader(io.StringIO(comparison_csv(comparison()))))
    assert float(rows[0]["difference"]) == 0.125
    assert rows[1]["difference"] == ""


def test_the_shares_of_flagged_normal_and_abnormal_images_are_said() -> None:
    def one(normal: int | None, abnormal: int | None) -> BenchmarkRecord:
        part = ClassRecord(name="a", images=5, abnormal=2, masks=1, subjects=2, metrics=KNOWN)
        return benchmark(
            classes=(part.model_copy(update={"flagged_normal": normal, "flagged_abnormal": abnormal}),) * 2
        )

    said = "flagged at the threshold: 2 of 6 normal (33.3 %) and 4 of 4 abnormal (100.0 %) images"
    assert flagged_text(one(1, 2)) == said
    assert f"  {said}" in results_text(evaluation(one(1, 2))).splitlines()
    assert flagged_text(one(None, None)) == ""
    assert "flagged" not in results_text(evaluation(one(None, None)))
