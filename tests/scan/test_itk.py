import zipfile
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

LIMITS = ReadLimits(min_slices=1)  # the grids here are small


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


@pytest.mark.parametrize("name", ["a.nhdr", "a.mhd"])
def test_the_data_file_belongs_to_the_candidate(tmp_path: Path, name: str) -> None:
    write_itk(tmp_path / name, phantom_scan((12, 15, 9)))
    (candidate,) = discover([tmp_path], limits=LIMITS)
    assert set(candidate.files) == set(tmp_path.iterdir())
    assert len(candidate.files) == 2


HEADERS = {
    ".mhd": "ObjectType = Image\nNDims = 3\nDimSize = 3 4 5\nElementType = MET_UCHAR\nElementDataFile = {}\n",
    ".mha": "NDims = 3\nDimSize = 3 4 5\nElementType = MET_UCHAR\nComment = x\r\nElementDataFile={}\n",
    ".nhdr": "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 3 4 5\nencoding: raw\ndata file: {}\n",
    ".nrrd": "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 3 4 5\nencoding: raw\nDataFile: {}\n\n",
}


@pytest.mark.parametrize("ending", HEADERS)
@pytest.mark.parametrize(
    "data",
    [
        "{outside}",
        "../outside.raw",
        "sub/inside.raw",
        "..\\outside.raw",
        "LIST\noutside.raw",
        "a%03d.raw 1 5 1",
        "-",
        "..",
    ],
)
def test_a_header_cannot_point_at_other_files(tmp_path: Path, ending: str, data: str) -> None:
    (tmp_path / "scans/sub").mkdir(parents=True)
    for place in ("outside.raw", "scans/sub/inside.raw", "scans/outside.raw"):
        (tmp_path / place).write_bytes(bytes(range(60)))
    for n in range(1, 6):
        (tmp_path / f"scans/a{n:03d}.raw").write_bytes(bytes(range(12)))
    header = tmp_path / f"scans/a{ending}"
    text = HEADERS[ending].format(data.format(outside=tmp_path / "outside.raw"))
    header.write_text(text, encoding="ascii")
    (candidate,) = discover([header], limits=LIMITS)
    assert candidate.code == ReasonCode.FILE_UNREADABLE
    assert "beside" in candidate.reason
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(header, header.name)
    assert [c.code for c in discover([tmp_path / "a.zip"], limits=LIMITS, unpack_dir=tmp_path / "new")] == [
        ReasonCode.FILE_UNREADABLE
    ]


@pytest.mark.parametrize("ending", HEADERS)
def test_a_plain_name_beside_the_header_is_read_and_a_missing_one_told(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a{ending}").write_text(HEADERS[ending].format("b 1.raw"), encoding="ascii")
    (candidate,) = discover([tmp_path], limits=LIMITS)
    assert candidate.code == ReasonCode.FILE_UNREADABLE
    assert "b 1.raw" in candidate.reason
    (tmp_path / "b 1.raw").write_bytes(bytes(range(60)))
    (candidate,) = discover([tmp_path], limits=LIMITS)
    assert candidate.files == (tmp_path / f"a{ending}", tmp_path / "b 1.raw")
    np.testing.assert_array_equal(read_scan(candidate, LIMITS).voxels.ravel(order="F"), np.arange(60))


@pytest.mark.parametrize("before", ["Comment = ElementDataFile = LOCAL", "Name = " + "x" * 600, "no field at all"])
def test_a_header_that_hides_where_its_data_is_named_is_refused(tmp_path: Path, before: str) -> None:
    (tmp_path / "b.raw").write_bytes(bytes(range(60)))
    text = HEADERS[".mhd"].format("b.raw")
    (tmp_path / "a.mhd").write_text(f"{before}\n{text}", encoding="ascii")
    assert discover([tmp_path / "a.mhd"], limits=LIMITS)[0].code == ReasonCode.FILE_UNREADABLE


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("a.mha", ReasonCode.SERIES_4D, "2 values per voxel"),  # the format does not tell them from pairs
        ("a.nrrd", ReasonCode.NOT_AN_IMAGE, "complex numbers"),
    ],
)
def test_complex_numbers_are_refused_by_the_header(tmp_path: Path, name: str, code: ReasonCode, words: str) -> None:
    voxels = (phantom_scan((12, 15, 9)).scan.voxels * (1 + 2j)).astype(np.complex64)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), str(tmp_path / name))
    (candidate,) = discover([tmp_path], limits=LIMITS)
    assert candidate.code == code
    assert words in candidate.reason


@pytest.mark.parametrize("packed", [False, True])
def test_a_metaimage_that_holds_less_than_its_header_promises_is_refused_before_itk_reads_it(
    tmp_path: Path, packed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    image = SimpleITK.GetImageFromArray(phantom_scan((12, 15, 9)).scan.voxels)
    SimpleITK.WriteImage(image, str(tmp_path / "a.mha"), packed)
    whole = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "a.mha").write_bytes(whole[:-40])
    (candidate,) = discover([tmp_path], limits=LIMITS)
    with pytest.raises(RefusedError, match=r"holds \d+ of the 6480 bytes"):
        read_scan(candidate, LIMITS)
    assert capfd.readouterr().err == ""
