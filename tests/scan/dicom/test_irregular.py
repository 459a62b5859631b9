from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.dicom.irregular import slice_places
from medzsad.scan.discover import discover
from medzsad.scan.geometry import Stack
from medzsad.scan.reader import read_scan
from medzsad.scan.records import Candidate, ReadLimits, Scan
from tests.phantoms import SECRET_NAME, phantom_scan, values_in_world, write_dicom_series

STRICT, LENIENT = ReadLimits(), ReadLimits(allow_irregular=True)
IRREGULAR = Path("../shared/data/dicom/irregular")
REAL = {
    "gantrytilting/001": (ReasonCode.GEOMETRY_TILTED, 1),
    "sliceincrement/001": (ReasonCode.GEOMETRY_GAP, 1),
    "sliceincrement/002": (ReasonCode.GEOMETRY_GAP, 1),
    "sliceorientation/001": (ReasonCode.GEOMETRY_MIXED_ORIENTATION, 2),
    "notavolume/001": (ReasonCode.GEOMETRY_DUPLICATE_POSITION, 4),
    "slicecount/001": (ReasonCode.SERIES_TOO_FEW_SLICES, 1),
}
needs_data = pytest.mark.skipif(not IRREGULAR.is_dir(), reason="needs the shared data")


def only(folder: Path, limits: ReadLimits) -> Candidate:
    (candidate,) = discover([folder], limits=limits)
    return candidate


def lenient_scan(folder: Path) -> Scan:
    return read_scan(only(folder, LENIENT), LENIENT)


@needs_data
@pytest.mark.parametrize("folder", REAL)
def test_real_irregular_series_are_refused_with_the_right_code(folder: str) -> None:
    candidate = only(IRREGULAR / folder, STRICT)
    assert candidate.code == REAL[folder][0]
    assert "--allow-irregular" in candidate.reason
    with pytest.raises(RefusedError):
        read_scan(candidate, STRICT)


@needs_data
@pytest.mark.parametrize("folder", REAL)
def test_real_irregular_series_can_be_read_when_allowed(folder: str) -> None:
    candidates = discover([IRREGULAR / folder], limits=LENIENT)
    assert len(candidates) == REAL[folder][1]
    for candidate in candidates:
        scan = read_scan(candidate, LENIENT)
        axes = scan.affine_ras[:3, :3] / scan.spacing_mm
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
        assert scan.notes
        assert scan.shape == candidate.shape or "sheared" in " ".join(scan.notes)


@needs_data
def test_real_gap_is_found_at_its_place() -> None:
    scan = lenient_scan(IRREGULAR / "sliceincrement/001")
    assert scan.shape == (512, 512, 5)
    assert scan.missing_slices == (3,)
    assert [bool(uid) for uid in scan.source.sop_instance_uids] == [True, True, True, False, True]


@pytest.mark.parametrize("tilt", [-12.0, 15.5], ids=str)
@pytest.mark.parametrize("oblique", [(0.0, 0.0, 0.0), (8.0, -5.0, 3.0)], ids=["straight", "oblique"])
def test_tilted_series_is_sheared_back_to_where_things_are(
    tmp_path: Path, tilt: float, oblique: tuple[float, float, float]
) -> None:
    phantom = phantom_scan((40, 44, 10), (1.5, 1.25, 4.0), oblique_degrees=oblique)
    write_dicom_series(tmp_path, phantom, tilt_degrees=tilt)
    refused = only(tmp_path, STRICT)
    assert refused.code == ReasonCode.GEOMETRY_TILTED
    assert f"{abs(tilt):.1f} degrees" in refused.reason
    scan = lenient_scan(tmp_path)
    values = values_in_world(scan, phantom.scan)
    lesion = np.argwhere(np.nan_to_num(values) > 800).mean(axis=0)
    np.testing.assert_allclose(lesion, np.argwhere(phantom.lesion_mask).mean(axis=0), atol=0.4)
    assert np.nanmean(np.abs(values - phantom.scan.voxels)) < 25
    assert any(f"{abs(tilt):.1f} degrees" in note and "resampled" in note for note in scan.notes)


def test_missing_slices_stay_empty_and_the_others_in_place(tmp_path: Path) -> None:
    phantom = phantom_scan((20, 24, 10))
    write_dicom_series(tmp_path, phantom, drop_slice=(3, 6, 7))
    assert only(tmp_path, STRICT).code == ReasonCode.GEOMETRY_GAP
    scan = lenient_scan(tmp_path)
    values = values_in_world(scan, phantom.scan)
    kept = [0, 1, 2, 4, 5, 8, 9]
    np.testing.assert_allclose(values[:, :, kept], phantom.scan.voxels[:, :, kept], atol=0.51)
    assert np.all(values[:, :, [3, 6, 7]] == values.min())
    assert scan.missing_slices == (3, 6, 7)
    assert [k for k, uid in enumerate(scan.source.sop_instance_uids) if not uid] == [3, 6, 7]


def test_uneven_spacing_moves_slices_to_the_nearest_place_and_says_how_far(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6), (1.5, 1.25, 4.0)), shuffle=False)
    last = tmp_path / "0006.dcm"
    dataset = pydicom.dcmread(last)
    dataset.ImagePositionPatient[2] = float(dataset.ImagePositionPatient[2]) + 1.2
    dataset.save_as(last)
    assert only(tmp_path, STRICT).code == ReasonCode.GEOMETRY_IRREGULAR
    assert any("moved by up to 1.20 mm" in note for note in lenient_scan(tmp_path).notes)


def test_slices_half_way_between_two_places_do_not_overwrite_each_other(tmp_path: Path) -> None:
    phantom = write_dicom_series(tmp_path, phantom_scan((20, 24, 7), (1.5, 1.25, 5.0)), shuffle=False)
    for file in sorted(tmp_path.iterdir())[1:]:  # at 0, 7.5, 12.5, 17.5, ... mm
        dataset = pydicom.dcmread(file)
        dataset.ImagePositionPatient[2] = float(dataset.ImagePositionPatient[2]) + 2.5
        dataset.save_as(file)
    scan = lenient_scan(tmp_path)
    assert (scan.shape[2], scan.missing_slices) == (8, (1,))
    acquired = [k for k in range(8) if k != 1]
    np.testing.assert_allclose(scan.voxels[:, :, acquired], phantom.scan.voxels, atol=0.51)
    assert any("1 slice position was not acquired" in note for note in scan.notes)


def test_two_slices_at_one_place_of_the_grid_are_refused_with_numbers() -> None:
    offsets = np.array([0.0, 5.0, 9.0, 12.0])
    stack = Stack((0, 1, 2, 3), offsets, np.eye(3), np.zeros(3), spacing_mm=5.0)
    with pytest.raises(RefusedError, match=r"9\.00 and 12\.00 mm .* 5\.000 mm") as refused:
        slice_places(stack, "series")
    assert refused.value.code == ReasonCode.GEOMETRY_IRREGULAR


def test_shifts_within_the_plane_are_ignored_and_told(tmp_path: Path) -> None:
    phantom = write_dicom_series(tmp_path, phantom_scan((20, 24, 7), (1.5, 1.25, 3.3)), shuffle=False)
    shifted = pydicom.dcmread(tmp_path / "0004.dcm")
    shifted.ImagePositionPatient[0] = float(shifted.ImagePositionPatient[0]) + 5.0
    shifted.save_as(tmp_path / "0004.dcm")
    assert only(tmp_path, STRICT).code == ReasonCode.GEOMETRY_IRREGULAR
    scan = lenient_scan(tmp_path)
    assert scan.notes[0] == "Shifts of slices within their plane were ignored."
    np.testing.assert_allclose(scan.voxels, phantom.scan.voxels, atol=0.51)


def test_phases_at_the_same_positions_become_cases_of_their_own(tmp_path: Path) -> None:
    phantom = phantom_scan((20, 24, 6))
    for echo in (1, 2):
        write_dicom_series(tmp_path / str(echo), phantom, rescale=(echo, 0.0))
        for file in (tmp_path / str(echo)).iterdir():
            dataset = pydicom.dcmread(file)
            dataset.EchoTime, dataset.SOPInstanceUID = 10.0 * echo, generate_uid()
            dataset.save_as(file)
    assert only(tmp_path, STRICT).code == ReasonCode.GEOMETRY_DUPLICATE_POSITION
    candidates = discover([tmp_path], limits=LENIENT)
    assert [candidate.name[-3:] for candidate in candidates] == ["-p1", "-p2"]
    assert [candidate.reason for candidate in candidates] == ["EchoTime 10.0", "EchoTime 20.0"]
    for candidate in candidates:
        values = values_in_world(read_scan(candidate, LENIENT), phantom.scan)
        np.testing.assert_allclose(values, phantom.scan.voxels, atol=1.01)


def test_a_remark_on_a_phase_shows_numbers_and_codes_but_no_text(tmp_path: Path) -> None:
    image_types = (["ORIGINAL", "PRIMARY", "M_FFE"], ["ORIGINAL", SECRET_NAME, "P"])
    for number, image_type in enumerate(image_types):
        write_dicom_series(tmp_path / str(number), phantom_scan((20, 24, 6)), image_type=("ORIGINAL",))
        for file in (tmp_path / str(number)).iterdir():
            dataset = pydicom.dcmread(file)
            dataset["ImageType"].validation_mode = 0
            dataset.add(pydicom.DataElement("ImageType", "CS", image_type, validation_mode=0))
            dataset.SOPInstanceUID = generate_uid()
            dataset.save_as(file)
    candidates = discover([tmp_path], limits=LENIENT)
    assert [c.reason for c in candidates] == ["ImageType ORIGINAL/PRIMARY/M_FFE", "ImageType ORIGINAL/?/P"]


def test_a_repeated_slice_without_a_tag_that_tells_it_apart_stays_refused(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)), duplicate_slice=2)
    assert only(tmp_path, STRICT).code == ReasonCode.GEOMETRY_DUPLICATE_POSITION
    with pytest.raises(RefusedError) as refused:
        lenient_scan(tmp_path)
    assert refused.value.code == ReasonCode.GEOMETRY_DUPLICATE_POSITION
    assert "1 of 7 slices shares the position" in str(refused.value)
    assert "--allow-irregular" not in str(refused.value)  # which was given, and does not help


def test_slices_of_equal_names_in_two_folders_are_told_apart_in_words(tmp_path: Path) -> None:
    phantom = phantom_scan((20, 24, 6))
    for folder in ("one", "two"):
        write_dicom_series(tmp_path / folder, phantom)
        for file in (tmp_path / folder).iterdir():
            dataset = pydicom.dcmread(file)
            dataset.PatientName = folder  # no exact copies
            dataset.save_as(file)
    reason = only(tmp_path, STRICT).reason
    assert "6 of 12 slices share the position of another, for instance two files called 0" in reason
    note = lenient_scan(tmp_path).notes[-1]
    assert note.startswith("Irregular series, scored because of --allow-irregular: ")


def test_a_repeated_slice_with_equal_pixels_is_kept_once(tmp_path: Path) -> None:
    phantom = write_dicom_series(tmp_path, phantom_scan((20, 24, 6)))
    dataset = pydicom.dcmread(tmp_path / "0003.dcm")
    dataset.SOPInstanceUID = generate_uid()
    dataset.save_as(tmp_path / "again.dcm")
    scan = lenient_scan(tmp_path)
    assert scan.shape == (20, 24, 6)
    np.testing.assert_allclose(values_in_world(scan, phantom.scan), phantom.scan.voxels, atol=0.51)


def test_a_byte_for_byte_copy_does_not_disturb(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)))
    (tmp_path / "copy").write_bytes((tmp_path / "0003.dcm").read_bytes())
    assert only(tmp_path, STRICT).eligible


def test_slices_of_unequal_size_are_refused(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "a", phantom_scan((20, 24, 5)))
    write_dicom_series(tmp_path / "b", phantom_scan((22, 24, 5)), uid_seed="b")
    uid = pydicom.dcmread(tmp_path / "a/0001.dcm").SeriesInstanceUID
    frame_of_reference = pydicom.dcmread(tmp_path / "a/0001.dcm").FrameOfReferenceUID
    for file in (tmp_path / "b").iterdir():
        dataset = pydicom.dcmread(file)
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = uid, frame_of_reference
        dataset.save_as(file)
    candidate = only(tmp_path, STRICT)
    assert candidate.code == ReasonCode.SERIES_MIXED_SIZE
    assert "24 x 20" in candidate.reason


def test_two_frames_of_reference_in_one_series_are_refused(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)))
    dataset = pydicom.dcmread(tmp_path / "0003.dcm")
    dataset.FrameOfReferenceUID = generate_uid()
    dataset.save_as(tmp_path / "0003.dcm")
    assert only(tmp_path, STRICT).code == ReasonCode.GEOMETRY_IRREGULAR


def test_slices_without_position_are_refused(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 6)))
    dataset = pydicom.dcmread(tmp_path / "0003.dcm")
    del dataset.ImagePositionPatient
    dataset.save_as(tmp_path / "0003.dcm")
    candidate = only(tmp_path, STRICT)
    assert candidate.code == ReasonCode.GEOMETRY_MISSING
    assert "0003.dcm" in candidate.reason
