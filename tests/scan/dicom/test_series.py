"""What judges a series before anything is decoded."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image
from pydicom._uid_dict import UID_dictionary
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.dicom.image_classes import image_problem
from medzsad.scan.discover import discover
from medzsad.scan.reader import read_scan
from medzsad.scan.records import Candidate, ReadLimits
from tests.phantoms import one_slice_dataset, phantom_scan, values_in_world, write_dicom_series

STRICT, LENIENT = ReadLimits(), ReadLimits(allow_irregular=True)
BOTH = pytest.mark.parametrize("limits", [STRICT, LENIENT], ids=["strict", "lenient"])
IMAGES = ("Image Storage", "Enhanced US Volume Storage")
SHOW_NO_BODY = ("RT ", "Enhanced RT", "Enhanced Continuous RT", "DICOS", "Eddy Current", "Hardcopy")
CLASSES = {uid: name for uid, (name, kind, *_) in UID_dictionary.items() if kind == "SOP Class" and "Storage" in name}


def only(folder: Path, limits: ReadLimits = STRICT) -> Candidate:
    (candidate,) = discover([folder], limits=limits)
    return candidate


def change(folder: Path, edit: Callable[[pydicom.Dataset, int], None]) -> None:
    for number, file in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(file)
        edit(dataset, number)
        dataset.save_as(file)


@pytest.mark.parametrize("uid", CLASSES)
def test_the_storage_classes_of_images_and_no_others_are_scored(uid: str) -> None:
    name = CLASSES[uid]
    expected = any(word in name for word in IMAGES) and not name.startswith(SHOW_NO_BODY)
    problem = image_problem(uid, "CT")
    assert (problem == "") == expected
    assert expected or name in problem


@pytest.mark.parametrize(
    ("uid", "said"),
    [
        ("1.2.840.10008.5.1.4.1.1.66.7", "Label Map Segmentation Storage"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "Segmentation Storage"),
        ("1.2.840.10008.5.1.4.1.1.481.2", "RT Dose Storage"),
        ("1.3.46.670589.11.0.0.12.1", "not known (1.3.46.670589.11.0.0.12.1)"),
        ("1.2.840.10008.5.1.4.1.1.999", "not known (1.2.840.10008.5.1.4.1.1.999)"),
    ],
)
@BOTH
def test_pixels_of_another_storage_class_are_refused_by_name(
    tmp_path: Path, uid: str, said: str, limits: ReadLimits
) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)))

    def edit(dataset: pydicom.Dataset, _: int) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = uid

    change(tmp_path, edit)
    candidate = only(tmp_path, limits)
    assert candidate.code == ReasonCode.NOT_AN_IMAGE
    assert said in candidate.reason


@pytest.mark.parametrize("modality", ["SEG", "RTSTRUCT", "RTDOSE", "SR", "KO", "PR", "REG", "DOC"])
def test_a_modality_that_makes_no_images_is_refused_whatever_its_class(tmp_path: Path, modality: str) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6), modality=modality))
    candidate = only(tmp_path)
    assert candidate.code == ReasonCode.NOT_AN_IMAGE
    assert f"Modality {modality}" in candidate.reason


@BOTH
def test_mosaics_are_refused(tmp_path: Path, limits: ReadLimits) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)), image_type=("ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"))
    candidate = only(tmp_path, limits)
    assert candidate.code == ReasonCode.SERIES_MOSAIC
    assert "side by side" in candidate.reason


def _monochrome1(dataset: pydicom.Dataset, number: int) -> None:
    dataset.PhotometricInterpretation = "MONOCHROME1" if number == 3 else "MONOCHROME2"


def _without_rescale(dataset: pydicom.Dataset, number: int) -> None:
    if number == 3:
        del dataset.RescaleSlope, dataset.RescaleIntercept


def _modality(dataset: pydicom.Dataset, number: int) -> None:
    dataset.Modality = "CT" if number == 3 else "MR"


def _units(dataset: pydicom.Dataset, number: int) -> None:
    dataset.Units = "CNTS" if number == 3 else "BQML"


MIXED = {
    "MONOCHROME": (_monochrome1, "PhotometricInterpretation MONOCHROME2", "PhotometricInterpretation MONOCHROME1"),
    "rescale": (_without_rescale, "RescaleSlope and RescaleIntercept", "no rescale"),
    "modality": (_modality, "Modality MR", "Modality CT"),
    "units": (_units, "Units BQML", "Units CNTS"),
}


@pytest.mark.parametrize("mix", MIXED)
@BOTH
def test_values_that_cannot_be_compared_are_refused_with_the_files(
    tmp_path: Path, mix: str, limits: ReadLimits
) -> None:
    edit, usual, other = MIXED[mix]
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)), rescale=(0.5, -1024.0))
    change(tmp_path, edit)
    candidate = only(tmp_path, limits)
    assert candidate.code == ReasonCode.SERIES_MIXED_VALUES
    assert f"0001.dcm has {usual}, 0004.dcm has {other}." in candidate.reason


def test_a_neutral_rescale_on_some_slices_changes_nothing(tmp_path: Path) -> None:
    phantom = write_dicom_series(tmp_path, phantom_scan((20, 24, 6)), rescale=(1.0, 0.0), shuffle=False)
    change(tmp_path, _without_rescale)
    scan = read_scan(only(tmp_path), STRICT)
    np.testing.assert_allclose(values_in_world(scan, phantom.scan), phantom.scan.voxels, atol=0.51)


def test_a_neutral_rescale_does_not_bridge_a_missing_and_a_true_one(tmp_path: Path) -> None:
    def edit(dataset: pydicom.Dataset, number: int) -> None:
        if number == 0:
            dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        _without_rescale(dataset, number)

    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)), rescale=(0.5, -1024.0))
    change(tmp_path, edit)
    assert only(tmp_path).code == ReasonCode.SERIES_MIXED_VALUES


def test_slopes_that_differ_from_slice_to_slice_are_applied_as_they_are(tmp_path: Path) -> None:
    def edit(dataset: pydicom.Dataset, number: int) -> None:
        dataset.RescaleSlope = number + 1

    phantom = write_dicom_series(tmp_path, phantom_scan((20, 24, 6), modality="PT"), shuffle=False)
    change(tmp_path, edit)
    scan = read_scan(only(tmp_path), STRICT)
    expected = phantom.scan.voxels * np.arange(1, 7)
    np.testing.assert_allclose(values_in_world(scan, phantom.scan), expected, atol=3.1)


def test_phases_with_values_of_their_own_are_told_apart(tmp_path: Path) -> None:
    for echo in (1, 2):
        write_dicom_series(tmp_path / str(echo), phantom_scan((20, 24, 6)), rescale=(0.5, 0.0))

        def edit(dataset: pydicom.Dataset, _: int, echo: int = echo) -> None:
            dataset.EchoTime, dataset.SOPInstanceUID = 10.0 * echo, generate_uid()
            if echo == 2:
                del dataset.RescaleSlope, dataset.RescaleIntercept

        change(tmp_path / str(echo), edit)
    assert only(tmp_path).code == ReasonCode.GEOMETRY_DUPLICATE_POSITION
    assert [c.code for c in discover([tmp_path], limits=LENIENT)] == [None, None]


def test_each_case_of_a_mixed_folder_has_the_modality_of_its_own_files(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)))
    picture = one_slice_dataset(np.arange(120, dtype=np.uint8).reshape(10, 12))
    picture.SeriesInstanceUID = pydicom.dcmread(tmp_path / "0001.dcm").SeriesInstanceUID
    picture.save_as(tmp_path / "0000.dcm", enforce_file_format=True)
    assert sorted(c.modality for c in discover([tmp_path], limits=STRICT)) == ["MR", "US"]


def test_copies_are_left_out_and_counted(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "a", phantom_scan((20, 24, 6)))
    assert read_scan(only(tmp_path), STRICT).notes == ()
    (tmp_path / "b").mkdir()
    for file in sorted((tmp_path / "a").iterdir()):
        (tmp_path / "b" / file.name).write_bytes(file.read_bytes())
    scan = read_scan(only(tmp_path), STRICT)
    assert scan.notes == ("6 files that are byte-for-byte copies of others were left out.",)
    for file in sorted((tmp_path / "b").iterdir())[1:]:
        file.unlink()
    scan = read_scan(only(tmp_path), STRICT)
    assert scan.notes == ("1 file that is a byte-for-byte copy of another one was left out.",)


def _zipped(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.iterdir()):
            file.write(path, path.name)
            path.unlink()


def test_a_series_in_two_archives_has_the_same_label_in_every_run(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "scans", phantom_scan((20, 24, 6)))
    half = tmp_path / "half"
    half.mkdir()
    for file in sorted((tmp_path / "scans").iterdir())[:3]:
        file.rename(half / file.name)
    _zipped(half, tmp_path / "scans" / "b.zip")
    other = tmp_path / "other"
    (tmp_path / "scans").rename(other)
    (tmp_path / "scans").mkdir()
    (other / "b.zip").rename(tmp_path / "scans" / "b.zip")
    _zipped(other, tmp_path / "scans" / "a.zip")
    labels = {
        candidate.label
        for run in ("one", "two")
        for candidate in discover([tmp_path / "scans"], limits=STRICT, unpack_dir=tmp_path / run)
    }
    assert labels == {"a.zip + b.zip"}


def test_a_series_partly_under_a_relative_and_partly_under_an_absolute_path_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dicom_series(tmp_path / "scans", phantom_scan((20, 24, 6)))
    half = tmp_path / "half"
    half.mkdir()
    for file in sorted((tmp_path / "scans").iterdir())[:3]:
        file.rename(half / file.name)
    _zipped(half, tmp_path / "scans" / "b.zip")
    monkeypatch.chdir(tmp_path)
    (candidate,) = discover([Path("scans")], limits=STRICT, unpack_dir=tmp_path / "unpacked")
    assert candidate.eligible
    assert candidate.label == "b.zip + scans"


STRAYS = {
    "IM7": "no ending",
    "1.2.840.7": "an ending of digits",
    "IM7.ima": "an ending of another program",
}


@pytest.mark.parametrize("name", STRAYS)
def test_a_slice_whose_mark_is_damaged_is_named(tmp_path: Path, name: str) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)), shuffle=False)
    whole = bytearray((tmp_path / "0006.dcm").read_bytes())
    (tmp_path / "0006.dcm").unlink()
    whole[128:132] = b"DICN"
    (tmp_path / name).write_bytes(whole)
    stray, series = sorted(discover([tmp_path], limits=STRICT), key=lambda candidate: len(candidate.files))
    assert series.shape[2] == 5
    assert stray.code == ReasonCode.FILE_UNREADABLE
    assert f'{name} begins like DICOM, but its mark "DICM" is damaged. It lies among DICOM files' in stray.reason


def test_a_slice_of_which_nothing_is_left_but_bytes_is_named(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)))
    (tmp_path / "IM7").write_bytes(np.random.default_rng(0).bytes(5000))
    stray = next(c for c in discover([tmp_path], limits=STRICT) if not c.eligible)
    assert "IM7 is of no known kind and no text" in stray.reason


def test_text_and_files_of_other_programs_beside_a_series_are_none_of_it(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)))
    (tmp_path / "README").write_text("What these scans are. " * 20, encoding="utf-8")
    (tmp_path / "thumbs.db").write_bytes(bytes(5000))
    (tmp_path / ".DS_Store").write_bytes(bytes(5000))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "IM7").write_bytes(bytes(5000))
    assert only(tmp_path).eligible


def _nifti(folder: Path, shape: tuple[int, int, int]) -> None:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    nib.save(nib.Nifti1Image(values, np.diag([1.0, 1.0, 5.0, 1.0])), folder / "a.nii.gz")


def _nrrd(folder: Path, shape: tuple[int, int, int]) -> None:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape[::-1])
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(folder / "a.nrrd"))


def _dicom(folder: Path, shape: tuple[int, int, int]) -> None:
    write_dicom_series(folder, phantom_scan(shape))


def _enhanced(folder: Path, shape: tuple[int, int, int]) -> None:
    write_dicom_series(folder, phantom_scan(shape), multiframe=True)


WRITERS = {"DICOM": _dicom, "enhanced DICOM": _enhanced, "NIfTI": _nifti, "NRRD": _nrrd}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_fewest_slices_are_the_same_in_every_format(tmp_path: Path, kind: str, count: int) -> None:
    WRITERS[kind](tmp_path, (20, 24, count))
    strict, lenient = only(tmp_path), only(tmp_path, LENIENT)
    assert strict.code == (None if count == 4 else ReasonCode.SERIES_TOO_FEW_SLICES)
    assert count == 4 or f"has {count} of at least 4 slices" in strict.reason
    assert read_scan(lenient, LENIENT).shape[2] == count
    assert only(tmp_path, ReadLimits(min_slices=count)).eligible


def test_a_single_image_is_no_short_volume(tmp_path: Path) -> None:
    _nifti(tmp_path, (20, 24, 1))
    Image.fromarray(np.arange(120, dtype=np.uint8).reshape(10, 12)).save(tmp_path / "b.png")
    for n, modality in enumerate(("US", "DX", "OP", "XA")):
        dataset = one_slice_dataset(np.arange(120, dtype=np.uint8).reshape(10, 12), modality, uid_seed=modality)
        dataset.save_as(tmp_path / f"{n}.dcm", enforce_file_format=True)
    placed = one_slice_dataset(np.arange(120, dtype=np.uint8).reshape(10, 12), uid_seed="placed")
    placed.ImagePositionPatient, placed.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    placed.PixelSpacing = [1, 1]
    placed.save_as(tmp_path / "placed.dcm", enforce_file_format=True)
    candidates = discover([tmp_path], limits=STRICT)
    assert len(candidates) == 7
    assert all(candidate.eligible for candidate in candidates)


def test_each_index_k_has_the_instance_number_of_its_slice(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 8)), drop_slice=3)
    change(tmp_path, lambda dataset, number: setattr(dataset, "InstanceNumber", None if number == 0 else number + 100))
    source = read_scan(only(tmp_path, LENIENT), LENIENT).source
    by_uid = {str(d.SOPInstanceUID): d.InstanceNumber for d in map(pydicom.dcmread, tmp_path.iterdir())}
    assert source.instance_numbers == tuple(by_uid.get(uid) for uid in source.sop_instance_uids)
    assert source.instance_numbers[3] is None
    assert len({*source.instance_numbers}) == 7  # six numbers, and None for the gap and for the one without


def test_a_header_of_impossible_counts_is_refused(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)), multiframe=True)
    dataset = pydicom.dcmread(tmp_path / "enhanced.dcm")
    dataset.Rows = [24, 24]
    dataset.save_as(tmp_path / "enhanced.dcm")
    candidate = only(tmp_path)
    assert candidate.code == ReasonCode.FILE_UNREADABLE
    assert "Rows" in candidate.reason


@pytest.mark.parametrize(("uid", "name"), {"1.2.840.10008.1.2.4.102": "MPEG-4", "1.2.3.4": "unknown"}.items())
def test_pixels_that_no_decoder_knows_are_refused_by_the_header(tmp_path: Path, uid: str, name: str) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)))
    change(tmp_path, lambda dataset, _: setattr(dataset.file_meta, "TransferSyntaxUID", ExplicitVRLittleEndian))
    for file in tmp_path.iterdir():  # the same length, so that the rest stays where it is
        whole, old = file.read_bytes(), b"1.2.840.10008.1.2.1\0"
        assert whole.count(old) == 1
        padded = uid.encode() + b"\0" * (len(uid) % 2)
        length = whole.index(old) - 2
        start = whole[:length] + len(padded).to_bytes(2, "little") + padded + whole[length + 2 + len(old) :]
        group = int.from_bytes(start[140:144], "little") + len(padded) - len(old)
        file.write_bytes(start[:140] + group.to_bytes(4, "little") + start[144:])
    candidate = only(tmp_path)
    assert candidate.code == ReasonCode.PIXELS_NOT_DECODABLE
    assert name in candidate.reason


def test_jpeg_of_12_bits_is_refused_by_the_header() -> None:
    candidate = only(Path(get_testdata_file("JPGExtended.dcm")))
    assert candidate.code == ReasonCode.PIXELS_NOT_DECODABLE
    assert "JPEG Extended (Process 2 and 4) of 12 bits" in candidate.reason


def test_a_slice_too_large_to_read_keeps_its_reason_where_slices_are_scored_alone(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)))
    change(tmp_path, lambda dataset, _: delattr(dataset, "ImagePositionPatient"))
    candidates = discover([tmp_path], limits=ReadLimits(allow_irregular=True, max_voxels=100))
    assert {candidate.code for candidate in candidates} == {ReasonCode.SIZE_LIMIT}
    assert all("has 480 voxels, the limit is 100" in candidate.reason for candidate in candidates)


PLANTED = [
    "headers.image_problem",
    "headers.numbers_of",
    "headers.frame_groups",
    "value_meaning.code_of",
    "stacks.slice_names",
    "series.stack_of",
    "irregular.slice_places",
    "irregular.stack_affine_ras",
    "pixels._transform",
    "read.mirrored",
]


@pytest.mark.parametrize("planted", PLANTED)
@pytest.mark.parametrize("error", [AttributeError, ValueError, KeyError], ids=lambda error: error.__name__)
def test_a_bug_of_ours_is_not_taken_for_a_damaged_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str, error: type[Exception]
) -> None:
    write_dicom_series(tmp_path / "whole", phantom_scan((20, 24, 6)), monochrome1=True)
    write_dicom_series(tmp_path / "gap", phantom_scan((20, 24, 6)), drop_slice=3, uid_seed="gap")
    function = f"medzsad.scan.dicom.{planted}"

    def bug(*_: object, **__: object) -> None:
        raise error("planted")

    monkeypatch.setattr(function, bug)
    with pytest.raises(error, match="planted"):
        _ = [read_scan(candidate, LENIENT) for candidate in discover([tmp_path], limits=LENIENT)]


def test_what_is_refused_at_reading_stays_a_refusal(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)))
    candidate = only(tmp_path)
    change(tmp_path, _monochrome1)  # between inspecting and reading
    with pytest.raises(RefusedError) as refused:
        read_scan(candidate, STRICT)
    assert refused.value.code == ReasonCode.SERIES_MIXED_VALUES
