"""Volumes with masks are read in their layouts and compared with their masks by the headers."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medzsad.datasets.volumes import VolumeSet, read_volumes, volumes_without_bad
from medzsad.errors import ConfigError
from medzsad.evaluation.volumes import read_reference

VOLUMES = Path(__file__).resolve().parents[3] / "shared" / "data" / "volumes"
SPACING = np.diag([0.9, 1.1, 3.0, 1.0])


def _volume(path: Path, shape: tuple[int, ...] = (5, 4, 3), affine: np.ndarray = SPACING) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros(shape, np.uint8), affine), path)
    return path


def _volumes(root: Path, *names: str) -> None:
    for name in names:
        _volume(root / name)


def _pairs(found: VolumeSet) -> dict[str, tuple[str, str | None]]:
    return {r.case: (r.image.name, r.label and r.label.name) for r in found.records}


def _kinds(found: VolumeSet) -> list[str]:
    return [problem.kind for problem in found.problems]


def _task(root: Path, **content: object) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("case", "flair", "seg", "subject"),
    [
        ("BraTS20_Training_001", "_flair.nii", "_seg.nii", "BraTS20_Training_001"),
        ("BraTS2021_00000", "_flair.nii.gz", "_seg.nii.gz", "BraTS2021_00000"),
        ("BraTS-GLI-00000-001", "-t2f.nii.gz", "-seg.nii.gz", "BraTS-GLI-00000"),
    ],
)
@pytest.mark.parametrize("inside", ["", "My Training Data", "data/HGG"])
def test_brats_takes_flair_and_labels_of_every_case_folder(
    tmp_path: Path, inside: str, case: str, flair: str, seg: str, subject: str
) -> None:
    folder = tmp_path / inside / case
    _volumes(folder, case + flair, case + seg, case + flair.replace("flair", "t1").replace("t2f", "t1n"))
    found = read_volumes("brats", tmp_path)
    (record,) = found.records
    assert (record.case, record.subject, record.lesion_values, record.frame) == (case, subject, None, None)
    assert _pairs(found) == {case: (case + flair, case + seg)}
    assert not found.problems


def test_a_misnamed_label_file_of_brats_is_found(tmp_path: Path) -> None:
    _volumes(tmp_path / "BraTS20_Training_355", "BraTS20_Training_355_flair.nii", "W39_Segm.nii")
    assert _pairs(read_volumes("brats", tmp_path))["BraTS20_Training_355"][1] == "W39_Segm.nii"


def test_a_case_of_brats_without_flair_or_labels_is_named(tmp_path: Path) -> None:
    _volumes(tmp_path, "A/a_t1.nii", "A/a_seg.nii", "B/b_flair.nii")
    found = read_volumes("brats", tmp_path)
    assert [(p.kind, p.subject) for p in found.problems] == [("missing_image", "A"), ("missing_label", "B/b_flair.nii")]


def test_lits_pairs_numbers_across_folders_and_takes_the_tumor_only(tmp_path: Path) -> None:
    _volumes(tmp_path, "Training Batch 1/volume-0.nii", "Training Batch 1/segmentation-0.nii")
    _volumes(tmp_path, "Training Batch 2/volume-10.nii.gz", "segmentations/segmentation-10.nii")
    found = read_volumes("lits", tmp_path)
    assert _pairs(found) == {
        "volume-0": ("volume-0.nii", "segmentation-0.nii"),
        "volume-10": ("volume-10.nii.gz", "segmentation-10.nii"),
    }
    assert {record.lesion_values for record in found.records} == {(2,)}
    assert not found.problems


def test_lits_names_volumes_and_labels_that_stand_alone_or_occur_twice(tmp_path: Path) -> None:
    _volumes(tmp_path, "volume-0.nii", "segmentation-1.nii", "volume-2.nii", "segmentation-2.nii", "copy/volume-2.nii")
    found = read_volumes("lits", tmp_path)
    assert [(p.kind, p.severity, p.subject) for p in found.problems] == [
        ("duplicate_case", "warning", "copy/volume-2.nii"),
        ("missing_image", "error", "segmentation-1.nii"),
        ("missing_label", "error", "volume-0.nii"),
    ]
    assert len(volumes_without_bad(found).records) == 1


@pytest.mark.parametrize("inside", ["", "Task03_Liver"])
def test_a_decathlon_task_is_read_from_its_list(tmp_path: Path, inside: str) -> None:
    task = tmp_path / inside
    _volumes(task, "imagesTr/liver_0.nii.gz", "labelsTr/liver_0.nii.gz", "imagesTs/liver_9.nii.gz")
    listed = [{"image": f"./imagesTr/liver_{n}.nii.gz", "label": f"./labelsTr/liver_{n}.nii.gz"} for n in (0, 1)]
    _task(task, modality={"0": "CT"}, labels={"0": "background", "1": "liver", "2": "cancer"}, training=listed)
    found = read_volumes("msd", tmp_path)
    assert _pairs(found) == {"liver_0": ("liver_0.nii.gz", "liver_0.nii.gz")}
    assert found.records[0].lesion_values == (2,)
    assert [(p.kind, p.subject) for p in found.problems] == [("missing_image", "imagesTr/liver_1.nii.gz")]


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ({"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}, (1, 2, 3)),
        ({"0": "background", "1": "Vessel", "2": "Tumour"}, (2,)),
        ({"0": "background", "1": "colon cancer primaries"}, (1,)),
        ({"background": 0, "kidney": [1, 2], "tumor": 2}, (2,)),
    ],
)
def test_lesions_of_a_decathlon_task_are_told_by_the_names_of_labels(
    tmp_path: Path, labels: dict[str, object], values: tuple[int, ...]
) -> None:
    _volumes(tmp_path, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    _task(tmp_path, labels=labels)
    assert read_volumes("msd", tmp_path).records[0].lesion_values == values


def test_a_task_without_lesions_by_name_asks_for_values(tmp_path: Path) -> None:
    _volumes(tmp_path, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    _task(tmp_path, labels={"0": "background", "1": "Anterior", "2": "Posterior"})
    with pytest.raises(ConfigError, match=r"No label .*: 1 Anterior, 2 Posterior"):
        read_volumes("msd", tmp_path)
    assert read_volumes("msd", tmp_path, lesion_values=[2, 1]).records[0].lesion_values == (1, 2)


@pytest.mark.parametrize(("frame", "index"), [(None, 0), ("t1gd", 2), (3, 3)])
def test_one_modality_of_4d_images_is_taken(tmp_path: Path, frame: int | str | None, index: int) -> None:
    _volume(tmp_path / "imagesTr/BRATS_1.nii.gz", (5, 4, 3, 4))
    _volume(tmp_path / "labelsTr/BRATS_1.nii.gz")
    _task(tmp_path, modality={"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}, labels={"1": "edema"})
    found = read_volumes("msd", tmp_path, frame=frame)
    assert (found.records[0].frame, found.problems) == (index, ())


def test_an_unknown_modality_is_refused_with_those_there_are(tmp_path: Path) -> None:
    _task(tmp_path, modality={"0": "FLAIR", "1": "T1w"}, labels={"1": "edema"})
    with pytest.raises(ConfigError, match=r"no modality 'CT'\. It has 0 FLAIR, 1 T1w"):
        read_volumes("msd", tmp_path, frame="CT")


def test_a_file_per_modality_is_read_by_its_number(tmp_path: Path) -> None:
    _volumes(tmp_path, "imagesTr/k_1_0000.nii.gz", "imagesTr/k_1_0001.nii.gz", "labelsTr/k_1.nii.gz")
    _task(tmp_path, channel_names={"0": "T2", "1": "ADC"}, labels={"background": 0, "lesion": 1})
    assert _pairs(read_volumes("msd", tmp_path, frame="ADC")) == {"k_1": ("k_1_0001.nii.gz", "k_1.nii.gz")}


@pytest.mark.parametrize(
    ("images", "labels", "ending"),
    [
        ("images", "labels", ""),
        ("image", "label", ""),
        ("imagesTr", "labelsTr", ""),
        ("imgs", "Masks", "_mask"),
        ("Images", "masks", "_seg"),
    ],
)
def test_folders_of_images_and_labels_are_paired_by_name(tmp_path: Path, images: str, labels: str, ending: str) -> None:
    _volumes(tmp_path, f"{images}/case 1.nii", f"{images}/case 12.nii.gz", f"{labels}/case 1{ending}.nii.gz")
    found = read_volumes("pairs", tmp_path)
    assert _pairs(found) == {
        "case 1": ("case 1.nii", f"case 1{ending}.nii.gz"),
        "case 12": ("case 12.nii.gz", None),
    }
    assert [(p.kind, p.severity) for p in found.problems] == [("missing_label", "error")]


@pytest.mark.parametrize("ending", ["_mask", "_seg", "_label", "-lesions", "_ROI"])
def test_files_of_one_folder_are_told_apart_by_endings(tmp_path: Path, ending: str) -> None:
    _volumes(tmp_path, "a.nii", f"a{ending}.nii", "b FLAIR.nii", f"b{ending}.nii", "c.nii")
    assert _pairs(read_volumes("pairs", tmp_path)) == {
        "a": ("a.nii", f"a{ending}.nii"),
        "b FLAIR": ("b FLAIR.nii", f"b{ending}.nii"),
        "c": ("c.nii", None),
    }


@pytest.mark.parametrize("label", ["ROI", "lesions", "mask", "truth", "gt", "lesion_mask", "manual seg"])
@pytest.mark.parametrize("parent", [True, False])
def test_two_files_in_a_folder_are_a_pair(tmp_path: Path, label: str, parent: bool) -> None:
    _volumes(tmp_path / "patient 7", "FLAIR.nii.gz", f"{label}.nii.gz")
    found = read_volumes("pairs", tmp_path if parent else tmp_path / "patient 7")
    assert _pairs(found) == {"patient 7": ("FLAIR.nii.gz", f"{label}.nii.gz")}
    assert found.records[0].lesion_values is None


def test_a_case_without_labels_among_others_is_named(tmp_path: Path) -> None:
    _volumes(tmp_path, "p1/FLAIR.nii", "p1/ROI.nii", "p2/FLAIR.nii", "p3/T1.nii", "p3/T2.nii")
    found = read_volumes("pairs", tmp_path)
    assert [(p.kind, p.subject) for p in found.problems] == [
        ("ambiguous_files", "p3"),
        ("missing_label", "p2/FLAIR.nii"),
    ]


def test_several_labels_or_volumes_of_one_name_are_not_chosen_from(tmp_path: Path) -> None:
    _volumes(tmp_path, "a.nii", "a_mask.nii", "a_seg.nii", "b_T1.nii", "b_T2.nii", "b_mask.nii", "c.nii", "c_mask.nii")
    found = read_volumes("pairs", tmp_path)
    assert set(_pairs(found)) == {"c"}
    assert [(p.kind, p.subject) for p in found.problems] == [
        ("ambiguous_files", "b_mask.nii"),
        ("ambiguous_files", "a.nii"),
    ]


def test_cases_of_equal_names_in_several_folders_get_names_of_their_own(tmp_path: Path) -> None:
    _volumes(tmp_path, *(f"day {n}/{name}" for n in (1, 2) for name in ("a.nii", "a_mask.nii", "b.nii", "b_mask.nii")))
    assert set(_pairs(read_volumes("pairs", tmp_path))) == {"day 1_a", "day 1_b", "day 2_a", "day 2_b"}


def test_bids_folders_are_searched_and_give_the_patient(tmp_path: Path) -> None:
    folders = ("sub-01/ses-1/anat", "sub-01/ses-2/anat", "sub-02/ses-1/anat")
    _volumes(tmp_path, *(f"{folder}/{name}.nii.gz" for folder in folders for name in ("FLAIR", "lesion_mask")))
    found = read_volumes("pairs", tmp_path)
    assert [(r.case, r.subject) for r in found.records] == [
        (folder.replace("/", "_"), folder[:6]) for folder in folders
    ]
    assert not found.problems


def test_labels_of_another_grid_are_errors_and_left_out_on_request(tmp_path: Path) -> None:
    near, far = SPACING.copy(), SPACING.copy()
    near[0, 3] += 0.0009
    far[2, 3] += 0.5
    for name, shape, affine in (
        ("a", (5, 4, 3), near),
        ("b", (5, 4, 2), SPACING),
        ("c", (5, 4, 3), far),
        ("d", (5, 4, 3, 1), SPACING),
    ):
        _volume(tmp_path / f"{name}.nii.gz")
        _volume(tmp_path / f"{name}_mask.nii.gz", shape, affine)
    found = read_volumes("pairs", tmp_path)
    assert [(p.kind, p.severity, p.subject) for p in found.problems] == [
        ("shape_mismatch", "error", "b.nii.gz"),
        ("affine_mismatch", "error", "c.nii.gz"),
    ]
    assert "5x4x2, the image 5x4x3" in found.problems[0].message
    assert "up to 0.5 mm (0.001 mm are allowed)" in found.problems[1].message
    left = volumes_without_bad(found)
    assert [record.case for record in left.records] == ["a", "d"]
    assert {problem.severity for problem in left.problems} == {"warning"}


def test_leaving_out_every_volume_is_still_an_error(tmp_path: Path) -> None:
    _volumes(tmp_path, "images/a.nii", "labels/b.nii")
    left = volumes_without_bad(read_volumes("pairs", tmp_path))
    assert ([p.kind for p in left.problems if p.severity == "error"], left.records) == (["no_volumes"], ())


@pytest.mark.parametrize("bad", ["a.nii.gz", "a_mask.nii.gz"])
def test_damaged_files_are_named_not_raised(tmp_path: Path, bad: str) -> None:
    _volumes(tmp_path, "a.nii.gz", "a_mask.nii.gz")
    (tmp_path / bad).write_bytes((tmp_path / bad).read_bytes()[:30])
    (problem,) = read_volumes("pairs", tmp_path).problems
    assert (problem.kind, problem.severity, problem.subject) == ("unreadable", "error", "a.nii.gz")


def test_4d_images_ask_for_a_frame_that_exists(tmp_path: Path) -> None:
    _volume(tmp_path / "a.nii", (5, 4, 3, 2))
    _volume(tmp_path / "a_mask.nii")
    assert _kinds(read_volumes("pairs", tmp_path)) == ["several_frames"]
    assert _kinds(read_volumes("pairs", tmp_path, frame=2)) == ["missing_frame"]
    assert read_volumes("pairs", tmp_path, frame=1).records[0].frame == 1


@pytest.mark.parametrize("name", ["brats", "lits", "msd", "pairs"])
def test_nothing_there_says_what_was_expected(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(ConfigError, match="Expected: "):
        read_volumes(name, tmp_path)
    with pytest.raises(ConfigError, match="no folder"):
        read_volumes(name, tmp_path / "away")


def test_impossible_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        read_volumes("pairs", tmp_path, lesion_values=[0])
    with pytest.raises(ConfigError, match="modalities by name"):
        read_volumes("pairs", tmp_path, frame="FLAIR")
    with pytest.raises(ConfigError, match="isic holds pictures"):
        read_volumes("isic", tmp_path)


@pytest.mark.skipif(not VOLUMES.is_dir(), reason="../shared/data/volumes is not here")
def test_the_real_volumes_are_read_one_by_one_and_together() -> None:
    together = read_volumes("pairs", VOLUMES)
    assert _pairs(together) == {
        "brainix": ("FLAIR.nii.gz", "ROI.nii.gz"),
        "ms_patient07": ("FLAIR.nii.gz", "lesions.nii.gz"),
    }
    assert not together.problems
    for record in together.records:
        assert read_volumes("pairs", VOLUMES / record.case).records == (record,)


@pytest.mark.parametrize(("image", "label"), [((5, 4), (5, 4)), ((5, 4, 1), (5, 4)), ((5, 4), (5, 4, 1))])
def test_a_single_slice_in_two_axes_is_a_volume_of_one_slice(
    tmp_path: Path, image: tuple[int, ...], label: tuple[int, ...]
) -> None:
    _volume(tmp_path / "images/p1.nii.gz", image)
    path = _volume(tmp_path / "labels/p1.nii.gz", label)
    values = np.zeros(label, np.uint8)
    values[2, 3] = 1
    nib.save(nib.Nifti1Image(values, SPACING), path)
    found = read_volumes("pairs", tmp_path)
    assert not found.problems
    truth = read_reference(found.records[0])
    assert truth.shape == (5, 4, 1)
    assert truth.sum() == 1
    assert truth[2, 3, 0]


def test_labels_of_one_slice_do_not_fit_a_volume_of_several(tmp_path: Path) -> None:
    _volume(tmp_path / "images/p1.nii.gz", (5, 4, 3))
    _volume(tmp_path / "labels/p1.nii.gz", (5, 4))
    assert _kinds(read_volumes("pairs", tmp_path)) == ["shape_mismatch"]
