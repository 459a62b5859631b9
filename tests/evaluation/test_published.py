"""Published values are those of METHODS, with their sources."""

from collections import Counter

import pytest

from medzsad.datasets.benchmarks import all_benchmarks
from medzsad.errors import ConfigError
from medzsad.evaluation.published import all_published_values, published_values


@pytest.mark.parametrize(
    ("benchmark", "metric", "method", "letter", "value"),
    [
        ("brain_mri", "image_auroc", "Bayes-PFL", "[P]", 94.3),
        ("brain_mri", "image_auroc", "Bayes-PFL", "[D]", 91.2),
        ("br35h", "image_auroc", "Bayes-PFL", "[D]", 94.0),
        ("kvasir", "aupro", "Bayes-PFL", "[P]", 63.9),
        ("bmad_resc", "pixel_ap", "Bayes-PFL", "[M]", 55.0),
        ("rsdd", "image_ap", "Bayes-PFL", "[O]", 92.3),
        ("mvtec", "pixel_auroc", "Bayes-PFL", "a leaderboard", 91.8),
        ("isic", "pixel_ap", "CoPS", "[C]", 85.6),
        ("mpdd", "pixel_auroc", "CoPS", "[C]", 97.5),
        ("br35h", "image_ap", "APRIL-GAN", "[A]", 92.9),
        ("brain_mri", "image_f1max", "Crane", "[K]", 93.9),
        ("covid_19", "image_ap", "AnomalyCLIP", "[A]", 58.7),
        ("br35h", "image_ap", "FAPrompt", "[F]", 96.7),
        ("endo", "aupro", "AdaCLIP", "[P]", 12.1),
        ("tn3k", "pixel_f1max", "AnomalyCLIP", "[A]", 47.9),
        ("tn3k", "aupro", "Crane+", "[K]", 51.7),
        ("cvc_300", "pixel_ap", "AnomalyCLIP", "[M]", 56.4),
        ("bmad_liver", "pixel_auroc", "MoECLIP", "[M]", 97.2),
        ("bmad_liver", "image_ap", "MoECLIP", "[M]", 64.6),
        ("head_ct", "image_auroc", "WinCLIP", "[M]", 83.7),
        ("bmad_resc", "image_ap", "AA-CLIP", "[L]", 81.8),
        ("bmad_chest", "image_auroc", "MVFA, 4-shot", "[V]", 81.95),
        ("bmad_liver", "aupro", "RD4AD", "[B]", 90.13),
        ("bmad_histopathology", "image_auroc", "PatchCore", "[B]", 69.34),
    ],
)
def test_metrics_are_those_of_the_sources(benchmark: str, metric: str, method: str, letter: str, value: float) -> None:
    (found,) = (f for f in published_values(benchmark, metric, method) if f.source.startswith(letter))
    assert found.value == value


def test_every_table_is_whole() -> None:
    counts = Counter(one.table for one in all_published_values())
    # E.1 without the 24 values of [M] that E.5 has, E.3 without the CoPS row of E.2, E.4 without the row of E.1.
    assert counts == {"E.1": 29, "E.2": 36, "E.3": 80, "E.4": 112, "E.5": 188, "E.6": 53}


def test_metrics_retrained_by_another_paper_say_so() -> None:
    retrained = {f.method for f in all_published_values() if "retrained by them" in f.source}
    assert retrained == {"AdaCLIP", "AA-CLIP"}
    assert all(f.table == "E.5" for f in all_published_values() if "retrained by them" in f.source)


def test_disagreeing_sources_both_stay() -> None:
    assert [f.value for f in published_values("head_ct", "image_auroc", "bayes-pfl")] == [91.9, 95.4]
    assert {f.value for f in published_values("clinicdb", "pixel_auroc", "Bayes-PFL")} == {86.1, 88.2}
    assert [f.value for f in published_values("bmad_liver", "image_auroc", "MVFA")] == [76.24, 81.18]


def test_doubtful_metrics_carry_a_note() -> None:
    (found,) = published_values("br35h", "image_ap", "Bayes-PFL")
    assert (found.value, "may be F1" in found.note) == (93.6, True)


@pytest.mark.parametrize(
    ("benchmark", "method"),
    [
        ("isic", "Bayes-PFL"),
        ("tn3k", "Bayes-PFL"),
        ("bmad_oct2017", "Bayes-PFL"),
        ("bmad_chest", "Bayes-PFL"),
        ("bmad_histopathology", "AnomalyCLIP"),
        ("tn3k", "CoPS"),
        ("bmad_brain", "CoPS"),
        ("endo", "Crane"),
        ("bmad_brain", "FAPrompt"),
    ],
)
def test_what_was_not_found_is_not_filled_in(benchmark: str, method: str) -> None:
    assert published_values(benchmark, method=method) == ()


def test_no_metric_is_entered_twice() -> None:
    keys = Counter((f.benchmark, f.metric, f.method, f.source) for f in all_published_values())
    assert [key for key, count in keys.items() if count > 1] == []


def test_benchmarks_go_by_the_names_of_the_catalog() -> None:
    industrial = {"btad", "mpdd", "dtd", "ksdd2", "dagm", "rsdd"}
    others = {"cvc_300", "covid_19", "bmad_mean"}
    known = {benchmark.name for benchmark in all_benchmarks()}
    assert {f.benchmark for f in all_published_values()} - known == industrial | others


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="Known are image_auroc, "):
        published_values("isic", "pixel_pro")
