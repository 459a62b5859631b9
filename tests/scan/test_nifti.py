from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medzsad.errors import ReasonCode, RefusedError
from medzsad.output.nifti import write_mask
from medzsad.scan.discover import discover
from medzsad.scan.reader import read_scan
from medzsad.scan.records import ReadLimits, Scan
from tests.phantoms import all_axcodes, phantom_scan, values_in_world, write_nifti

LIMITS = ReadLimits(min_slices=1)  # the grids here are small
SHAPE = (12, 15, 9)


def read(path: Path, limits: ReadLimits = LIMITS, frame: int | None = None) -> Scan:
    (candidate,) = discover([path], limits=limits, frame=frame)
    return read_scan(candidate, limits)


def refusal(path: Path, limits: ReadLimits = LIMITS) -> ReasonCode:
    with pytest.raises(RefusedError) as refused:
        read(path, limits)
    return refused.value.code


@pytest.mark.parametrize("axcodes", all_axcodes())
def test_every_axis_order_keeps_each_voxel_at_its_place(tmp_path: Path, axcodes: str) -> None:
    phantom = phantom_scan(SHAPE, axcodes=axcodes, oblique_degrees=(7.0, -4.0, 11.0))
    write_nifti(tmp_path / "a.nii", phantom)
    scan = read(tmp_path / "a.nii")
    np.testing.assert_array_equal(scan.voxels, phantom.scan.voxels)
    np.testing.assert_allclose(scan.affine_ras, phantom.scan.affine_ras, atol=1e-5)
    upright = phantom_scan(SHAPE, oblique_degrees=(7.0, -4.0, 11.0)).scan
    np.testing.assert_array_equal(values_in_world(scan, upright), upright.voxels)


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    spacing_mm=st.tuples(*[st.floats(0.2, 6.0)] * 3),
    oblique=st.tuples(*[st.floats(-80.0, 80.0)] * 3),
    axcodes=st.sampled_from(all_axcodes()),
)
def test_any_grid_reads_back_as_written(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    oblique: tuple[float, float, float],
    axcodes: str,
) -> None:
    phantom = phantom_scan(shape, spacing_mm, axcodes=axcodes, oblique_degrees=oblique)
    phantom.scan.voxels[0, 0, 0], phantom.scan.voxels[-1, -1, -1] = -1.0, -2.0  # two values would make it a mask
    path = tmp_path_factory.mktemp("grid") / "a.nii.gz"
    write_nifti(path, phantom)
    scan = read(path)
    np.testing.assert_array_equal(scan.voxels, phantom.scan.voxels)
    np.testing.assert_allclose(scan.affine_ras, phantom.scan.affine_ras, atol=1e-4)


def test_sform_wins_and_the_disagreement_is_told(tmp_path: Path) -> None:
    phantom = phantom_scan(SHAPE)
    image = nib.Nifti1Image(phantom.scan.voxels, phantom.scan.affine_ras)
    moved = phantom.scan.affine_ras.copy()
    moved[0, 3] += 12.5
    image.set_sform(phantom.scan.affine_ras, code=1)
    image.set_qform(moved, code=1)
    nib.save(image, tmp_path / "a.nii.gz")
    scan = read(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(scan.affine_ras, phantom.scan.affine_ras, atol=1e-5)
    assert scan.notes == ("sform and qform disagree by up to 12.50 mm; the sform is used.",)


@pytest.mark.parametrize(("sform", "qform"), [(1, 0), (0, 1), (2, 2)])
def test_either_form_is_enough(tmp_path: Path, sform: int, qform: int) -> None:
    phantom = phantom_scan(SHAPE, oblique_degrees=(5.0, 0.0, 9.0))
    write_nifti(tmp_path / "a.nii.gz", phantom, sform=sform, qform=qform)
    scan = read(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(scan.affine_ras, phantom.scan.affine_ras, atol=1e-4)
    assert scan.notes == ()


def test_without_any_form_the_spacing_is_used_and_told(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", phantom_scan(SHAPE, (1.5, 1.25, 4.0)), sform=0, qform=0)
    scan = read(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(scan.spacing_mm, (1.5, 1.25, 4.0))
    assert "orientation is unknown" in scan.notes[0]


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nib.Nifti1Image(stored, np.diag([1.0, 2.0, 3.0, 1.0]))
    image.header.set_slope_inter(2.0, -1000.0)
    nib.save(image, tmp_path / "a.nii.gz")
    scan = read(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(scan.voxels, stored * 2.0 - 1000.0)


def test_two_dimensions_become_one_slice(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.float32).reshape(3, 4)
    nib.save(nib.Nifti1Image(pixels, np.eye(4)), tmp_path / "a.nii")
    np.testing.assert_array_equal(read(tmp_path / "a.nii").voxels, pixels[:, :, None])


def test_four_dimensions_are_refused_until_a_frame_is_chosen(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(frames, np.eye(4)), path)
    assert refusal(path) == ReasonCode.SERIES_4D
    np.testing.assert_array_equal(read(path, frame=1).voxels, frames[..., 1])
    both = discover([path], limits=LIMITS, all_frames=True)
    assert [candidate.name for candidate in both] == ["a-f000", "a-f001"]
    (beyond,) = discover([path], limits=LIMITS, frame=2)
    assert beyond.code == ReasonCode.SERIES_4D


def test_color_is_kept(tmp_path: Path) -> None:
    color = np.zeros((3, 4, 2), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    color["G"] = np.arange(24).reshape(3, 4, 2)
    nib.save(nib.Nifti1Image(color, np.eye(4)), tmp_path / "a.nii.gz")
    voxels = read(tmp_path / "a.nii.gz").voxels
    assert voxels.shape == (3, 4, 2, 3)
    np.testing.assert_array_equal(voxels[..., 1], color["G"])
    assert voxels[..., [0, 2]].max() == 0


def test_header_and_image_pairs_are_one_case(tmp_path: Path) -> None:
    phantom = phantom_scan(SHAPE)
    nib.save(nib.Nifti1Pair(phantom.scan.voxels, phantom.scan.affine_ras), tmp_path / "a.img")
    (candidate,) = discover([tmp_path], limits=LIMITS)
    assert candidate.files == (tmp_path / "a.hdr", tmp_path / "a.img")
    np.testing.assert_array_equal(read_scan(candidate, LIMITS).voxels, phantom.scan.voxels)
    assert set(discover([tmp_path / "a.img"], limits=LIMITS)[0].files) == set(candidate.files)
    np.testing.assert_array_equal(read(tmp_path / "a.img").voxels, phantom.scan.voxels)


def test_header_is_kept_for_writing_back(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", phantom_scan(SHAPE), sform=4, qform=3)
    header = read(tmp_path / "a.nii.gz").source.nifti_header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (4, 3)


@pytest.mark.parametrize("value", [0.0, np.nan], ids=["zero", "nan"])
def test_an_affine_that_spans_no_volume_is_refused(tmp_path: Path, value: float) -> None:
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    image = nib.Nifti1Image(np.arange(24.0, dtype=np.float32).reshape(2, 3, 4), affine)
    image.set_qform(affine, code=0)
    image.header["srow_y"] = [0.0, value, 0.0, 0.0]
    image.header["sform_code"] = 1
    with (tmp_path / "a.nii").open("wb") as stream:
        header = image.header.copy()
        header["magic"], header["vox_offset"] = b"n+1", 352
        header.write_to(stream)
        stream.write(b"\0" * 4 + image.get_fdata(dtype=np.float32).tobytes(order="F"))
    assert refusal(tmp_path / "a.nii") == ReasonCode.GEOMETRY_MISSING


def test_absurd_dimensions_are_refused_before_memory_is_allocated(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((32000, 32000, 32000))
    header["magic"], header["vox_offset"] = b"n+1", 352
    with (tmp_path / "a.nii").open("wb") as stream:
        header.write_to(stream)
        stream.write(b"\0" * 100)
    assert refusal(tmp_path / "a.nii") == ReasonCode.SIZE_LIMIT


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_file_that_holds_less_than_its_header_promises_is_refused(tmp_path: Path, name: str) -> None:
    write_nifti(tmp_path / name, phantom_scan(SHAPE))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
    assert refusal(tmp_path / name) == ReasonCode.FILE_UNREADABLE


def test_the_library_says_nothing_of_its_own_about_a_wrong_header(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "offset.nii"
    write_nifti(path, phantom_scan(SHAPE))
    content = bytearray(path.read_bytes())
    content[108:112] = np.float32(-5e9).tobytes()  # vox_offset, where the voxels begin
    path.write_bytes(content)
    assert refusal(path) == ReasonCode.FILE_UNREADABLE
    assert caplog.records == []


def test_a_header_without_its_image_is_refused(tmp_path: Path) -> None:
    phantom = phantom_scan(SHAPE)
    nib.save(nib.Nifti1Pair(phantom.scan.voxels, phantom.scan.affine_ras), tmp_path / "a.img")
    (tmp_path / "a.img").unlink()
    (candidate,) = discover([tmp_path], limits=LIMITS)
    assert candidate.code == ReasonCode.FILE_UNREADABLE
    assert "a.img" in candidate.reason


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1000.0), ("micron", 0.001)])
def test_other_units_of_length_become_millimeters_in_scan_and_mask(tmp_path: Path, unit: str, mm: float) -> None:
    phantom = phantom_scan(SHAPE, oblique_degrees=(7.0, -4.0, 11.0))
    stored = np.diag([1 / mm, 1 / mm, 1 / mm, 1.0]) @ phantom.scan.affine_ras
    image = nib.Nifti1Image(phantom.scan.voxels, stored)
    image.set_sform(stored, code=1)
    image.set_qform(stored, code=1)
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, tmp_path / "a.nii.gz")
    (candidate,) = discover([tmp_path], limits=LIMITS)
    scan = read_scan(candidate, LIMITS)
    np.testing.assert_allclose(candidate.spacing_mm, phantom.scan.spacing_mm, rtol=1e-5)
    np.testing.assert_allclose(scan.affine_ras, phantom.scan.affine_ras, atol=1e-4)
    assert len(scan.notes) == 1
    assert unit in scan.notes[0]
    write_mask(tmp_path / "mask.nii.gz", phantom.lesion_mask.astype(np.uint8), scan)
    written = nib.load(tmp_path / "mask.nii.gz")
    assert written.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(written.affine, scan.affine_ras, atol=1e-4)
    np.testing.assert_allclose(written.header.get_zooms(), scan.spacing_mm, rtol=1e-5)


@pytest.mark.parametrize("name", ["a.mgz", "a.mgh"])
def test_a_freesurfer_volume_keeps_each_voxel_at_its_place(tmp_path: Path, name: str) -> None:
    phantom = phantom_scan(SHAPE, axcodes="LIA", oblique_degrees=(5.0, 0.0, 3.0))
    nib.save(nib.MGHImage(phantom.scan.voxels, phantom.scan.affine_ras), tmp_path / name)
    (candidate,) = discover([tmp_path], limits=LIMITS)
    assert (candidate.kind, candidate.shape) == ("nifti", phantom.scan.shape)
    scan = read(tmp_path / name)
    np.testing.assert_array_equal(scan.voxels, phantom.scan.voxels)
    np.testing.assert_allclose(scan.affine_ras, phantom.scan.affine_ras, atol=1e-4)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    assert refusal(tmp_path / name) == ReasonCode.FILE_UNREADABLE


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
def test_complex_numbers_are_refused_by_the_header(tmp_path: Path, kind: type[np.complexfloating]) -> None:
    voxels = (phantom_scan(SHAPE).scan.voxels * (1 + 2j)).astype(kind)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii")
    (candidate,) = discover([tmp_path], limits=LIMITS)
    assert candidate.code == ReasonCode.NOT_AN_IMAGE
    assert "complex numbers" in candidate.reason
