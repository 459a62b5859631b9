"""Patients are told by file names only where the names of a set leave no doubt."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from medzsad.datasets.records import Record
from medzsad.datasets.subjects import subjects_from_names


def _told(names: Sequence[str]) -> tuple[list[str], list[str]]:
    records = [Record(Path("set") / name, None, 0, "organ", "") for name in names]
    named, remarks = subjects_from_names(records)
    assert [record.image for record in named] == [record.image for record in records]
    return [record.subject for record in named], [remark.message for remark in remarks]


@pytest.mark.parametrize(
    ("names", "subjects"),
    [
        (
            ["TCGA_CS_4941_19960909_12.tif", "TCGA_CS_4941_19960909_13.tif", "TCGA_CS_4942_19970222_1.tif"],
            ["TCGA_CS_4941", "TCGA_CS_4941", "TCGA_CS_4942"],
        ),
        (
            ["patient012_slice03.png", "patient012_slice04.png", "patient1_slice04.png"],
            ["patient012", "patient012", "patient1"],
        ),
        (["sub-01_FLAIR_z3.png", "sub-01_FLAIR_z9.png", "sub-x2_T1.png"], ["sub-01", "sub-01", "sub-x2"]),
        (
            [
                "BraTS20_Training_001_slice_77.png",
                "BraTS20_Training_001_slice_78.png",
                "BraTS20_Training_014_slice_2.png",
            ],
            ["BraTS20_Training_001", "BraTS20_Training_001", "BraTS20_Training_014"],
        ),
    ],
    ids=["tcga", "slice", "bids", "brats"],
)
def test_patients_are_told_by_names_that_carry_them(names: list[str], subjects: list[str]) -> None:
    told, (message,) = _told(names)
    assert told == subjects
    assert "tell 2 patients of 3 images" in message


@pytest.mark.parametrize(
    "names",
    [
        ["benign (1).png", "benign (2).png", "malignant (1).png"],
        ["1.png", "2.png", "10.png"],
        ["Y1.jpg", "Y 2.jpg", "1 no.jpg"],
        ["ISIC_0024340.png", "ISIC_0024341.png", "ISIC_0034341.png"],
        ["case_2020_1.png", "case_2020_2.png", "case_2021_1.png"],
        ["T1_slice_1.png", "T1_slice_2.png", "T2_slice_1.png"],
        ["tumor_slice_1.png", "tumor_slice_2.png", "healthy_slice_1.png"],
        ["patient1_slice1.png", "patient2_slice1.png", "patient3_slice1.png"],
        ["patient1_slice1.png", "patient1_slice2.png", "patient1_slice3.png"],
        ["patient1_slice1.png", "patient1_slice2.png", "patient2_slice1.png", "other.png"],
    ],
    ids=lambda names: names[0],
)
def test_names_that_leave_a_doubt_tell_nothing(names: list[str]) -> None:
    assert _told(names) == ([""] * len(names), [])


def test_the_few_images_whose_names_do_not_fit_stand_alone() -> None:
    names = [f"patient{n // 5}_slice{n % 5}.png" for n in range(20)] + ["extra.png"]
    told, (message,) = _told(names)
    assert told[-1] == ""
    assert len(set(told)) == 5
    assert "tell 4 patients of 20 images, by which intervals are taken; 1 with other names stand alone." in message


def test_patients_that_are_known_already_stay() -> None:
    records = [Record(Path(f"patient1_slice{n}.png"), None, 0, "organ", "", subject=f"p{n}") for n in range(3)]
    assert subjects_from_names(records) == (records, [])
