import os
from pathlib import Path

import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from medzsad.errors import ConfigError, ReasonCode
from medzsad.scan.discover import discover
from medzsad.scan.names import file_case_name, unique_names
from medzsad.scan.records import Candidate, ReadLimits
from tests.phantoms import SECRET_NAME, one_slice_dataset, phantom_scan, write_dicom_series, write_nifti

LIMITS = ReadLimits()
SMALL = (20, 24, 6)


def found(*paths: Path, **options: object) -> list[Candidate]:
    return discover(list(paths), limits=LIMITS, **options)  # type: ignore[arg-type]


def test_every_series_and_file_appears_whatever_their_folders(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "mixed", phantom_scan(SMALL), uid_seed="one")
    for file in (tmp_path / "mixed").iterdir():
        file.rename(file.with_name(f"one{file.stem}"))  # no ending: found by content
    write_dicom_series(tmp_path / "mixed", phantom_scan(SMALL), uid_seed="two")
    write_nifti(tmp_path / "deep" / "er.nii.gz" if (tmp_path / "deep").mkdir() else tmp_path / "deep/er.nii.gz")
    (tmp_path / "notes.txt").write_text("no scan", encoding="utf-8")
    candidates = found(tmp_path)
    assert [(c.kind, c.label, len(c.files)) for c in candidates] == [
        ("nifti", "deep/er.nii.gz", 1),
        ("dicom", "mixed", 6),
        ("dicom", "mixed", 6),
    ]
    assert all(c.eligible for c in candidates)
    assert candidates[1].shape == SMALL
    assert candidates[1].series_number == 7


def test_one_series_over_two_folders_is_one_candidate(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "a", phantom_scan(SMALL))
    (tmp_path / "b").mkdir()
    for file in sorted((tmp_path / "a").iterdir())[:3]:
        file.rename(tmp_path / "b" / file.name)
    (candidate,) = found(tmp_path)
    assert candidate.shape == SMALL
    assert candidate.label == tmp_path.name


def test_dicom_without_preamble_is_found(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan(SMALL))
    for file in list(tmp_path.iterdir()):
        dataset = pydicom.dcmread(file)
        del dataset.file_meta
        pydicom.dcmwrite(tmp_path / file.stem, dataset, implicit_vr=True, little_endian=True)
        file.unlink()
    (candidate,) = found(tmp_path)
    assert (candidate.kind, candidate.shape, candidate.code) == ("dicom", SMALL, None)


def test_foreign_files_that_resemble_dicom_are_passed_over_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\x08\x00\x05\x00" + bytes(range(256)) * 4)
    assert found(tmp_path) == []
    assert found(tmp_path / "weights.bin")[0].code == ReasonCode.FILE_UNREADABLE


def test_text_in_place_of_a_uid_is_not_shown(tmp_path: Path) -> None:
    dataset = one_slice_dataset(phantom_scan().lesion_mask[:, :, 6].astype("uint8"))
    with pytest.warns(UserWarning, match="Invalid value"):
        dataset.SeriesInstanceUID = SECRET_NAME
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (candidate,) = found(tmp_path)
    assert SECRET_NAME not in repr(candidate)
    assert (candidate.series_uid or "").startswith("2.25.")


def test_a_path_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.nii does not exist"):
        found(tmp_path / "nowhere.nii")


def test_empty_and_damaged_files_are_listed_but_foreign_ones_only_when_named(tmp_path: Path) -> None:
    for name in ("a.dcm", "b.nii.gz", "c.png", "d.txt"):
        (tmp_path / name).touch()
    for name in ("e.dcm", "f.nii", "g.nrrd", "h.jpg"):
        (tmp_path / name).write_bytes(b"this is no such file, whatever its name says" * 10)
    codes = {c.label: c.code for c in found(tmp_path)}
    empty, damaged = ReasonCode.FILE_EMPTY, ReasonCode.FILE_UNREADABLE
    assert codes == dict.fromkeys(("a.dcm", "b.nii.gz", "c.png"), empty) | dict.fromkeys(
        ("e.dcm", "f.nii", "g.nrrd", "h.jpg"), damaged
    )
    (tmp_path / "i.txt").write_text("text", encoding="utf-8")
    assert [c.code for c in found(tmp_path / "d.txt", tmp_path / "i.txt")] == [empty, damaged]


def test_what_is_dicom_but_no_image_is_refused(tmp_path: Path) -> None:
    dataset = one_slice_dataset(phantom_scan().lesion_mask[:, :, 0].astype("uint8"))
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
    dataset.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    (candidate,) = found(tmp_path)
    assert candidate.code == ReasonCode.NOT_AN_IMAGE
    assert "Comprehensive SR" in candidate.reason


def test_localizer_and_short_series_are_refused(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "a", phantom_scan(SMALL), image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    write_dicom_series(tmp_path / "b", phantom_scan((20, 24, 3)), uid_seed="short")
    localizer, short = found(tmp_path)
    assert localizer.code == ReasonCode.SERIES_LOCALIZER
    assert short.code == ReasonCode.SERIES_TOO_FEW_SLICES
    assert "3 of at least 4 slices" in short.reason


def test_two_radiographs_of_one_series_are_two_cases(tmp_path: Path) -> None:
    for n in (1, 2):
        dataset = one_slice_dataset((phantom_scan(seed=n).scan.voxels[:, :, 4] / 4).astype("uint8"), "CR")
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.{n}"
        dataset.save_as(tmp_path / f"{n}.dcm", enforce_file_format=True)
    candidates = found(tmp_path)
    assert [c.eligible for c in candidates] == [True, True]
    assert len({c.name for c in candidates}) == 2


@pytest.mark.parametrize(
    ("folder", "codes"),
    [
        ("98892001/CT5N", [None]),
        ("98892001/CT2N", [ReasonCode.SERIES_LOCALIZER]),
        ("77654033/CT2", [ReasonCode.GEOMETRY_GAP]),
        ("98892003/MR1", [ReasonCode.SERIES_TOO_FEW_SLICES] * 3),
        ("98892003/MR700", [ReasonCode.GEOMETRY_MIXED_ORIENTATION]),
        ("77654033/CR1", [None]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_odd_series_of_pydicom_get_the_right_verdict(folder: str, codes: list[ReasonCode | None]) -> None:
    tests = Path(get_testdata_file("CT_small.dcm")).parent / "dicomdirtests"
    assert [c.code for c in found(tests / folder)] == codes


@pytest.mark.parametrize("by", ["uid", "prefix", "number", "name"])
def test_series_are_chosen_by_uid_number_or_name(tmp_path: Path, by: str) -> None:
    write_dicom_series(tmp_path / "a", phantom_scan(SMALL), uid_seed="one", series_number=3)
    write_dicom_series(tmp_path / "b", phantom_scan(SMALL), uid_seed="two", series_number=4)
    _, wanted = found(tmp_path)
    uid = wanted.series_uid or ""
    wish = {"uid": uid, "prefix": uid[:-5], "number": "4", "name": wanted.name}[by]
    assert found(tmp_path, series=[wish]) == [wanted]


def test_a_series_that_is_not_there_is_a_usage_error_that_lists_what_is(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan(SMALL), series_number=3)
    with pytest.raises(ConfigError, match=r"--series 99 matches nothing.*series-.*SeriesNumber 3"):
        found(tmp_path, series=["99"])


def test_a_file_reached_twice_is_listed_once(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz")
    (tmp_path / "again.nii.gz").symlink_to(tmp_path / "a.nii.gz")
    assert len(found(tmp_path, tmp_path / "a.nii.gz", tmp_path)) == 1


def test_symlink_loops_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.nii").symlink_to(tmp_path / "gone")
    write_nifti(tmp_path / "a" / "x.nii")
    assert [c.label for c in found(tmp_path)] == ["a/x.nii"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission_are_refused(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").chmod(0)
    (candidate,) = found(tmp_path)
    assert candidate.code == ReasonCode.FILE_UNREADABLE
    assert "permissions" in candidate.reason


def test_order_does_not_depend_on_the_order_of_paths(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_nifti(tmp_path / f"{name}.nii")
    paths = [tmp_path / "b.nii", tmp_path / "a.nii"]
    assert found(*paths) == found(*paths[::-1])


def test_equal_stems_get_names_that_tell_them_apart(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_nifti(tmp_path / folder / "FLAIR.nii.gz")
    Image.new("L", (4, 5)).save(tmp_path / "flair.png")
    names = [c.name for c in found(tmp_path)]
    assert len({name.casefold() for name in names}) == 3
    assert all(name.casefold().startswith("flair-") and len(name) == 14 for name in names)
    assert names == [c.name for c in found(tmp_path)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Kopf größe 1.nii.gz", "Kopf_größe_1"),
        ("脳 スキャン.png", "脳_スキャン"),
        ("..hidden.nii", "hidden"),
        ("a:b*c?.png", "a-b-c-"),
        (".nii", "nii"),
        ("CON.png", "case-CON"),
        ("x" * 200 + ".nii", "x" * 80),
        ("noending", "noending"),
    ],
)
def test_case_names_are_safe_and_keep_letters(name: str, expected: str) -> None:
    assert file_case_name(name) == expected


def test_names_stay_unique_even_when_places_are_equal() -> None:
    names = unique_names(["a", "A", "b"], ["x", "x", "y"])
    assert len({name.casefold() for name in names}) == 3
    assert names[2] == "b"
