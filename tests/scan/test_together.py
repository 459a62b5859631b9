"""Which scans are put together: those of one head in one frame of reference, and no others."""

from pathlib import Path

import pydicom
from pydicom.uid import generate_uid

from medzsad.scan.discover import discover
from medzsad.scan.records import Candidate, ReadLimits
from medzsad.scan.together import with_groups
from tests.phantoms import phantom_scan, write_dicom_series, write_nifti

SHAPE, SPACING_MM = (24, 28, 8), (3.0, 2.8, 7.0)


def _found(folder: Path) -> list[Candidate]:
    return with_groups(discover([folder], limits=ReadLimits()))


def _groups(folder: Path) -> dict[str, list[str]]:
    return {one.name: [part.name for part in one.parts] for one in _found(folder) if one.parts}


def _write(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        write_nifti(folder / name, phantom_scan(SHAPE, SPACING_MM, seed=seed))


def _write_series(folder: Path, series: str, frame: str, modality: str = "MR", study: str = "") -> None:
    write_dicom_series(folder, phantom_scan(SHAPE, SPACING_MM, modality=modality), uid_seed=frame)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[series])
        if study:
            dataset.StudyInstanceUID = generate_uid(entropy_srcs=[study])
        dataset.save_as(path)


def test_files_whose_names_differ_in_the_sequence_alone_are_one_group(tmp_path: Path) -> None:
    _write(tmp_path, "sub-01_ses-1_T1w.nii.gz", "sub-01_ses-1_FLAIR.nii.gz", "BraTS-GLI-00001-000-t2f.nii.gz")
    _write(tmp_path, "BraTS-GLI-00001-000-t1c.nii.gz", "notes_2.nii.gz")
    assert _groups(tmp_path) == {
        "BraTS-GLI-00001-000-together": ["BraTS-GLI-00001-000-t1c", "BraTS-GLI-00001-000-t2f"],
        "sub-01_ses-1-together": ["sub-01_ses-1_FLAIR", "sub-01_ses-1_T1w"],
    }


def test_files_named_after_the_sequence_alone_are_grouped_by_folder(tmp_path: Path) -> None:
    _write(tmp_path / "anna", "t1.nii.gz", "FLAIR.nii.gz")
    _write(tmp_path / "bert", "t1.nii.gz", "t2.nii.gz")
    assert sorted(_groups(tmp_path)) == ["anna-together", "bert-together"]


def test_scans_of_different_patients_are_never_put_together(tmp_path: Path) -> None:
    _write(tmp_path, "patient1_t1.nii.gz", "patient2_t1.nii.gz", "patient3_t2.nii.gz", "scan_0001.nii.gz")
    _write(tmp_path, "scan_0002.nii.gz", "cat1.nii.gz", "cat2.nii.gz")
    assert _groups(tmp_path) == {}


def test_series_share_a_frame_of_reference_and_a_modality(tmp_path: Path) -> None:
    _write_series(tmp_path / "a", "first", "one head")
    _write_series(tmp_path / "b", "second", "one head")
    _write_series(tmp_path / "c", "third", "another head")
    _write_series(tmp_path / "d", "fourth", "one head", modality="CT")
    groups = _groups(tmp_path)
    assert [len(parts) for parts in groups.values()] == [2]
    (name,) = groups
    assert name.startswith("together-")
    assert len(name) == len("together-") + 10


def test_one_frame_of_reference_for_all_patients_puts_no_two_studies_together(tmp_path: Path) -> None:
    _write_series(tmp_path / "a", "first", "constant", study="one")
    _write_series(tmp_path / "b", "second", "constant", study="two")
    assert _groups(tmp_path) == {}


def test_refused_scans_take_no_part(tmp_path: Path) -> None:
    _write(tmp_path, "p_t1.nii.gz", "p_t2.nii.gz")
    (tmp_path / "p_flair.nii.gz").write_bytes(b"")
    assert _groups(tmp_path) == {"p-together": ["p_t1", "p_t2"]}
    (tmp_path / "p_t2.nii.gz").write_bytes(b"")
    assert _groups(tmp_path) == {}


def test_a_group_has_the_grid_of_its_finest_scan_and_the_files_of_all(tmp_path: Path) -> None:
    write_nifti(tmp_path / "p_t1.nii.gz", phantom_scan(SHAPE, SPACING_MM))
    write_nifti(tmp_path / "p_flair.nii.gz", phantom_scan((48, 56, 16), (1.5, 1.4, 3.5)))
    group = _found(tmp_path)[-1]
    assert group.shape == (48, 56, 16)
    assert sorted(file.name for file in group.files) == ["p_flair.nii.gz", "p_t1.nii.gz"]


def test_a_name_that_a_scan_has_already_is_not_given_again(tmp_path: Path) -> None:
    _write(tmp_path, "p_t1.nii.gz", "p_t2.nii.gz", "p-together.nii.gz")
    assert list(_groups(tmp_path)) == ["p-together-2"]
