"""Pictures of every mode arrive as RGB squares with the mask in place."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medzsad.datasets.pictures import decode_any_mask, decode_mask, read_picture, record_mask
from medzsad.datasets.records import Record
from medzsad.errors import ConfigError

RAMP = np.tile(np.arange(0, 240, 20, dtype=np.uint8), (8, 1))  # (8, 12)


def _read(path: Path, side: int = 12) -> torch.Tensor:
    return read_picture(Record(path, None, 0, "nut", ""), side)[0]


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA", "LA", "CMYK"])
def test_opaque_modes_of_one_picture_agree(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.fromarray(RAMP).convert(mode).save(path)
    image = _read(path)
    assert (image.shape, image.dtype) == ((3, 12, 12), torch.uint8)
    expected = np.asarray(Image.fromarray(RAMP).resize((12, 12), Image.Resampling.BICUBIC))
    assert np.abs(image.numpy().astype(int) - expected).max() <= 1


@pytest.mark.parametrize("top", [4095, 65535])
def test_sixteen_bits_keep_their_gray_levels(tmp_path: Path, top: int) -> None:
    pixels = np.round(RAMP / 220 * top).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    expected = np.round(RAMP[0] / 220 * 255)
    assert np.abs(_read(tmp_path / "x.png").numpy()[:, 5].astype(int) - expected).max() <= 1


def test_transparent_pixels_are_black_and_palette_transparency_is_silent(tmp_path: Path) -> None:
    pixels = np.full((8, 12, 4), 200, np.uint8)
    pixels[..., 3] = 255
    pixels[:, 6:, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "x.png")
    image = _read(tmp_path / "x.png")
    assert image[:, :, :4].eq(200).all()
    assert image[:, :, 9:].eq(0).all()
    paletted = Image.fromarray(RAMP).convert("P")
    paletted.save(tmp_path / "p.png", transparency=bytes([0] * 100 + [255] * 156))
    assert _read(tmp_path / "p.png")[:, :, 0].eq(0).all()


def test_shrinking_is_bicubic_and_antialiased(tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    image = _read(tmp_path / "x.png").permute(1, 2, 0).numpy()
    assert np.array_equal(image, np.asarray(Image.fromarray(pixels).resize((12, 12), Image.Resampling.BICUBIC)))
    # Noise averaged over 3 to 5 pixels loses most of its spread; picking single pixels keeps all of it.
    assert image.std() < 0.5 * pixels.std()


@pytest.mark.parametrize("value", [1, 255])
def test_the_mask_is_above_zero_then_bilinear_then_above_half(tmp_path: Path, value: int) -> None:
    mask = np.zeros((8, 12), np.uint8)
    mask[4:, 9:] = value
    Image.fromarray(RAMP).save(tmp_path / "x.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    _, square = read_picture(Record(tmp_path / "x.png", tmp_path / "m.png", 1, "nut", ""), 24)
    assert square is not None
    assert square.dtype == torch.uint8
    expected = torch.zeros(24, 24, dtype=torch.uint8)
    expected[12:, 18:] = 1
    # At the one inner corner 3/4 of 2/3 is exactly one half: left to rounding.
    square[12, 18] = expected[12, 18]
    assert torch.equal(square, expected)


def test_no_mask_is_no_label_for_a_defect_and_zeros_for_a_sound_image(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "x.png")
    assert read_picture(Record(tmp_path / "x.png", None, 1, "nut", ""), 6)[1] is None
    mask = read_picture(Record(tmp_path / "x.png", None, 0, "nut", ""), 6)[1]
    assert mask is not None
    assert torch.equal(mask, torch.zeros(6, 6, dtype=torch.uint8))


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "x.png")
    (tmp_path / "m.png").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"Cannot decode .*m\.png"):
        read_picture(Record(tmp_path / "x.png", tmp_path / "m.png", 1, "nut", ""), 6)
    with pytest.raises(ConfigError, match=r"Cannot decode .*gone\.png"):
        _read(tmp_path / "gone.png")
    with pytest.raises(ConfigError, match="at least 1 pixel"):
        _read(tmp_path / "x.png", 0)


def _disk(side: int = 96) -> np.ndarray:
    i, j = np.mgrid[:side, :side]
    return np.asarray((i - 40) ** 2 + (j - 50) ** 2 < 23**2)


def test_a_mask_stored_as_jpeg_is_cut_at_half_of_its_maximum(tmp_path: Path) -> None:
    Image.fromarray((_disk() * 255).astype(np.uint8)).save(tmp_path / "m.jpg", quality=60)
    with Image.open(tmp_path / "m.jpg") as stored:
        assert (np.asarray(stored) > 0).sum() > 1.1 * _disk().sum()
    mask, gray = decode_any_mask(tmp_path / "m.jpg")
    assert gray
    assert (mask != _disk()).mean() < 0.002
    # The same shades, kept in a file without loss, and in red.
    with Image.open(tmp_path / "m.jpg") as stored:
        stored.save(tmp_path / "m.png")
        black = Image.new("L", stored.size)
        Image.merge("RGB", [stored, black, black]).save(tmp_path / "red.png")
    for name in ("m.png", "red.png"):
        assert np.array_equal(decode_mask(tmp_path / name), mask)


@pytest.mark.parametrize("maximum", [1.0, 65535])
def test_smoothed_edges_of_a_mask_are_cut_at_half(tmp_path: Path, maximum: float) -> None:
    large = Image.fromarray((_disk(384 // 4).repeat(4, 0).repeat(4, 1) * 255).astype(np.uint8))
    small = np.asarray(large.resize((90, 90), Image.Resampling.BICUBIC), np.float64) / 255 * maximum
    Image.fromarray(small.astype(np.float32) if maximum == 1 else small.astype(np.uint16)).save(tmp_path / "m.tif")
    mask, gray = decode_any_mask(tmp_path / "m.tif")
    assert gray
    assert np.array_equal(mask, small.astype(np.float32) >= np.float32(small.max() / 2))


@pytest.mark.parametrize(
    "values",
    [[1], [255], [1, 2, 3], [38, 75, 113], [1, 2, 3, 255], list(range(1, 40)), list(range(5, 255, 5))],
    ids=str,
)
def test_a_coded_mask_keeps_every_value_above_zero(tmp_path: Path, values: list[int]) -> None:
    codes = np.zeros((60, 60), np.uint8)
    for place, value in enumerate(values):
        row, column = divmod(place, 8)
        codes[8 * row : 8 * row + 6, 7 * column : 7 * column + 6] = value
    Image.fromarray(codes).save(tmp_path / "m.png")
    mask, gray = decode_any_mask(tmp_path / "m.png")
    assert not gray
    assert np.array_equal(mask, codes > 0)


def test_masks_of_one_image_are_united_and_unlike_sizes_are_refused(tmp_path: Path) -> None:
    left, right = np.zeros((8, 12), np.uint8), np.zeros((8, 12), np.uint8)
    left[2:4, 1:3] = 255
    right[5:7, 8:11] = 255
    for name, pixels in (("x", RAMP), ("a", left), ("b", right), ("c", right[:4])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    a, b, c = (tmp_path / f"{name}.png" for name in "abc")
    record = Record(tmp_path / "x.png", a, 1, "nut", "", more_masks=(b,))
    assert np.array_equal(record_mask(record), (left > 0) | (right > 0))
    with pytest.raises(ConfigError, match=r"c\.png has 12x4 pixels"):
        read_picture(Record(tmp_path / "x.png", a, 1, "nut", "", more_masks=(c,)), 6)
