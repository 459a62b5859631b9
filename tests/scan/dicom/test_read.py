from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.dicom.headers import read_header
from medzsad.scan.dicom.irregular import place_slices
from medzsad.scan.dicom.pixels import decode_slices
from medzsad.scan.dicom.read import read_dicom
from medzsad.scan.dicom.stacks import stack_of
from medzsad.scan.discover import discover
from medzsad.scan.reader import read_scan
from medzsad.scan.records import Candidate, ReadLimits, Scan
from tests.phantoms import SECRET_ID, SECRET_NAME, one_slice_dataset, phantom_scan, values_in_world, write_dicom_series

LIMITS = ReadLimits()
BRAINIX = Path("../shared/data")
ORIENTATIONS = {
    "axial": ("LPS", (0.0, 0.0, 0.0)),
    "posterior first": ("LAS", (0.0, 0.0, 0.0)),
    "right first": ("RPS", (0.0, 0.0, 0.0)),
    "coronal": ("LIP", (0.0, 0.0, 0.0)),
    "sagittal": ("PIL", (0.0, 0.0, 0.0)),
    "oblique": ("LPS", (17.0, 0.0, 0.0)),
    "double oblique": ("LPS", (17.0, -9.0, 4.0)),
}


def read_only(folder: Path, limits: ReadLimits = LIMITS) -> Scan:
    (candidate,) = discover([folder], limits=limits)
    return read_scan(candidate, limits)


@pytest.mark.parametrize(("axcodes", "oblique"), ORIENTATIONS.values(), ids=ORIENTATIONS.keys())
@pytest.mark.parametrize("multiframe", [False, True], ids=["files", "enhanced"])
def test_every_voxel_lands_where_the_header_says(
    tmp_path: Path, axcodes: str, oblique: tuple[float, float, float], multiframe: bool
) -> None:
    phantom = phantom_scan((20, 24, 9), axcodes=axcodes, oblique_degrees=oblique)
    write_dicom_series(tmp_path, phantom, multiframe=multiframe)
    scan = read_only(tmp_path)
    assert scan.acquisition_axis == 2
    assert scan.voxels.dtype == np.float32
    assert len(scan.source.sop_instance_uids) == scan.shape[2]
    np.testing.assert_allclose(scan.spacing_mm, phantom.scan.spacing_mm, rtol=1e-5)
    np.testing.assert_allclose(values_in_world(scan, phantom.scan), phantom.scan.voxels, atol=0.51)


def test_each_index_k_names_the_slice_that_lies_there(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 9), axcodes="LPI", oblique_degrees=(10.0, 5.0, 0.0)))
    scan = read_only(tmp_path)
    by_uid = {str(d.SOPInstanceUID): d for d in map(pydicom.dcmread, tmp_path.iterdir())}
    for k, uid in enumerate(scan.source.sop_instance_uids):
        position_ras = scan.affine_ras @ [0, 0, k, 1]
        np.testing.assert_allclose(position_ras[:3] * [-1, -1, 1], by_uid[uid].ImagePositionPatient, atol=1e-4)
        np.testing.assert_array_equal(scan.voxels[:, :, k].T, by_uid[uid].pixel_array)


def test_highdicom_agrees_with_slices_placed_one_by_one(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 9), oblique_degrees=(12.0, 7.0, 0.0)))
    scan = read_only(tmp_path)
    headers = [read_header(file, file.name) for file in scan.source.files]
    slices = [header.slices[0] for header in headers]
    images = decode_slices(slices, "", headers[0])
    row_mm, column_mm = slices[0].pixel_spacing_mm
    grid = place_slices(images, stack_of(slices, ""), (column_mm, row_mm), place="", max_voxels=10**6)
    placed = replace(scan, voxels=grid.voxels, affine_ras=grid.affine_ras)
    np.testing.assert_array_equal(values_in_world(placed, scan), scan.voxels)


def test_the_body_part_is_read(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 5)))
    assert read_only(tmp_path).body_part == ""
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.BodyPartExamined = "HEAD"
        dataset.save_as(path)
    assert read_only(tmp_path).body_part == "HEAD"


@pytest.mark.parametrize("multiframe", [False, True], ids=["files", "enhanced"])
def test_rescale_is_applied(tmp_path: Path, multiframe: bool) -> None:
    phantom = phantom_scan((20, 24, 6), modality="CT")
    write_dicom_series(tmp_path, phantom, rescale=(0.5, -1024.0), multiframe=multiframe)
    scan = read_only(tmp_path)
    np.testing.assert_allclose(values_in_world(scan, phantom.scan), phantom.scan.voxels, atol=0.26)


def test_monochrome1_is_mirrored_so_that_the_lesion_stays_brightest(tmp_path: Path) -> None:
    phantom = write_dicom_series(tmp_path, phantom_scan((30, 34, 8)), monochrome1=True)
    scan = read_only(tmp_path)
    values = values_in_world(scan, phantom.scan)
    assert values[phantom.lesion_mask].min() == values.max()
    np.testing.assert_allclose(values - values.min(), phantom.scan.voxels, atol=0.51)
    assert "MONOCHROME1" in scan.notes[0]


def test_monochrome1_leaves_missing_slices_dark(tmp_path: Path) -> None:
    phantom = write_dicom_series(tmp_path, phantom_scan((20, 24, 8)), monochrome1=True, drop_slice=3)
    scan = read_only(tmp_path, ReadLimits(allow_irregular=True))
    values = values_in_world(scan, phantom.scan)
    assert np.all(values[:, :, 3] == values.min())
    assert values[phantom.lesion_mask & (np.arange(8) != 3)].min() == values.max()


def test_a_stack_of_color_slices_keeps_its_colors(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 5)), shuffle=False)
    random = np.random.default_rng(0)
    for file in sorted(tmp_path.iterdir()):
        dataset = pydicom.dcmread(file)
        color = random.integers(0, 255, (24, 20, 3), np.uint8)
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, dataset.PixelData = 7, color.tobytes()
        dataset.save_as(file)
    scan = read_only(tmp_path)
    assert scan.voxels.shape == (20, 24, 5, 3)
    np.testing.assert_allclose(scan.voxels[:, :, 4].swapaxes(0, 1), color, atol=1e-4)


@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, DeflatedExplicitVRLittleEndian], ids=lambda uid: uid.name
)
def test_lossless_compression_changes_no_voxel(tmp_path: Path, syntax: str) -> None:
    phantom = phantom_scan((36, 40, 5))  # JPEG 2000 needs 32 pixels
    write_dicom_series(tmp_path / "plain", phantom)
    write_dicom_series(tmp_path / "packed", phantom, transfer_syntax=syntax)
    packed = pydicom.dcmread(next((tmp_path / "packed").iterdir()), stop_before_pixels=True)
    assert packed.file_meta.TransferSyntaxUID == syntax != ExplicitVRLittleEndian
    np.testing.assert_array_equal(read_only(tmp_path / "packed").voxels, read_only(tmp_path / "plain").voxels)


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_compressed_files_of_pydicom_equal_the_plain_one(name: str) -> None:
    limits = ReadLimits(min_slices=1)
    plain = read_only(Path(get_testdata_file("MR_small.dcm")), limits)
    np.testing.assert_array_equal(read_only(Path(get_testdata_file(name)), limits).voxels, plain.voxels)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("SC_rgb_jpeg_dcmtk.dcm", (100, 100, 1, 3)),
        ("SC_rgb_rle.dcm", (100, 100, 1, 3)),
        ("SC_rgb_gdcm_KY.dcm", (100, 100, 1, 3)),
        ("examples_palette.dcm", (800, 350, 1, 3)),
        ("image_dfl.dcm", (512, 512, 1)),
    ],
)
def test_files_of_pydicom_decode(name: str, shape: tuple[int, ...]) -> None:
    scan = read_only(Path(get_testdata_file(name)))
    assert scan.voxels.shape == shape
    assert scan.voxels.min() >= 0
    assert scan.voxels.max() <= 255


def test_jpeg_lossless_decodes_exactly(tmp_path: Path, jpeg_lossless: Callable[[Path], None]) -> None:
    phantom = write_dicom_series(tmp_path / "plain", phantom_scan((32, 40, 5)))
    write_dicom_series(tmp_path / "packed", phantom)
    for file in (tmp_path / "packed").iterdir():
        jpeg_lossless(file)
    np.testing.assert_array_equal(read_only(tmp_path / "packed").voxels, read_only(tmp_path / "plain").voxels)


@pytest.fixture
def jpeg_lossless() -> Callable[[Path], None]:
    gdcm = pytest.importorskip("gdcm")

    def convert(file: Path) -> None:
        reader = gdcm.ImageReader()
        reader.SetFileName(str(file))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(file))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        assert pydicom.dcmread(file).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"

    return convert


def test_pixels_that_cannot_be_decoded_name_the_transfer_syntax() -> None:
    with pytest.raises(RefusedError, match="JPEG Extended") as refused:
        read_only(Path(get_testdata_file("JPGExtended.dcm")))
    assert refused.value.code == ReasonCode.PIXELS_NOT_DECODABLE


def test_a_picture_has_the_lengths_that_its_file_tells_or_none(tmp_path: Path) -> None:
    pixels = np.arange(12 * 17, dtype=np.uint8).reshape(12, 17)
    dataset = one_slice_dataset(pixels)
    dataset.save_as(tmp_path / "us.dcm", enforce_file_format=True)
    scan = read_only(tmp_path)
    np.testing.assert_array_equal(scan.voxels[:, :, 0].T, pixels)
    assert not scan.has_physical_space
    assert scan.notes == ("The file tells no pixel spacing, so there are no lengths and volumes.",)
    assert discover([tmp_path], limits=LIMITS)[0].spacing_mm == ()
    dataset.PixelSpacing = [0, 0]
    dataset.save_as(tmp_path / "us.dcm", enforce_file_format=True)
    assert not read_only(tmp_path).has_physical_space
    dataset.ImagerPixelSpacing = [0.2, 0.3]
    dataset.save_as(tmp_path / "us.dcm", enforce_file_format=True)
    detector = read_only(tmp_path)
    assert (detector.has_physical_space, detector.spacing_mm) == (True, (0.3, 0.2, 1.0))
    assert "at the detector (ImagerPixelSpacing)" in detector.notes[0]
    dataset.PixelSpacing = [0.25, 0.5]
    dataset.save_as(tmp_path / "us.dcm", enforce_file_format=True)
    measured = read_only(tmp_path)
    assert (measured.has_physical_space, measured.spacing_mm, measured.notes) == (True, (0.5, 0.25, 1.0), ())
    assert discover([tmp_path], limits=LIMITS)[0].spacing_mm == (0.5, 0.25, 1.0)


def test_size_limit_holds_before_pixels_are_decoded(tmp_path: Path) -> None:
    dataset = one_slice_dataset(np.zeros((4, 4), np.uint8))
    dataset.Rows = dataset.Columns = 60_000
    dataset.save_as(tmp_path / "us.dcm", enforce_file_format=True)
    (found,) = discover([tmp_path], limits=LIMITS)
    assert found.code == ReasonCode.SIZE_LIMIT
    direct = Candidate(name="x", kind="dicom", files=(tmp_path / "us.dcm",), label="x")
    with pytest.raises(RefusedError, match="3600000000 voxels"):
        read_dicom(direct, LIMITS)


def test_a_film_is_refused_until_a_frame_is_chosen(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 10, 14), dtype=np.uint8)
    dataset = one_slice_dataset(frames[0])
    dataset.NumberOfFrames, dataset.PixelData = 3, frames.tobytes()
    dataset.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    (found,) = discover([tmp_path], limits=LIMITS)
    assert found.code == ReasonCode.SERIES_4D
    (chosen,) = discover([tmp_path], limits=LIMITS, frame=1)
    np.testing.assert_array_equal(read_scan(chosen, LIMITS).voxels[:, :, 0].T, frames[1])
    assert len(discover([tmp_path], limits=LIMITS, all_frames=True)) == 3


def test_nothing_of_the_patient_leaves_the_reader(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, phantom_scan((20, 24, 5)))
    candidates = discover([tmp_path], limits=LIMITS)
    text = repr(candidates) + repr(read_scan(candidates[0], LIMITS)) + repr(read_scan(candidates[0], LIMITS).source)
    for secret in (SECRET_NAME, SECRET_ID, "19010203", "20010203", "SECRET"):
        assert secret not in text


@pytest.mark.skipif(not BRAINIX.is_dir(), reason="needs the shared data")
def test_brainix_reads_equal_as_dicom_and_as_nifti() -> None:
    from_dicom = read_only(BRAINIX / "dicom/brainix/FLAIR")
    from_nifti = read_only(BRAINIX / "volumes/brainix/FLAIR.nii.gz")
    assert from_dicom.modality == "MR"
    np.testing.assert_array_equal(values_in_world(from_dicom, from_nifti), from_nifti.voxels)


@pytest.mark.parametrize("entry_bits", [8, 16])
def test_a_palette_of_a_big_endian_file_gives_the_same_colors(tmp_path: Path, entry_bits: int) -> None:
    random = np.random.default_rng(0)
    pixels, colors = random.integers(0, 256, (10, 12), np.uint8), random.integers(0, 256, (256, 3), np.uint8)
    entries = colors if entry_bits == 8 else colors.astype(np.uint16) * 257
    for name, syntax in {"little": ExplicitVRLittleEndian, "big": ExplicitVRBigEndian}.items():
        dataset = one_slice_dataset(pixels)
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        for n, color in enumerate(("Red", "Green", "Blue")):
            setattr(dataset, f"{color}PaletteColorLookupTableDescriptor", [256, 0, entry_bits])
            table = entries[:, n].tobytes()  # little-endian words; those of a big-endian file have their bytes turned
            turned = np.frombuffer(table, np.uint16).byteswap().tobytes() if name == "big" else table
            setattr(dataset, f"{color}PaletteColorLookupTableData", turned)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset["PixelData"].VR = "OB"
        (tmp_path / name).mkdir()
        pydicom.dcmwrite(
            tmp_path / name / "a.dcm", dataset, little_endian=name == "little", implicit_vr=False,
            enforce_file_format=True,
        )  # fmt: skip
        scan = read_only(tmp_path / name)
        np.testing.assert_allclose(scan.voxels[:, :, 0].swapaxes(0, 1), colors[pixels], atol=1e-3)


@pytest.mark.parametrize("limits", [LIMITS, ReadLimits(allow_irregular=True)], ids=["stack", "slices"])
@pytest.mark.parametrize("whole_frame_of_reference", [True, False])
def test_a_slice_that_was_cut_is_refused_by_the_name_of_its_file(
    tmp_path: Path, limits: ReadLimits, whole_frame_of_reference: bool
) -> None:
    write_dicom_series(tmp_path / "series", phantom_scan())
    files = sorted((tmp_path / "series").iterdir())
    if not whole_frame_of_reference:  # then the slices are placed without highdicom
        for file in files:
            dataset = pydicom.dcmread(file)
            del dataset.FrameOfReferenceUID
            dataset.save_as(file)
    files[3].write_bytes(files[3].read_bytes()[:-700])
    with pytest.raises(RefusedError, match=rf"series \({files[3].name}\) has pixels") as refused:
        read_only(tmp_path / "series", limits)
    assert refused.value.code == ReasonCode.PIXELS_NOT_DECODABLE
