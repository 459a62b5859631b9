"""The catalog of benchmarks is complete and explains itself."""

import pytest
from pydantic import ValidationError

from medzsad.datasets.benchmark_layouts import READERS
from medzsad.datasets.benchmarks import (
    Benchmark,
    all_benchmarks,
    find_benchmark,
    list_benchmarks_text,
    names_of_others,
    own_names,
)
from medzsad.errors import ConfigError

NAMES = {
    *("brain_mri", "brain_mri_153", "br35h", "head_ct", "isic", "colondb", "clinicdb", "kvasir", "endo", "tn3k"),
    *("bmad_brain", "bmad_liver", "bmad_resc", "bmad_oct2017", "bmad_chest", "bmad_histopathology"),
    *("brats", "lits", "msd", "pairs", "synthetic"),
}


def test_every_benchmark_of_the_papers_is_known() -> None:
    assert {benchmark.name for benchmark in all_benchmarks()} >= NAMES


def test_only_the_three_sets_of_the_papers_score_images_by_classification_alone() -> None:
    alone = {b.name for b in all_benchmarks() if b.image_score == "classification"}
    assert alone == {"brain_mri", "brain_mri_153", "br35h", "head_ct"}


@pytest.mark.parametrize(
    ("name", "class_name", "normal", "abnormal", "masks"),
    [
        ("brain_mri", "brain ct", 98, 155, False),
        ("brain_mri_153", "brain ct", 85, 68, False),
        ("br35h", "brain", 1500, 1500, False),
        ("head_ct", "head ct", 100, 100, False),
        ("bmad_brain", "brain", 640, 3075, True),
        ("bmad_liver", "liver", 833, 660, True),
        ("bmad_resc", "retina", 1041, 764, True),
        ("isic", "skin", 0, 379, True),
        ("clinicdb", "colon", 0, 612, True),
        ("tn3k", "thyroid", 0, 614, True),
    ],
)
def test_words_counts_and_masks_are_those_of_the_papers(
    name: str, class_name: str, normal: int, abnormal: int, masks: bool
) -> None:
    benchmark = find_benchmark(name)
    counts = benchmark.counts
    assert (benchmark.class_name, counts.normal, counts.abnormal, counts.total, benchmark.pixel_masks) == (
        class_name,
        normal,
        abnormal,
        normal + abnormal,
        masks,
    )


def test_the_list_tells_of_every_set_where_to_get_it_and_what_it_holds() -> None:
    text = list_benchmarks_text()
    blocks = text.split("\n\n")
    assert len(blocks) == len(all_benchmarks())
    for benchmark, block in zip(all_benchmarks(), blocks, strict=True):
        assert block.startswith(f"{benchmark.name}: {benchmark.title}")
        assert all(f"  {key} " in block for key in ("get it", "license", "layout", "counts"))
    assert "640 normal, 3075 abnormal" in text
    assert "968 images; how many are abnormal is not known" in text


def test_every_reader_of_a_picture_set_exists() -> None:
    for benchmark in all_benchmarks():
        assert bool(benchmark.readers) == (benchmark.kind != "generated")
        if benchmark.kind == "pictures":
            assert set(benchmark.readers) <= {*READERS, "any"}


def test_no_two_sets_share_a_folder_name_but_the_two_indices_of_one_set() -> None:
    for benchmark in all_benchmarks():
        others = [o for o in all_benchmarks() if o.name != benchmark.name and own_names(o) & own_names(benchmark)]
        assert {o.name for o in others} <= {"brain_mri", "brain_mri_153"}
        assert not own_names(benchmark) & names_of_others(benchmark)


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no benchmark called 'bmad_livr'\. Did you mean bmad_liver\?"):
        find_benchmark("bmad_livr")


def test_an_unknown_key_of_the_catalog_is_refused() -> None:
    with pytest.raises(ValidationError, match="organ"):
        Benchmark(**{**find_benchmark("isic").model_dump(), "organ": "skin"})
