"""Masks and scores as NIfTI: grid, header, precision, bytes."""

import gzip
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medzsad.errors import OutputError
from medzsad.output.nifti import GRID_FIELDS, write_mask, write_score
from medzsad.output.verify import verify_mask, verify_score
from medzsad.scan.records import Scan, Source
from tests.output.conftest import SECRETS, MakeResult, with_nifti_header
from tests.phantoms import Phantom, all_axcodes, phantom_scan


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image], ids=["nifti1", "nifti2"])
def test_the_grid_of_the_input_header_is_kept_field_by_field(
    phantom: Phantom, tmp_path: Path, kind: type[nib.Nifti1Image]
) -> None:
    scan = with_nifti_header(phantom.scan, kind)
    write_mask(tmp_path / "m.nii.gz", phantom.lesion_mask.astype(np.uint8), scan)
    written = nib.load(tmp_path / "m.nii.gz")
    source = scan.source.nifti_header
    assert type(written) is kind
    for name in GRID_FIELDS:
        assert np.array_equal(written.header[name], source[name]), name
    assert np.array_equal(written.header["pixdim"][:4], source["pixdim"][:4])
    assert np.array_equal(written.affine, scan.affine_ras)
    assert written.get_data_dtype() == np.uint8
    assert written.header.get_slope_inter() in ((1.0, 0.0), (None, None))
    assert (int(written.header["sform_code"]), int(written.header["qform_code"])) == (2, 1)


def test_free_text_of_the_input_header_is_left_behind(phantom: Phantom, tmp_path: Path) -> None:
    scan = with_nifti_header(phantom.scan)
    write_mask(tmp_path / "m.nii.gz", phantom.lesion_mask.astype(np.uint8), scan)
    content = gzip.decompress((tmp_path / "m.nii.gz").read_bytes())
    for secret in SECRETS:
        assert secret.encode() not in content
    assert not nib.load(tmp_path / "m.nii.gz").header.extensions


@pytest.mark.parametrize("axcodes", all_axcodes())
def test_scans_without_a_header_get_both_forms_with_code_one(axcodes: str, tmp_path: Path) -> None:
    phantom = phantom_scan((12, 14, 5), axcodes=axcodes, oblique_degrees=(9.0, 17.0, -21.0))
    write_mask(tmp_path / "m.nii.gz", phantom.lesion_mask.astype(np.uint8), phantom.scan)
    written = nib.load(tmp_path / "m.nii.gz")
    sform, sform_code = written.get_sform(coded=True)
    qform, qform_code = written.get_qform(coded=True)
    assert (int(sform_code), int(qform_code)) == (1, 1)
    assert np.abs(sform - phantom.scan.affine_ras).max() < 1e-5
    assert np.abs(qform - phantom.scan.affine_ras).max() < 1e-4
    assert written.header.get_xyzt_units()[0] == "mm"
    assert np.array_equal(np.asarray(written.dataobj) > 0, phantom.lesion_mask)


def test_a_sheared_grid_has_no_wrong_qform(phantom: Phantom, tmp_path: Path) -> None:
    sheared = phantom.scan.affine_ras @ np.array([[1, 0, 0.2, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    scan = replace(phantom.scan, affine_ras=sheared)
    write_mask(tmp_path / "m.nii", phantom.lesion_mask.astype(np.uint8), scan)
    written = nib.load(tmp_path / "m.nii")
    assert int(written.header["qform_code"]) == 0
    assert np.abs(written.affine - sheared).max() < 1e-5


def test_a_header_that_the_reader_did_not_follow_is_not_followed_either(phantom: Phantom, tmp_path: Path) -> None:
    scan = with_nifti_header(phantom.scan)
    moved = scan.affine_ras.copy()
    moved[:3, 3] += 5
    write_mask(tmp_path / "m.nii.gz", phantom.lesion_mask.astype(np.uint8), replace(scan, affine_ras=moved))
    assert np.abs(nib.load(tmp_path / "m.nii.gz").affine - moved).max() < 1e-5


def test_a_frame_of_a_4d_file_is_written_as_3d(phantom: Phantom, tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((*phantom.scan.shape, 3), dtype=np.int16), phantom.scan.affine_ras)
    scan = replace(phantom.scan, affine_ras=image.affine, source=Source(kind="nifti", nifti_header=image.header))
    mask = phantom.lesion_mask.astype(np.uint8)
    write_mask(tmp_path / "m.nii.gz", mask, scan)
    verify_mask(tmp_path / "m.nii.gz", mask, scan)
    assert nib.load(tmp_path / "m.nii.gz").shape == phantom.scan.shape


def test_a_2d_input_gets_a_2d_mask(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((6, 9), dtype=np.int16), np.diag([2.0, 3.0, 1.0, 1.0]))
    scan = Scan(
        "flat", np.zeros((6, 9, 1), np.float32), image.affine, "", None, Source("nifti", nifti_header=image.header)
    )
    mask = np.zeros((6, 9, 1), dtype=np.uint8)
    mask[1, 7, 0] = 1
    write_mask(tmp_path / "m.nii.gz", mask, scan)
    verify_mask(tmp_path / "m.nii.gz", mask, scan)
    assert nib.load(tmp_path / "m.nii.gz").shape == (6, 9)


def test_a_side_too_long_for_nifti1_is_written_as_nifti2(tmp_path: Path) -> None:
    scan = Scan("long", np.zeros((40_000, 2, 1), np.float32), np.eye(4), "", None, Source("array"))
    mask = np.zeros(scan.shape, dtype=np.uint8)
    mask[39_000, 1, 0] = 1
    write_mask(tmp_path / "m.nii.gz", mask, scan)
    verify_mask(tmp_path / "m.nii.gz", mask, scan)
    assert isinstance(nib.load(tmp_path / "m.nii.gz"), nib.Nifti2Image)


def test_float32_scores_come_back_bit_by_bit(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result()
    assert result.scan is not None
    assert result.score is not None
    write_score(tmp_path / "s.nii.gz", result.score, result.scan)
    assert np.array_equal(np.asarray(nib.load(tmp_path / "s.nii.gz").dataobj), result.score)


def test_scaled_scores_come_back_within_half_a_step_at_half_the_size(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result()
    assert result.scan is not None
    assert result.score is not None
    write_score(tmp_path / "s.nii", result.score, result.scan, "float16-scaled")
    write_score(tmp_path / "full.nii", result.score, result.scan, "float32")
    read = nib.load(tmp_path / "s.nii")
    assert read.get_data_dtype() == np.uint16
    assert np.abs(read.get_fdata() - result.score).max() <= 7.7e-6
    full, half = ((tmp_path / name).stat().st_size - 352 for name in ("full.nii", "s.nii"))
    assert full == 2 * half
    verify_score(tmp_path / "s.nii", result.score, result.scan)


def test_the_same_result_gives_the_same_bytes_under_any_name(phantom: Phantom, tmp_path: Path) -> None:
    mask = phantom.lesion_mask.astype(np.uint8)
    write_mask(tmp_path / "a.nii.gz", mask, phantom.scan)
    write_mask(tmp_path / "another name.nii.gz", mask, phantom.scan)
    first = (tmp_path / "a.nii.gz").read_bytes()
    assert first == (tmp_path / "another name.nii.gz").read_bytes()
    assert first[3] == 0  # RFC 1952: no file name, no comment
    assert first[4:8] == bytes(4)  # no time


def test_a_mask_of_another_shape_is_not_written(phantom: Phantom, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Restore the result"):
        write_mask(tmp_path / "m.nii.gz", np.zeros((3, 4, 5), dtype=np.uint8), phantom.scan)


def _written(phantom: Phantom, folder: Path) -> tuple[Path, np.ndarray]:
    mask = phantom.lesion_mask.astype(np.uint8)
    write_mask(folder / "m.nii.gz", mask, phantom.scan)
    verify_mask(folder / "m.nii.gz", mask, phantom.scan)
    return folder / "m.nii.gz", mask


def test_a_missing_voxel_is_found_out(phantom: Phantom, tmp_path: Path) -> None:
    path, mask = _written(phantom, tmp_path)
    more = mask.copy()
    more[0, 0, 0] = 1
    with pytest.raises(OutputError, match=rf"holds {mask.sum()} voxels of lesion where {mask.sum() + 1}"):
        verify_mask(path, more, phantom.scan)


def test_a_mirrored_mask_is_found_out(phantom: Phantom, tmp_path: Path) -> None:
    path, mask = _written(phantom, tmp_path)
    with pytest.raises(OutputError, match="other places"):
        verify_mask(path, mask[::-1], phantom.scan)


@pytest.mark.parametrize("entry", [(0, 0), (1, 2), (2, 3)])
def test_a_shifted_grid_is_found_out(phantom: Phantom, tmp_path: Path, entry: tuple[int, int]) -> None:
    path, mask = _written(phantom, tmp_path)
    moved = phantom.scan.affine_ras.copy()
    moved[entry] += 0.01
    with pytest.raises(OutputError, match="lies elsewhere"):
        verify_mask(path, mask, replace(phantom.scan, affine_ras=moved))


@pytest.mark.parametrize("keep", [0, 5, 100])
def test_a_truncated_file_is_found_out(phantom: Phantom, tmp_path: Path, keep: int) -> None:
    path, mask = _written(phantom, tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(OutputError, match="could not be read back"):
        verify_mask(path, mask, phantom.scan)


def test_a_changed_score_is_found_out(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result()
    assert result.scan is not None
    assert result.score is not None
    write_score(tmp_path / "s.nii.gz", result.score, result.scan)
    other = result.score.copy()
    other[3, 4, 5] = np.nan
    with pytest.raises(OutputError, match="differs from the score"):
        verify_score(tmp_path / "s.nii.gz", other, result.scan)


@settings(max_examples=30, deadline=None)
@given(
    spacing=st.tuples(*[st.floats(0.1, 20)] * 3),
    degrees=st.tuples(*[st.floats(-179, 179)] * 3),
    offset=st.tuples(*[st.floats(-2000, 2000)] * 3),
)
def test_any_rigid_grid_passes_its_own_check(
    tmp_path_factory: pytest.TempPathFactory,
    spacing: tuple[float, float, float],
    degrees: tuple[float, float, float],
    offset: tuple[float, float, float],
) -> None:
    phantom = phantom_scan((5, 7, 4), spacing_mm=spacing, oblique_degrees=degrees)
    affine = phantom.scan.affine_ras.copy()
    affine[:3, 3] += offset
    path = tmp_path_factory.mktemp("grid") / "m.nii"
    scan = replace(phantom.scan, affine_ras=affine)
    write_mask(path, phantom.lesion_mask.astype(np.uint8), scan)
    verify_mask(path, phantom.lesion_mask.astype(np.uint8), scan)
