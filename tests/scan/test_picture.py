from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.discover import discover
from medzsad.scan.reader import read_scan
from medzsad.scan.records import ReadLimits, Scan
from tests.phantoms import phantom_scan, write_nifti

LIMITS = ReadLimits()
GRAY = np.arange(7 * 11, dtype=np.uint8).reshape(7, 11)
COLOR = np.stack([GRAY, GRAY[::-1], GRAY[:, ::-1]], axis=-1)


def read(path: Path, frame: int | None = None) -> Scan:
    (candidate,) = discover([path], limits=LIMITS, frame=frame)
    return read_scan(candidate, LIMITS)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.TIFF"])
def test_gray_becomes_one_slice_with_columns_first(tmp_path: Path, name: str) -> None:
    Image.fromarray(GRAY).save(tmp_path / name)
    scan = read(tmp_path / name)
    assert scan.shape == (11, 7, 1)
    np.testing.assert_array_equal(scan.voxels[:, :, 0].T, GRAY)
    np.testing.assert_array_equal(scan.affine_ras, np.diag([-1, -1, 1, 1]))
    assert (scan.modality, scan.notes) == ("PICTURE", ())


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_color_is_kept(tmp_path: Path, mode: str) -> None:
    Image.fromarray(COLOR).convert(mode, palette=Image.Palette.ADAPTIVE, colors=256).save(tmp_path / "a.png")
    voxels = read(tmp_path / "a.png").voxels
    assert voxels.shape == (11, 7, 1, 3)
    np.testing.assert_allclose(voxels[:, :, 0].swapaxes(0, 1), COLOR, atol=0 if mode != "P" else 3)


def test_color_with_equal_channels_is_stored_gray(tmp_path: Path) -> None:
    Image.fromarray(np.stack([GRAY] * 3, axis=-1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png").voxels[:, :, 0].T, GRAY)


def test_transparency_lies_over_black(tmp_path: Path) -> None:
    alpha = np.where(np.arange(11) < 5, 0, 255).astype(np.uint8) + np.zeros_like(GRAY)
    Image.fromarray(np.dstack([COLOR + 1, alpha]), "RGBA").save(tmp_path / "a.png")
    voxels = read(tmp_path / "a.png").voxels
    assert voxels[:5].max() == 0
    np.testing.assert_array_equal(voxels[5:, :, 0].swapaxes(0, 1), COLOR[:, 5:] + 1)


def test_deep_pictures_keep_their_values(tmp_path: Path) -> None:
    deep = GRAY.astype(np.uint16) * 300
    Image.fromarray(deep).save(tmp_path / "a.png")
    Image.fromarray(GRAY.astype(np.float32) / 7).save(tmp_path / "b.tif")
    np.testing.assert_array_equal(read(tmp_path / "a.png").voxels[:, :, 0].T, deep)
    np.testing.assert_array_equal(read(tmp_path / "b.tif").voxels[:, :, 0].T, GRAY.astype(np.float32) / 7)


def test_exif_orientation_turns_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GRAY).save(tmp_path / "a.png", exif=exif)
    scan = read(tmp_path / "a.png")
    assert scan.shape == (7, 11, 1)
    np.testing.assert_array_equal(scan.voxels[:, :, 0].T, np.rot90(GRAY, -1))
    assert "EXIF" in scan.notes[0]
    assert discover([tmp_path], limits=LIMITS)[0].shape == scan.shape


def test_pages_need_a_frame(tmp_path: Path) -> None:
    pages = [Image.fromarray(GRAY + n) for n in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert discover([tmp_path], limits=LIMITS)[0].code == ReasonCode.SERIES_4D
    np.testing.assert_array_equal(read(tmp_path / "a.tif", frame=2).voxels[:, :, 0].T, GRAY + 2)


def test_a_decompression_bomb_is_refused_by_size(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "a.png")
    (candidate,) = discover([tmp_path], limits=LIMITS)
    assert candidate.code == ReasonCode.SIZE_LIMIT
    Image.new("1", (10_000, 10_000)).save(tmp_path / "a.png")
    assert discover([tmp_path], limits=ReadLimits(max_voxels=10**7))[0].code == ReasonCode.SIZE_LIMIT


@pytest.mark.parametrize("kept", [4, 20, 60, 90])
def test_truncated_pictures_are_refused(tmp_path: Path, kept: int) -> None:
    for name in ("a.png", "a.jpg", "a.tif"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8)).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) * kept // 100])
        with pytest.raises(RefusedError) as refused:
            read(tmp_path / name)
        assert refused.value.code == ReasonCode.FILE_UNREADABLE


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp"])
def test_a_picture_has_pixels_and_no_millimeters_whatever_its_dots_per_inch(tmp_path: Path, name: str) -> None:
    Image.fromarray(GRAY).save(tmp_path / name, dpi=(300, 300))
    (candidate,) = discover([tmp_path], limits=LIMITS)
    assert candidate.spacing_mm == ()
    scan = read_scan(candidate, LIMITS)
    assert not scan.has_physical_space
    np.testing.assert_array_equal(np.abs(np.diag(scan.affine_ras)), 1)


def test_volumes_have_measured_space(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", phantom_scan((12, 15, 9)))
    assert read(tmp_path / "a.nii").has_physical_space


@pytest.mark.parametrize(("name", "mode"), [("a.png", "I;16"), ("a.tif", "I;16"), ("a.tif", "I;16B"), ("a.tif", "I")])
def test_16_bits_and_more_keep_their_values_in_any_byte_order(tmp_path: Path, name: str, mode: str) -> None:
    deep = GRAY.astype(np.uint16) * 800
    kind = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]
    Image.frombytes(mode, (11, 7), deep.astype(kind).tobytes()).save(tmp_path / name)
    np.testing.assert_array_equal(read(tmp_path / name).voxels[:, :, 0].T, deep)


def test_a_palette_with_transparency_is_color_over_black(tmp_path: Path) -> None:
    picture = Image.fromarray((GRAY % 4).astype(np.uint8), "P")
    picture.putpalette([10, 20, 30, 90, 80, 70, 200, 10, 10, 0, 255, 0])
    picture.save(tmp_path / "a.png", transparency=1)
    voxels = read(tmp_path / "a.png").voxels[:, :, 0].swapaxes(0, 1)
    np.testing.assert_array_equal(voxels[GRAY % 4 == 0], np.tile([10, 20, 30], (20, 1)))
    assert voxels[GRAY % 4 == 1].max() == 0


def test_gray_with_alpha_stays_gray(tmp_path: Path) -> None:
    Image.merge("LA", (Image.fromarray(GRAY), Image.new("L", (11, 7), 255))).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png").voxels[:, :, 0].T, GRAY)


def test_print_colors_become_rgb(tmp_path: Path) -> None:
    Image.fromarray(COLOR).convert("CMYK").save(tmp_path / "a.tif")
    np.testing.assert_allclose(read(tmp_path / "a.tif").voxels[:, :, 0].swapaxes(0, 1), COLOR, atol=1)
