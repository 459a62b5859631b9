from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.discover import discover
from medzsad.scan.geometry import lps_from_ras
from medzsad.scan.reader import read_scan
from medzsad.scan.records import ReadLimits
from tests.phantoms import Phantom, phantom_scan, values_in_world

LIMITS = ReadLimits()


def write_itk(path: Path, phantom: Phantom) -> None:
    scan = phantom.scan
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(scan.voxels.T))
    image.SetSpacing(scan.spacing_mm)
    image.SetOrigin(lps_from_ras(scan.affine_ras[:3, 3]).tolist())
    image.SetDirection((lps_from_ras(scan.affine_ras[:3, :3].T).T / scan.spacing_mm).ravel().tolist())
    SimpleITK.WriteImage(image, str(path))


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("axcodes", ["LPS", "SRA", "IPL"])
def test_every_voxel_keeps_its_place(tmp_path: Path, name: str, axcodes: str) -> None:
    phantom = phantom_scan((12, 15, 9), axcodes=axcodes, oblique_degrees=(7.0, -4.0, 11.0))
    write_itk(tmp_path / name, phantom)
    (candidate,) = discover([tmp_path], limits=LIMITS)
    scan = read_scan(candidate, LIMITS)
    assert candidate.shape == scan.shape
    np.testing.assert_array_equal(scan.voxels, phantom.scan.voxels)
    np.testing.assert_allclose(scan.affine_ras, phantom.scan.affine_ras, atol=1e-4)
    np.testing.assert_array_equal(values_in_world(scan, phantom.scan), phantom.scan.voxels)


def test_color_is_kept_and_other_vectors_are_refused(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values, isVector=True), str(tmp_path / "color.mha"))
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values[..., :2], isVector=True), str(tmp_path / "field.mha"))
    color, field = discover([tmp_path], limits=LIMITS)
    np.testing.assert_array_equal(read_scan(color, LIMITS).voxels, values.transpose(2, 1, 0, 3))
    assert field.code == ReasonCode.SERIES_4D


def test_a_fourth_axis_needs_a_frame(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    image = SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(part) for part in values])
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    assert discover([tmp_path], limits=LIMITS)[0].code == ReasonCode.SERIES_4D
    (second,) = discover([tmp_path], limits=LIMITS, frame=1)
    np.testing.assert_array_equal(read_scan(second, LIMITS).voxels, values[1].T)


def test_size_is_checked_by_the_header(tmp_path: Path) -> None:
    text = (
        "ObjectType = Image\nNDims = 3\nDimSize = 60000 60000 60000\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    (tmp_path / "a.mha").write_text(text, encoding="ascii")
    assert discover([tmp_path], limits=LIMITS)[0].code == ReasonCode.SIZE_LIMIT


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(tmp_path: Path, kept: float) -> None:
    for name in ("a.nrrd", "a.mha"):
        write_itk(tmp_path / name, phantom_scan((12, 15, 9)))
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: int(len(whole) * kept)])
        with pytest.raises(RefusedError):
            read_scan(discover([tmp_path / name], limits=LIMITS)[0], LIMITS)
